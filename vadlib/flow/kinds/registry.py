"""Every kind of flow, by the name that `flow.kind` has for it."""

from pathlib import Path
from typing import Any, Protocol

from vadlib.flow.fields import EstimateFlow, steadied
from vadlib.flow.kinds import dis, imported, raft
from vadlib.settings import FlowSettings


class Kind(Protocol):
    """What a module of an estimator has. A package that not everybody has it imports in a function."""

    def make_estimator(self, settings: Any, weights_folder: Path, data_folder: Path, device: str) -> EstimateFlow: ...

    def weights_file(self, settings: Any, weights_folder: Path) -> Path | None: ...


KINDS: dict[str, Kind] = {
    "dis": dis,
    "raft_small": raft,
    "raft_large": raft,
    "import": imported,
}


def make_estimator(
    settings: FlowSettings, weights_folder: Path, data_folder: Path, device: str = "auto"
) -> EstimateFlow:
    """The estimator the settings name, loaded once for all clips; its fields are without the camera's own motion.

    `weights_folder` is weights/flow, `data_folder` is data/<data set>. Raises VadError where weights or
    fields are missing or damaged.
    """
    estimator = KINDS[settings.kind].make_estimator(settings, weights_folder, data_folder, device)
    # Flow that others made stays as they made it, for their numbers are to be met by it.
    return estimator if settings.kind == "import" else steadied(estimator)


def weights_file(settings: FlowSettings, weights_folder: Path) -> Path | None:
    """The file `make_estimator` takes its weights from, fetched where it can be; None where it needs none.

    Raises VadError where it is missing and cannot be fetched.
    """
    return KINDS[settings.kind].weights_file(settings, weights_folder)
