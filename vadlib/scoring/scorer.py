"""The one way from cubes to anomaly scores: for the stages, the pass over footage, the report and the benchmarks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from torch import nn

from vadlib.cubes.shards import Batch, CubeSet
from vadlib.engine.engine import Engine
from vadlib.errors import VadError
from vadlib.scoring.calibration import UNCALIBRATED, Calibration, Normal, Statistics, standardised, value_of
from vadlib.scoring.evidence import EVIDENCE, Evidence
from vadlib.scoring.evidence.dwell import dwell_of_clip
from vadlib.scoring.evidence.speed import mean_length, trunk_speed
from vadlib.scoring.perturbation import perturbed_errors
from vadlib.scoring.tracks import average_clip
from vadlib.settings import Branch, DatasetSettings, EvidenceName, ScoreSettings

Values = dict[str, np.ndarray]
"""What was measured of N cubes, float32 (N,) each: `raw` and `flow` (the paper's errors), `raw_median` and
`flow_median`, each evidence of `EVIDENCE`, `cube_flow` and `trunk_flow`, the mean length of the flow in the whole cube
and where a trunk is; and `dwell`, where they are a clip's in their order."""


@dataclass(frozen=True)
class Scorer:
    """A trained model, loaded, that measures cubes and scores them."""

    settings: DatasetSettings
    networks: Mapping[Branch, nn.Module]  # frozen (`Engine.for_scoring`), those that the settings' evidence needs
    evidence: Mapping[str, Evidence]  # the others, fitted
    engine: Engine
    statistics: Mapping[Branch, Statistics] = field(default_factory=dict)
    calibration: Calibration = UNCALIBRATED

    def measure(self, cubes: Batch, etas: Sequence[float], *, seen: bool = False) -> dict[float, Values]:
        """All that can be measured of a batch of cubes, perturbed with each eta. `seen`: they were trained on."""
        settings, engine = self.settings, self.engine
        errors = perturbed_errors(
            self.networks, engine.cubes(cubes.raw), engine.flows(cubes.flow), etas,
            settings.model.p, settings.perturbation_loss, engine,
        )  # fmt: skip
        same = {name: kind.measure(cubes, seen) for name, kind in self.evidence.items()}
        same |= {"cube_flow": mean_length(cubes.flow), "trunk_flow": trunk_speed(cubes.flow)}
        return {
            eta: {name: error.cpu().numpy() for name, error in of_eta.items()} | same for eta, of_eta in errors.items()
        }

    def measure_all(
        self, cubes: CubeSet, etas: Sequence[float], size: int, *, seen: bool = False
    ) -> dict[float, Values]:
        """Of every cube of a set, in order, in batches of `size`."""
        # One array from the start: many small ones, each made between two batches, keep the heap from shrinking.
        found: dict[float, Values] = {eta: {} for eta in etas}
        done = 0
        for batch in cubes.in_order(size):
            for eta, values in self.measure(batch, etas, seen=seen).items():
                for name, part in values.items():
                    whole = found[eta].setdefault(name, np.empty(len(cubes), np.float32))
                    whole[done : done + len(part)] = part
            done += len(batch.raw)
        return found

    def measure_clip(
        self,
        cubes: CubeSet,
        frame: np.ndarray,
        boxes: np.ndarray,
        etas: Sequence[float],
        size: int,
        *,
        seen: bool = False,
    ) -> dict[float, Values]:
        """Of a clip's cubes, or a piece's, all that can be measured; `frame`, int (N,), rises, `boxes` are (N, 4)."""
        return with_dwell(self.measure_all(cubes, etas, size, seen=seen), frame, boxes)

    def parts(self, how: ScoreSettings, values: Values, eta: float) -> dict[EvidenceName, np.ndarray]:
        """What each evidence adds to the cubes' scores, float64 (N,), comparable and weighted."""
        return {name: how.weights[name] * part for name, part in self._unweighted(how, values, eta).items()}

    def scores(self, how: ScoreSettings, values: Values, eta: float) -> np.ndarray:
        """S of each cube, float64 (N,): the sum of its evidence (III-E), before tracks."""
        return np.sum(list(self.parts(how, values, eta).values()), axis=0)

    def best_parts(self, values: Values, eta: float) -> dict[EvidenceName, np.ndarray]:
        """What each evidence that there is, whether it counts or not, says of the cubes by the calibration of `best`:
        unweighted."""
        every = [*self.networks, *self.evidence, "dwell"]
        return self._unweighted(self.settings.best.model_copy(update={"evidence": tuple(every)}), values, eta)

    def _unweighted(self, how: ScoreSettings, values: Values, eta: float) -> dict[EvidenceName, np.ndarray]:
        return {
            name: standardised(name, values[value_of(name, how)], how, self._normal(eta, name, how), self.statistics)
            for name in how.evidence
        }

    def _normal(self, eta: float, name: EvidenceName, how: ScoreSettings) -> Normal | None:
        return self.calibration.normal.get(eta, {}).get(value_of(name, how))


def with_dwell(measured: Mapping[float, Values], frame: np.ndarray, boxes: np.ndarray) -> dict[float, Values]:
    """What was measured of a clip's cubes, whose frames, int (N,), rise, with the `dwell` of their boxes (N, 4)."""
    dwell = dwell_of_clip(frame, boxes)
    return {eta: {**values, "dwell": dwell} if values else {} for eta, values in measured.items()}


@dataclass(frozen=True)
class ClipScores:
    """The scores of a clip's N boxes, averaged along their tracks."""

    columns: dict[str, np.ndarray]  # float64 (N,) each
    tracks: np.ndarray  # int64 (N,), which object each box is


def score_clip(
    how: ScoreSettings, frame: np.ndarray, boxes: np.ndarray, columns: Mapping[str, np.ndarray], frames: int
) -> ClipScores:
    """Average scores of a clip's boxes along their tracks, each column by itself.

    Args:
        frame: int (N,), rising: the frame of each box.
        boxes: float (N, 4), xyxy.
        columns: float (N,) each: scores of `Scorer.scores`, or what else an object has.
        frames: the clip's.
    """
    table = np.stack([np.asarray(column, np.float64) for column in columns.values()], axis=1)
    averaged, tracks = average_clip(frame, boxes, table, frames, how.track_half_life, how.track_after)
    return ClipScores(dict(zip(columns, averaged.T, strict=True)), tracks)


def value_names(scorer: Scorer) -> list[str]:
    """The names of the `Values` that a scorer measures, in a fixed order."""
    errors = [f"{branch}{kind}" for branch in scorer.networks for kind in ("", "_median")]
    return [*errors, *scorer.evidence, "dwell", "cube_flow", "trunk_flow"]


def make_evidence(
    engine: Engine, arrays: Mapping[str, np.ndarray] | None = None, kept_in: Path | None = None
) -> dict[str, Evidence]:
    """Every kind of evidence beside the networks: to be fitted, or fitted, from what `arrays_of` gave.

    Raises VadError, naming the file they were kept in, where the arrays are not those of each kind.
    """
    found: dict[str, Evidence] = {}
    for name, make in EVIDENCE.items():
        own = None
        if arrays is not None:
            own = {key.partition(".")[2]: array for key, array in arrays.items() if key.startswith(f"{name}.")}
            if not own:
                raise VadError(f"{kept_in}: has no `{name}`, an earlier version made it; train again")
        try:
            found[name] = make(engine, own)
        except ValueError as error:
            raise VadError(f"{kept_in}: damaged ({name}.{error}); train again, or copy it again") from None
    return found


def arrays_of(evidence: Mapping[str, Evidence]) -> dict[str, np.ndarray]:
    """What the evidence has learned, to be kept: `<name>.<array>`."""
    return {f"{name}.{key}": array for name, kind in evidence.items() for key, array in kind.arrays().items()}
