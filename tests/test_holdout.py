"""Which footage is held out, piece by piece."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vadlib.cubes.cut import window
from vadlib.cubes.holdout import cut_footage


def spans(frames: list[int], every: int, gap: int, held_out: bool) -> list[tuple[int, int, int]]:
    found = cut_footage(frames, every, gap)
    return [(piece.clip, piece.first, piece.stop) for piece in found if piece.held_out == held_out]


def test_every_fifth_of_many_clips_is_held_out_whole_from_the_third_on():
    found = cut_footage([10] * 16, 5, 6)
    assert [piece.clip for piece in found if piece.held_out] == [2, 7, 12]
    assert [(piece.first, piece.stop) for piece in found] == [(0, 10)] * 16  # no clip loses frames to a gap


def test_one_clip_is_cut_into_eight_and_frames_beside_those_held_out_belong_to_none():
    assert spans([800], 5, 6, True) == [(0, 200, 300), (0, 700, 800)]
    assert spans([800], 5, 6, False) == [
        (0, 0, 100), (0, 100, 194), (0, 306, 400), (0, 400, 500), (0, 500, 600), (0, 600, 694),
    ]  # fmt: skip


def test_a_few_long_clips_are_cut_into_equal_parts():
    """900 frames: an eighth is 113. The first clip is one piece, the others are cut into 4 of 100."""
    found = cut_footage([100, 400, 400], 5, 0)
    assert [(p.clip, p.first, p.stop) for p in found] == [
        (0, 0, 100), *((clip, first, first + 100) for clip in (1, 2) for first in (0, 100, 200, 300)),
    ]  # fmt: skip
    assert [(p.clip, p.first) for p in found if p.held_out] == [(1, 100), (2, 200)]


def test_a_gap_ends_at_the_clip():
    """Clip 2 is held out whole: its neighbours are other clips, no frame of which is in its cubes."""
    assert spans([10] * 8, 5, 6, False) == [(clip, 0, 10) for clip in (0, 1, 3, 4, 5, 6)]


def test_a_gap_is_kept_across_pieces_shorter_than_it():
    """Pieces of 10 frames; of the first clip 20 to 30 are held out, and the 14 frames either side belong to none."""
    assert spans([40, 10, 10, 10, 10], 5, 14, False) == [(0, 0, 6), *((clip, 0, 10) for clip in (1, 2, 3))]


@pytest.mark.parametrize("frames", [[800], [10] * 20, [3], [5, 900]])
def test_nothing_is_held_out_where_nothing_is_to_be(frames):
    found = cut_footage(frames, 0, 6)
    assert not any(piece.held_out for piece in found)
    assert sum(piece.stop - piece.first for piece in found) == sum(frames)


@pytest.mark.parametrize("frames", [[1], [2], [12], [20], [40], [12, 12]])
def test_footage_of_which_gaps_would_take_most_is_trained_on_whole(frames):
    found = cut_footage(frames, 5, 6)
    assert not any(piece.held_out for piece in found)
    assert sum(piece.stop - piece.first for piece in found) == sum(frames)


def test_no_footage_is_no_piece():
    assert cut_footage([], 5, 6) == []


@given(
    frames=st.lists(st.integers(1, 120), min_size=1, max_size=12), every=st.integers(2, 7), context=st.integers(0, 4)
)
def test_no_cube_that_is_trained_on_shows_a_frame_of_one_held_out(frames, every, context):
    found = cut_footage(frames, every, 2 * context)
    assert found == sorted(found, key=lambda piece: (piece.clip, piece.first))
    assert all(0 <= piece.first < piece.stop <= frames[piece.clip] for piece in found)
    assert any(not piece.held_out for piece in found)

    def of(held_out: bool) -> set[tuple[int, int]]:
        """The clip and number of each frame of these pieces."""
        return {(p.clip, t) for p in found if p.held_out == held_out for t in range(p.first, p.stop)}

    def shown(held_out: bool) -> set[tuple[int, int]]:
        """Of each frame that a cube of these pieces shows."""
        return {
            (piece.clip, frame)
            for piece in found
            if piece.held_out == held_out
            for t in range(piece.first, piece.stop)
            for frame in window(t, frames[piece.clip], context)
        }

    assert not shown(False) & of(True)
    assert not shown(True) & of(False)
    assert not of(True) & of(False)


def test_about_every_fifth_frame_is_held_out_whatever_the_clips():
    for seed in range(20):
        frames = np.random.default_rng(seed).integers(50, 400, 40).tolist()
        held = sum(p.stop - p.first for p in cut_footage(frames, 5, 6) if p.held_out)
        assert held / sum(frames) == pytest.approx(0.2, abs=0.06)
