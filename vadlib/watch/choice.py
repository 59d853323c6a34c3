"""Which of a camera's models scores a frame."""

from collections.abc import Sequence

from vadlib.watch.model import Model
from vadlib.watch.sources import Captured

HOLD = 30.0  # seconds that pictures, or the clock, ask for another model before it takes over: dusk flutters


class Choice:
    """Which model scores a camera's frames, given in order."""

    def __init__(self, models: Sequence[Model]) -> None:
        """`models`: exactly one is without a rule, and rules do not overlap."""
        self._ruled = [model for model in models if model.rule.text]
        (self.usual,) = (model for model in models if not model.rule.text)
        self.current: Model | None = None
        self.wall = 0.0  # of the last frame
        self._other: Model | None = None  # is asked for, since:
        self._since = 0.0

    def of(self, captured: Captured) -> Model:
        """The model for the next frame: another than before only once HOLD seconds of frames, or such a gap between
        two, have asked for it."""
        asked = next((model for model in self._ruled if model.rule.applies(captured)), self.usual)
        wall, before = captured.wall, self.wall
        self.wall = wall
        if asked is not self._other:
            self._other, self._since = asked, wall
        if self.current is None or wall - self._since >= HOLD or not 0 <= wall - before < HOLD:
            self.current = asked
        return self.current
