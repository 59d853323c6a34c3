"""Objects are followed, and what is said of them is averaged, frame by frame, by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vadlib.scoring.scorer import score_clip
from vadlib.scoring.tracks import MEMORY, REACH, Linker, average_along_tracks, box_iou
from vadlib.settings import ScoreSettings


def box(x: float, y: float = 0.0, side: float = 10.0) -> list[float]:
    return [x, y, x + side, y + side]


def linked(*frames: list[list[float]], numbers=None) -> list[list[int]]:
    """The numbers of the tracks of each frame's boxes."""
    linker = Linker()
    found = []
    for number, boxes in zip(numbers or range(len(frames)), frames, strict=True):
        found.append([t.number for t in linker.link(number, np.array(boxes, np.float32).reshape(-1, 4))])
    return found


def test_iou_by_hand():
    a = np.array([box(0), box(100)], np.float32)
    b = np.array([box(0), box(5), box(0, 5), box(10), [0, 0, 0, 0]], np.float32)
    np.testing.assert_allclose(box_iou(a, b), [[1, 50 / 150, 50 / 150, 0, 0], [0] * 5])
    assert box_iou(np.zeros((0, 4)), b).shape == (0, 5)


def test_a_box_follows_the_track_it_overlaps_by_three_tenths():
    """Moved by 5 of 10 px it overlaps by a third, by 6 a quarter."""
    assert linked([box(0)], [box(5)], [box(10)]) == [[0], [0], [0]]
    assert linked([box(0)], [box(6)]) == [[0], [1]]


def test_objects_that_change_their_order_are_still_the_same():
    assert linked([box(0), box(50)], [box(51), box(1)], [box(2), box(52)]) == [[0, 1], [1, 0], [0, 1]]


def test_the_largest_overlap_is_linked_first_and_the_other_begins_anew():
    assert linked([box(0)], [box(4), box(1)]) == [[0], [1, 0]]
    assert linked([box(0), box(4)], [box(3)]) == [[0, 1], [1]]


def test_of_equal_overlaps_the_first_box_and_the_oldest_track_are_linked():
    assert linked([box(0)], [box(2), box(2)]) == [[0], [0, 1]]
    assert linked([box(0), box(0)], [box(0)]) == [[0, 1], [0]]
    assert linked([box(0), box(4)], [box(2)]) == [[0, 1], [0]]


def test_an_object_that_is_missed_for_a_few_frames_is_still_the_same():
    """For MEMORY frames, whether they are told of, without boxes, or not."""
    for missed, number in ((MEMORY, 0), (MEMORY + 1, 1)):
        assert linked([box(0)], *[[]] * missed, [box(1)])[-1] == [number]
        assert linked([box(0)], [box(1)], numbers=[0, missed + 1])[-1] == [number]


def average(
    frames: list[tuple[int, list[list[float]], list[float]]], half_life: float, after: int = 0
) -> list[list[float]]:
    given = ((t, np.array(b, np.float32).reshape(-1, 4), np.array(s, float).reshape(len(b), 1)) for t, b, s in frames)
    return [found.scores.ravel().tolist() for found in average_along_tracks(given, half_life, after)]


WALK = [(t, [box(t)], [score]) for t, score in enumerate([1.0, 2.0, 6.0, 3.0])]


def test_averages_before_and_after_by_hand():
    """Of half-life 1: weights 1, 1/2, 1/4, and a score of 0 beside the first."""
    assert average(WALK, 0) == average(WALK, 0, 5) == [[1], [2], [6], [3]]
    assert average(WALK, 1) == [[1 / 2], [(2 + 1 / 2) / 2], [(6 + 1 + 1 / 4) / 2], [(3 + 3 + 1 / 2 + 1 / 8) / 2]]
    assert average(WALK, 1, 1) == [
        [(1 + 1) / 2.5], [(1 / 2 + 2 + 3) / 2.5], [(1 / 4 + 1 + 6 + 1.5) / 2.5], [(1 / 8 + 1 / 2 + 3 + 3) / 2]
    ]  # fmt: skip
    assert average(WALK, 1e9, 9) == [[pytest.approx(12 / 5)]] * 4


def test_what_is_there_for_a_frame_weighs_half_and_what_stays_its_whole():
    stays = [(t, [box(0)], [8.0]) for t in range(40)]
    found = [scores[0] for scores in average(stays, 2)]
    assert found[0] == 4
    assert found == sorted(found)
    assert found[-1] == pytest.approx(8)


def test_what_ends_is_half_forgotten_after_its_half_life():
    ends = [(t, [box(0)], [1.0 if t < 60 else 0.0]) for t in range(70)]
    found = [scores[0] for scores in average(ends, 4)]
    assert found[59 + 4] / found[59] == pytest.approx(0.5, abs=0.01)


