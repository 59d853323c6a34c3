"""Cell arrays from MATLAB files: version 5 by SciPy, version 7.3, which is HDF5, by h5py. Neither runs anything."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from vadlib.errors import VadError
from vadlib.io.files import surroundings

MAX_BYTES = 1 << 28  # of a cell: a mask of 16,384 x 16,384 px


def read_cells(path: Path, variable: str) -> Iterator[np.ndarray]:
    """Yield the numeric arrays of a cell array, in MATLAB's order. Raises VadError where there is none."""
    try:
        with path.open("rb") as file:
            hdf5 = file.read(10) in (b"MATLAB 7.3", b"\x89HDF\r\n\x1a\n\0\0")
    except OSError as error:
        raise VadError(f"{path}: {surroundings(error) or f'cannot be read: {error.strerror}'}") from None
    cells = _cells_of_hdf5(path, variable) if hdf5 else _cells_of_version_5(path, variable)
    try:
        for cell in cells:
            if not isinstance(cell, np.ndarray) or cell.dtype.kind not in "biuf":
                raise VadError(f"{path}: `{variable}` holds something other than arrays of numbers")
            yield cell
    except VadError:
        raise
    except Exception as error:  # both libraries raise errors of many kinds on damaged files
        if (cause := surroundings(error)) is not None:
            raise VadError(f"{path}: {cause}") from None
        reason = " ".join(str(error).split()) or type(error).__name__
        raise VadError(f"{path}: cannot be read as a MATLAB file with a cell array `{variable}` ({reason})") from None


def _cells_of_version_5(path: Path, variable: str) -> Iterator[np.ndarray]:
    from scipy.io import loadmat

    content = loadmat(path, variable_names=[variable])
    if variable not in content or content[variable].dtype != np.dtype(object):
        raise VadError(f"{path}: no cell array `{variable}`")
    yield from content[variable].ravel(order="F")


def _cells_of_hdf5(path: Path, variable: str) -> Iterator[np.ndarray]:
    import h5py

    with h5py.File(path, "r", locking=False) as file:
        if not isinstance(file.get(variable, getlink=True), h5py.HardLink):  # others lead to other files
            raise VadError(f"{path}: no cell array `{variable}`")
        if not isinstance(file[variable], h5py.Dataset) or file[variable].dtype != h5py.ref_dtype:
            raise VadError(f"{path}: no cell array `{variable}`")
        for reference in _whole(file[variable]).ravel():
            cell = file[reference]
            # MATLAB writes axes in the reverse order; an empty array as its shape, with a mark.
            yield np.zeros((0, 0)) if "MATLAB_empty" in cell.attrs else _whole(cell).T


def _whole(array: Any) -> np.ndarray:
    """A data set of an HDF5 file, which may claim any size, and that its bytes lie in any other file."""
    if array.external or array.is_virtual:
        raise ValueError("its content lies in another file")
    if array.nbytes > MAX_BYTES:
        raise ValueError(f"an array of {array.nbytes:,} bytes; those of labels are read up to {MAX_BYTES:,}")
    return array[()]
