"""Video anomaly detection by object-level reconstruction: STATE with input perturbation (ICDM 2022)."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vadlib.version import __version__

if TYPE_CHECKING:
    from vadlib.authors import import_checkpoint
    from vadlib.errors import FootageError, VadError
    from vadlib.footage.stream import load
    from vadlib.models.registry import build_model

__all__ = ["FootageError", "VadError", "__version__", "build_model", "import_checkpoint", "load"]

_WHERE = {
    "FootageError": "vadlib.errors",
    "VadError": "vadlib.errors",
    "build_model": "vadlib.models.registry",
    "import_checkpoint": "vadlib.authors",
    "load": "vadlib.footage.stream",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for, when it is: torch takes seconds that most commands need not spend."""
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
