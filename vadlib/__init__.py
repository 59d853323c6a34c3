"""Video anomaly detection by object-level reconstruction: STATE with input perturbation (ICDM 2022)."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vadlib.authors import import_checkpoint
    from vadlib.errors import VadError

__all__ = ["VadError", "import_checkpoint"]


def __getattr__(name: str) -> Any:
    """Import what is asked for, when it is: torch takes seconds that most commands need not spend."""
    if name == "import_checkpoint":
        from vadlib.authors import import_checkpoint

        return import_checkpoint
    if name == "VadError":
        from vadlib.errors import VadError

        return VadError
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