def test_half_lives_are_of_frames_and_not_of_boxes():
    """Missed in frame 2: frame 1 is two frames away from frame 3."""
    missed = [WALK[0], WALK[1], (2, [], []), WALK[3]]
    assert average(missed, 1)[3] == [(3 + 2 / 4 + 1 / 8) / (1 + 1 / 4 + 1 / 8 + 1 / 8)]
    assert average([frame for frame in missed if frame[1]], 1)[2] == average(missed, 1)[3]


def test_each_object_has_its_own_average():
    frames = [(0, [box(0), box(50)], [1.0, 10.0]), (1, [box(50), box(0)], [20.0, 3.0])]
    assert average(frames, 1) == [[1 / 2, 10 / 2], [(20 + 10 / 2) / 2, (3 + 1 / 2) / 2]]


def test_no_frames_are_no_averages():
    assert average([], 3, 3) == []


def test_a_frame_is_not_kept_waiting_longer_than_it_looks_ahead():
    taken = 0

    def frames():
        nonlocal taken
        for taken in range(100):
            yield taken, np.array([box(taken)] if taken % 7 else np.zeros((0, 4))), np.ones((int(taken % 7 > 0), 1))

    for after in (0, 4):
        for found in average_along_tracks(frames(), 3, after):
            assert taken == min(found.frame + after, 99)


def clip(seed: int, frames: int = 40) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frame, box and three columns of scores of wandering objects, some of them missed."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(4):
        x, y = rng.uniform(0, 60, 2)
        for t in range(frames):
            x, y = x + rng.normal(0, 2), y + rng.normal(0, 2)
            if rng.random() < 0.7:
                rows.append((t, number, *box(x, y, 12), *rng.normal(size=3)))
    rows.sort()
    table = np.array(rows)
    return table[:, 0].astype(int), table[:, 2:6].astype(np.float32), table[:, 6:]


@given(seed=st.integers(0, 1000), half_life=st.integers(1, 9), after=st.integers(0, 9))
def test_averages_are_those_of_the_definition(seed, half_life, after):
    frame, boxes, scores = clip(seed)
    how = ScoreSettings(track_half_life=half_life, track_after=after)
    found = score_clip(how, frame, boxes, {"a": scores[:, 0]}, 40)
    for row, (t, track) in enumerate(zip(frame, found.tracks, strict=True)):
        near = (found.tracks == track) & (frame >= t - REACH * half_life) & (frame <= t + after)
        first = frame[found.tracks == track].min()
        at, of = np.append(frame[near], first), np.append(scores[near, 0], 0)
        assert found.columns["a"][row] == pytest.approx(np.average(of, weights=0.5 ** (np.abs(at - t) / half_life)))
    for track in set(found.tracks):
        assert len(set(frame[found.tracks == track])) == (found.tracks == track).sum()


@pytest.mark.parametrize(("half_life", "after"), [(0, 0), (3, 0), (2, 5)])
def test_a_column_does_not_depend_on_the_others_to_the_bit(half_life, after):
    frame, boxes, scores = clip(3)
    how = ScoreSettings(track_half_life=half_life, track_after=after)
    together = score_clip(how, frame, boxes, {"a": scores[:, 0], "b": scores[:, 1], "c": scores[:, 2]}, 40)
    for index, name in enumerate("abc"):
        alone = score_clip(how, frame, boxes, {name: scores[:, index]}, 40)
        assert alone.columns[name].tobytes() == together.columns[name].tobytes()
        np.testing.assert_array_equal(alone.tracks, together.tracks)


@pytest.mark.parametrize(("half_life", "after"), [(0, 0), (3, 0), (2, 5)])
def test_a_stream_of_every_frame_gives_what_the_whole_clip_gives(half_life, after):
    """To the bit: also frames without boxes come, which a table does not have."""
    frame, boxes, scores = clip(4)
    keep = ~np.isin(frame, [0, 10, 11, 12, 13, 14, 15, 16, 17, 39])
    frame, boxes, scores = frame[keep], boxes[keep], scores[keep]
    stream = ((t, boxes[frame == t], scores[frame == t]) for t in range(40))
    found = list(average_along_tracks(stream, half_life, after))
    assert [f.frame for f in found] == list(range(40))
    how = ScoreSettings(track_half_life=half_life, track_after=after)
    whole = score_clip(how, frame, boxes, dict(zip("abc", scores.T, strict=True)), 40)
    with_boxes = [f for f in found if len(f.tracks)]
    streamed = np.concatenate([f.scores for f in with_boxes])
    for index, name in enumerate("abc"):
        assert streamed[:, index].tobytes() == whole.columns[name].tobytes()
    np.testing.assert_array_equal(np.concatenate([f.tracks for f in with_boxes]), whole.tracks)


def test_a_clip_without_boxes_has_no_tracks():
    found = score_clip(ScoreSettings(), np.empty(0, int), np.empty((0, 4)), {"a": np.empty(0), "b": np.empty(0)}, 5)
    assert {name: len(column) for name, column in found.columns.items()} == {"a": 0, "b": 0}
    assert len(found.tracks) == 0
