"""Motion boxes of small scenes whose boxes can be told by hand."""

import numpy as np

from vadlib.boxes.motion import blurred_grey, largest, motion_boxes
from vadlib.boxes.table import MOTION
from vadlib.settings import MotionBoxSettings

# A kernel of one pixel does not blur, so the boxes are exact.
SHARP = MotionBoxSettings(kernel=1, threshold=18, min_area=100, grow=2)
NONE = np.empty((0, 4), np.float32)


def scene(*patches, height=60, width=100) -> np.ndarray:
    """Grey levels (H, W), with (x1, y1, x2, y2, level) patches on 0."""
    image = np.zeros((height, width), np.uint8)
    for x1, y1, x2, y2, level in patches:
        image[y1:y2, x1:x2] = level
    return image


def boxes(before, current, after, detected=NONE, settings=SHARP) -> list:
    return motion_boxes(before, current, after, np.asarray(detected, np.float32), settings).xyxy.tolist()


def test_box_of_what_appears_is_grown():
    assert boxes(scene(), scene((20, 10, 32, 25, 90)), scene((20, 10, 32, 25, 90))) == [[18, 8, 34, 27]]


def test_change_before_and_after_are_added():
    # 10 grey levels each way: 20 together pass the threshold of 18, 10 alone do not.
    flash = scene((20, 10, 40, 30, 10))
    assert boxes(scene(), flash, scene()) == [[18, 8, 42, 32]]
    assert boxes(scene(), flash, flash) == []


def test_threshold_itself_is_no_motion():
    assert boxes(scene(), scene((20, 10, 40, 30, 18)), scene((20, 10, 40, 30, 18))) == []


def test_largest_changes_do_not_wrap_around():
    # 128 + 128 is 0 in eight bits.
    assert boxes(scene(), scene((20, 10, 40, 30, 128)), scene()) == [[18, 8, 42, 32]]


def test_area_must_be_larger_than_the_least():
    ten = scene((20, 10, 30, 20, 90))
    eleven = scene((20, 10, 31, 20, 90))
    assert boxes(scene(), ten, ten) == []
    assert len(boxes(scene(), eleven, eleven)) == 1


def test_sides_must_be_less_than_ten_times_each_other():
    thin, thick = scene((5, 10, 85, 18, 90)), scene((5, 10, 84, 18, 90))
    assert boxes(scene(), thin, thin) == []
    assert len(boxes(scene(), thick, thick)) == 1
    tall = scene((10, 5, 15, 55, 90))
    assert boxes(scene(), tall, tall) == []


def test_detected_boxes_are_blanked_out_with_their_margin():
    moving = scene((20, 10, 40, 30, 90))
    assert boxes(scene(), moving, moving, [(22, 12, 38, 28)]) == []
    # Without the margin of 2 px a frame around the detection would be left.
    margin = SHARP.model_copy(update={"grow": 0})
    assert boxes(scene(), moving, moving, [(22, 12, 38, 28)], margin) == [[20, 10, 40, 30]]


def test_what_sticks_out_of_a_detected_box_gets_its_own():
    moving = scene((20, 10, 60, 30, 90))
    assert boxes(scene(), moving, moving, [(20, 10, 38, 30)]) == [[38, 8, 62, 32]]


def test_detected_box_over_the_edge_blanks_only_itself():
    moving = scene((80, 40, 100, 60, 90), (5, 5, 25, 25, 90))
    assert boxes(scene(), moving, moving, [(70, 30, 100, 60)]) == [[3, 3, 27, 27]]


def test_box_at_the_edge_is_clipped_to_the_frame():
    moving = scene((0, 0, 20, 20, 90), (80, 40, 100, 60, 90))
    assert boxes(scene(), moving, moving) == [[0, 0, 22, 22], [78, 38, 100, 60]]


def test_hole_makes_no_box_of_its_own():
    ring = scene((10, 5, 60, 50, 90), (20, 15, 50, 40, 0), (30, 20, 42, 34, 90))
    assert boxes(scene(), ring, ring) == [[8, 3, 62, 52]]


def test_dark_and_still_frames_have_no_motion():
    assert boxes(scene(), scene(), scene()) == []
    still = scene((20, 10, 40, 30, 200))
    assert boxes(still, still, still) == []


def test_blur_takes_away_single_pixels():
    noise = np.zeros((60, 100, 3), np.uint8)
    noise[30, 50] = 60
    blurred = MotionBoxSettings(kernel=5)
    assert blurred_grey(noise, SHARP).max() == 60
    assert blurred_grey(noise, blurred).max() < 18


def test_colours_weigh_as_grey_levels():
    frame = np.zeros((4, 4, 3), np.uint8)
    frame[..., 1] = 100
    assert blurred_grey(frame, SHARP)[0, 0] == 59  # 0.587 of green, by ITU-R BT.601


def test_source_is_motion_and_score_one():
    moving = scene((20, 10, 40, 30, 90))
    found = motion_boxes(scene(), moving, moving, NONE, SHARP)
    assert found.source.tolist() == [MOTION]
    assert found.score.tolist() == [1]
    assert found.cls.tolist() == [-1]


def test_of_too_many_the_largest_are_kept_in_order():
    few = scene((5, 5, 25, 25, 90), (40, 5, 70, 25, 90), (5, 35, 25, 55, 90), (40, 35, 65, 55, 90))
    found = motion_boxes(scene(), few, few, NONE, SHARP)
    assert largest(found, 4) is found
    assert largest(found, 2).xyxy.tolist() == [[38, 3, 72, 27], [38, 33, 67, 57]]
    assert largest(found, 3).xyxy.tolist() == [[3, 3, 27, 27], [38, 3, 72, 27], [38, 33, 67, 57]]  # of equal, the first
