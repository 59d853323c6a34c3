"""What can be strange about an object, measured without labels: one file each, and a line in EVIDENCE.

`raw` and `flow`, the errors of the two networks, are evidence too; they are perturbed together and so are measured
together, in `vadlib.scoring.perturbation`. `dwell` is measured of a clip's boxes, in their order, and not of cubes: in
`vadlib.scoring.evidence.dwell`.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np

from vadlib.cubes.shards import Batch
from vadlib.engine.engine import Engine
from vadlib.settings import EvidenceName


class Evidence(Protocol):
    """One kind of evidence. Larger is stranger; what a value means is for calibration to say."""

    def fit(self, sample: Batch) -> None:
        """Take some more of the cubes that were trained on, an even sample of them, as what is normal."""

    def measure(self, cubes: Batch, seen: bool = False) -> np.ndarray:
        """float32 (B,), 0 and more: of each cube by itself, whatever it is measured with. `seen`: these are cubes that
        were trained on, and none may be found like itself."""

    def arrays(self) -> dict[str, np.ndarray]:
        """What was learned, to be kept."""


def _speed(engine: Engine, arrays: Mapping[str, np.ndarray] | None) -> Evidence:
    from vadlib.scoring.evidence.speed import Speed

    return Speed(arrays)


def _velocity(engine: Engine, arrays: Mapping[str, np.ndarray] | None) -> Evidence:
    from vadlib.scoring.evidence.velocity import Velocity

    return Velocity(arrays)


def _looks(engine: Engine, arrays: Mapping[str, np.ndarray] | None) -> Evidence:
    from vadlib.scoring.evidence.looks import Looks

    return Looks(engine, arrays)


def _place(engine: Engine, arrays: Mapping[str, np.ndarray] | None) -> Evidence:
    from vadlib.scoring.evidence.place import Place

    return Place(arrays)


EVIDENCE: dict[EvidenceName, Callable[[Engine, Mapping[str, np.ndarray] | None], Evidence]] = {
    "speed": _speed,
    "velocity": _velocity,
    "looks": _looks,
    "place": _place,
}
"""Each kind by its name in the settings, made with what an earlier one has learned, or with None. Raises
ValueError where that is not what it keeps."""

SAMPLE = 4096
"""Training cubes at most that are kept as what is normal, evenly spaced: memory does not grow with footage."""
