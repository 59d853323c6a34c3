"""The boxes of a whole clip: windows, batches, both sources, the table."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from vadlib.boxes.detect import BOUNDED, detect_clip
from vadlib.boxes.kinds.registry import make_detector
from vadlib.boxes.table import APPEARANCE, BOX_COLUMNS, Boxes, box_table
from vadlib.manifest import Clip
from vadlib.settings import ImportedBoxesSettings, MotionBoxSettings, MotionDetectorSettings, YoloSettings

CLIP = Clip("01", "testing", "data/x/testing/frames/01", 9, 100, 60)
MOTION_ONLY = MotionDetectorSettings(motion=MotionBoxSettings(kernel=1))


def walk(frames: int) -> list[np.ndarray]:
    """A bright block of 12x20 px that moves 4 px to the right in each frame."""
    images = np.zeros((frames, 60, 100, 3), np.uint8)
    for t in range(frames):
        images[t, 20:40, 10 + 4 * t : 22 + 4 * t] = 200
    return list(images)


def follow(clip: Clip, first: int, frames) -> list[Boxes]:
    """A stand-in detector that finds the block where it is known to be."""
    return [
        Boxes.of([[10 + 4 * t, 20, 22 + 4 * t, 40]], APPEARANCE, [0.9], [0]) for t in range(first, first + len(frames))
    ]


def motion_of(frames: int) -> list:
    detector = make_detector(MOTION_ONLY, Path(), Path(), [CLIP])
    return [b.xyxy.tolist() for b in detect_clip(CLIP, walk(frames), detector, MOTION_ONLY)]


def test_missing_neighbour_at_the_ends_is_the_frame_itself():
    first, middle, last = motion_of(3)
    # Leading and trailing edge of one step: 4 * 20 = 80 px² each, under the least area of 100.
    assert first == []
    assert last == []
    # Two steps: 8 px on either side of the 4 px in the middle that never change.
    assert middle == [[8, 18, 20, 42], [20, 18, 32, 42]]


def test_one_frame_clip_has_no_motion():
    assert motion_of(1) == [[]]


def test_clip_without_frames_has_no_boxes():
    assert motion_of(0) == []


def test_noise_gets_no_more_motion_boxes_than_the_bound_which_says_so():
    rng = np.random.default_rng(0)
    noise = [np.clip(128 + rng.normal(0, 25, (240, 320, 3)), 0, 255).astype(np.uint8) for _ in range(4)]
    detector = make_detector(MOTION_ONLY, Path(), Path(), [CLIP])
    unbounded = MotionDetectorSettings(motion=MotionBoxSettings(kernel=3, min_area=16, most=10_000))
    counts: Counter[str] = Counter()
    every = [b.xyxy for b in detect_clip(CLIP, noise, detector, unbounded, counts=counts)]
    assert [len(xyxy) > 100 for xyxy in every] == [False, True, True, False]  # with a neighbour on either side
    assert not counts
    bounded = MotionDetectorSettings(motion=MotionBoxSettings(kernel=3, min_area=16))
    found = [b.xyxy for b in detect_clip(CLIP, noise, detector, bounded, counts=counts)]
    assert [len(xyxy) for xyxy in found[1:3]] == [30, 30]
    assert counts == {BOUNDED: 2}
    for few, all_of_them in zip(found, every, strict=True):
        area = np.sort((all_of_them[:, 2:] - all_of_them[:, :2]).prod(axis=1))
        assert np.sort((few[:, 2:] - few[:, :2]).prod(axis=1)).tolist() == area[-30:].tolist()


def test_motion_is_added_only_for_what_was_not_detected():
    settings = YoloSettings(motion=MotionBoxSettings(kernel=1))
    found = list(detect_clip(CLIP, walk(5), follow, settings, batch=2))
    # The box detected in frame t covers frame t's block; what moves around it is less than 100 px².
    assert [b.source.tolist() for b in found] == [[APPEARANCE]] * 5


@pytest.mark.parametrize("batch", [1, 2, 4, 16])
def test_batches_change_nothing(batch):
    def dull(clip, first, frames):
        return [b.take(slice(0, (first + i) % 2)) for i, b in enumerate(follow(clip, first, frames))]

    settings = YoloSettings(motion=MotionBoxSettings(kernel=1))
    expected = box_table(CLIP, detect_clip(CLIP, walk(9), dull, settings, 3))
    found = box_table(CLIP, detect_clip(CLIP, walk(9), dull, settings, batch))
    assert set(expected["source"]) == {"appearance", "motion"}
    assert found.equals(expected)


def test_frames_are_read_as_they_are_needed():
    read = []

    def frames():
        for t, frame in enumerate(walk(9)):
            read.append(t)
            yield frame

    boxes = detect_clip(CLIP, frames(), follow, YoloSettings(), batch=2)
    next(boxes)
    assert len(read) <= 4  # frame 0's motion needs frame 1, which comes in batches of two


def test_motion_can_be_left_out():
    found = list(detect_clip(CLIP, walk(3), follow, YoloSettings(motion=None)))
    assert [len(b) for b in found] == [1, 1, 1]


def test_imported_boxes_with_motion_pass_whatever_their_size():
    def tiny(clip, first, frames):
        return [Boxes.of([[-1, 0, 3, 3]], "imported", [0.1]) for _ in frames]

    settings = ImportedBoxesSettings(boxes="b.csv", rules=None, motion=None)
    assert [b.xyxy.tolist() for b in detect_clip(CLIP, walk(2), tiny, settings)] == [[[0, 0, 3, 3]]] * 2
    ruled = ImportedBoxesSettings(boxes="b.csv", motion=None)
    assert [len(b) for b in detect_clip(CLIP, walk(2), tiny, ruled)] == [0, 0]


def test_table_numbers_frames_and_skips_those_without_boxes():
    boxes = [
        Boxes.of([], APPEARANCE),
        Boxes.of([[0, 0, 9, 9], [1, 1, 5, 5]], APPEARANCE, [0.5, 0.25], [7, 0]),
    ]
    table = box_table(CLIP, boxes, first=4)
    assert table.to_dict("list") == {
        "clip": ["01", "01"],
        "split": ["testing", "testing"],
        "frame": [5, 5],
        "x1": [0, 1],
        "y1": [0, 1],
        "x2": [9, 5],
        "y2": [9, 5],
        "score": [0.5, 0.25],
        "cls": [7, 0],
        "source": ["appearance", "appearance"],
    }


@pytest.mark.parametrize("boxes", [[], [Boxes.of([], APPEARANCE)]])
def test_empty_table_has_all_columns_with_their_types(boxes):
    table = box_table(CLIP, boxes)
    assert len(table) == 0
    assert {name: str(kind) for name, kind in table.dtypes.items()} == {
        name: str(kind) for name, kind in box_table(CLIP, follow(CLIP, 0, [0])).dtypes.items()
    }
    assert list(table) == list(BOX_COLUMNS)
