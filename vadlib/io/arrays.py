"""Named arrays on disk: safetensors, which hold numbers and nothing else."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from vadlib.io.files import missing, unreadable, written_aside


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays, whole or not at all; equal arrays give equal bytes."""
    with written_aside(path) as aside:
        save_file({name: np.ascontiguousarray(arrays[name]) for name in sorted(arrays)}, aside)


def rows_of(arrays: Mapping[str, np.ndarray], name: str, columns: int) -> np.ndarray:
    """One of some arrays, float32 (N, columns), N of 1 and more, all finite. Raises ValueError where it is not."""
    rows = arrays.get(name)
    if rows is None or rows.dtype != np.float32 or rows.ndim != 2 or not len(rows) or rows.shape[1] != columns:
        raise ValueError(f"{name}: no rows of {columns} numbers")
    if not np.isfinite(rows).all():
        raise ValueError(f"{name}: not finite numbers")
    return rows


def load_arrays(path: Path, made_by: str) -> dict[str, np.ndarray]:
    """Read what `save_arrays` wrote. Raises VadError where it is absent or damaged."""
    if not path.exists():
        raise missing(path, made_by)
    try:
        path.open("rb").close()  # of whatever keeps it from opening a file, safetensors says that there is none
        return load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise unreadable(path, error, made_by) from None
