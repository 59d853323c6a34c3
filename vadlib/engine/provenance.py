"""What the digits of a result depend on beside code, settings and data: it is written beside the result."""

from importlib.metadata import PackageNotFoundError, version

import torch

from vadlib.engine.engine import Engine
from vadlib.engine.processor import processor_kind
from vadlib.version import __version__

LIBRARIES = ("av", "h5py", "numpy", "opencv-python-headless", "pandas", "pyarrow", "torchvision")
"""Whose versions decide of pixels, or of how tables are written, beside torch's."""


def made_with(engine: Engine) -> dict[str, str | int]:
    """Versions, device, kind of processor, resolved precision and threads, as JSON has them.

    Where all of them are equal, a run repeats another to the byte; where one differs, sums are rounded otherwise.
    """
    return {
        "vadlib": __version__,
        "torch": torch.__version__,
        "device": engine.device.type,
        "processor": processor_kind(engine.device),
        "precision": {torch.float32: "fp32", torch.bfloat16: "bf16"}[engine.dtype],
        "threads": torch.get_num_threads(),
        "libraries": ", ".join(f"{name} {installed}" for name in LIBRARIES if (installed := _version(name))),
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
