"""A model that scores a camera."""

from dataclasses import dataclass, field

from vadlib.footage.stream import FootageScorer
from vadlib.scoring.thresholds import Threshold
from vadlib.watch.rule import Rule


@dataclass(frozen=True, eq=False)
class Model:
    """A model, and what is anomalous by it."""

    name: str  # of its folder
    mark: str  # the same for those that give the same scores
    scorer: FootageScorer
    threshold: Threshold  # that events go by
    rule: Rule = field(default_factory=Rule)  # when it scores

    @property
    def own(self) -> Threshold:
        """Its own threshold, whatever events go by."""
        return self.scorer.scorer.calibration.thresholds["best"]

    @property
    def by_frames(self) -> bool:
        """Whether its own threshold is that of training, a share of frames, and not of `vad calibrate`."""
        return self.own.promised == self.scorer.scorer.settings.false_alarms
