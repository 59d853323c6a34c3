"""Parts of clips whose footage is read."""

from collections.abc import Iterator

import numpy as np

from vadlib.manifest import Clip
from vadlib.pipeline.mapping import Span
from vadlib.windows import cut_clip, read_part


def spans_of_footage(clip: Clip, window: int) -> list[Span]:
    """Parts of a clip that begin at key frames, about `window` frames long; none where it cannot be cut."""
    return [Span(*part) for part in cut_clip(clip, window)]


def frames_of_part(clip: Clip, span: Span, first: int, stop: int) -> Iterator[np.ndarray]:
    """Frames `first` to `stop` - 1 of a clip, those of a part with what it needs before and after it: (H, W, 3) uint8
    RGB. Raises VadError as `read_part` does."""
    return read_part(clip, first, stop, span.start)
