"""Which of the normal footage is trained on, and which is kept back.

Errors on footage that a network has seen say little of what it makes of footage that it has not: scores are calibrated,
and thresholds set, on the part kept back."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

PIECES = 8
"""Footage of few clips is cut into about so many pieces, so that what is kept back is not of one time alone."""
MOST_FRAMES = 4000
"""Held-out frames that are scored at most: enough for a threshold, and done in minutes."""


@dataclass(frozen=True)
class Piece:
    """Consecutive frames of one clip."""

    clip: int  # its index
    first: int
    stop: int  # one past the last
    held_out: bool


def cut_footage(frames: Sequence[int], every: int, gap: int) -> list[Piece]:
    """Cut clips of so many frames each into pieces, of which every `every`-th is held out, the middle one of each run.

    A clip is one piece unless it is longer than an eighth of all footage, in which case it is cut into equal ones. Of
    what is trained on, the `gap` frames next to a piece held out are left out, however short the pieces: no cube then
    shows frames of both. Footage so short that gaps would take more than half of it is trained on whole.

    Args:
        frames: of each clip.
        every: 0 holds nothing out.
        gap: frames; 2T, since a window slides by up to T at a clip's end, and then some.

    Returns the pieces, in the order of the footage; frames in a gap belong to none.
    """
    longest = max(1, math.ceil(sum(frames) / PIECES))
    whole: list[Piece] = []
    for clip, count in enumerate(frames):
        parts = math.ceil(count / longest)
        edges = [round(count * part / parts) for part in range(parts + 1)]
        for first, stop in pairwise(edges):
            whole.append(Piece(clip, first, stop, bool(every) and len(whole) % every == every // 2))
    cut = []
    for piece in whole:
        first, stop = piece.first, piece.stop
        if not piece.held_out:
            apart = [other for other in whole if other.held_out and other.clip == piece.clip]
            first = max([first, *(other.stop + gap for other in apart if other.stop <= piece.first)])
            stop = min([stop, *(other.first - gap for other in apart if other.first >= piece.stop)])
        if first < stop:
            cut.append(Piece(piece.clip, first, stop, piece.held_out))
    left, before = (sum(p.stop - p.first for p in pieces if not p.held_out) for pieces in (cut, whole))
    if 2 * left < before:
        return [replace(piece, held_out=False) for piece in whole]
    return cut
