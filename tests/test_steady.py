"""A camera that shakes, on pictures whose motion is known."""

import cv2
import numpy as np
import pytest

from vadlib.boxes.motion import motion_boxes
from vadlib.flow.fields import steadied
from vadlib.settings import MotionBoxSettings
from vadlib.steady import STILL, camera_motion, camera_motion_between, moved_back

MOTION = MotionBoxSettings(kernel=1, threshold=40, min_area=100, grow=2)
NONE = np.empty((0, 4), np.float32)


def street(x: float = 0.0, y: float = 0.0) -> np.ndarray:
    """Grey blocks (120, 160) uint8, moved right and down."""
    rng = np.random.default_rng(4)
    blocks = cv2.resize(rng.integers(0, 255, (15, 20)).astype(np.uint8), (200, 160), interpolation=cv2.INTER_CUBIC)
    return cv2.warpAffine(blocks, np.array([[1.0, 0, x - 20], [0, 1.0, y - 20]]), (160, 120))


def rgb(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[..., None], 3, axis=2)


@pytest.mark.parametrize("shift", [(1.5, 0.0), (-2.0, 1.0), (0.0, -1.25)])
def test_the_motion_of_a_camera_is_that_of_most_of_the_picture(shift):
    before, after = street(), street(*shift)
    after[40:80, 60:90] = 255  # something that comes by
    assert camera_motion_between(before, after) == pytest.approx(shift, abs=0.15)


def test_a_camera_that_stands_still_is_exactly_still():
    assert not camera_motion_between(street(), street()).any()
    field = np.full((40, 40, 2), (0.9 * STILL, 0), np.float32)
    picture = rgb(street()[:40, :40])
    assert not camera_motion(field, picture).any()
    field[:15] = 3  # a third of the picture moves by itself
    assert not camera_motion(field, picture).any()


def test_frames_too_small_to_tell_are_still():
    assert not camera_motion_between(np.zeros((4, 4), np.uint8), np.full((4, 4), 9, np.uint8)).any()


def test_a_frame_is_moved_back():
    inside = np.s_[5:-5, 5:-5]
    back = moved_back(street(2, 1), np.array([2, 1], np.float32))
    assert np.abs(back[inside].astype(int) - street()[inside]).max() <= 1


def test_flow_is_without_the_motion_of_the_camera():
    field = np.full((32, 32, 2), (1.5, -0.5), np.float32)
    field[4:12, 4:12] = (3.5, 0)  # somebody walks
    frames = [rgb(street()[:32, :32])] * 2

    def estimator(clip, frames):
        list(frames)
        yield field

    [steady] = steadied(estimator)(None, frames)
    assert np.abs(steady[20:]).max() == 0
    assert steady[6, 6] == pytest.approx((2.0, 0.5))


def test_what_stands_still_before_a_camera_that_shakes_has_no_box():
    pictures = [street(), street(1.5, 0.5), street()]
    shaken = np.abs(pictures[0].astype(int) - pictures[1]) * 2 > MOTION.threshold
    assert shaken.sum() > 200  # without moving back there would be
    assert len(motion_boxes(*pictures, NONE, MOTION)) == 0


def test_what_moves_before_a_camera_that_shakes_has_its_box():
    pictures = [street(), street(1.5, 0.5), street()]
    for picture, left in zip(pictures, (40, 48, 56), strict=True):
        picture[50:80, left : left + 20] = 255
    [box] = motion_boxes(*pictures, NONE, MOTION).xyxy.tolist()
    assert box == pytest.approx([38, 48, 78, 82], abs=4)


def blank(x: float = 0.0) -> np.ndarray:
    """A grey wall (120, 160) uint8 with a sensor's noise, and somebody with patterned clothes at x before it."""
    rng = np.random.default_rng(5)
    picture = np.full((120, 160), 128, np.float32)
    clothes = cv2.resize(rng.integers(0, 255, (12, 6)).astype(np.float32), (50, 90), interpolation=cv2.INTER_CUBIC)
    picture = cv2.warpAffine(
        clothes, np.array([[1.0, 0, 30 + x], [0, 1, 15]]), (160, 120), picture, borderMode=cv2.BORDER_TRANSPARENT
    )
    noise = np.random.default_rng(int(10 * x) + 7).normal(0, 1.5, picture.shape)
    return (picture + noise).clip(0, 255).astype(np.uint8)


def river(x: float) -> np.ndarray:
    """`street` whose middle two thirds flow to the right."""
    picture = street()
    picture[20:100] = street(x)[20:100]
    return picture


@pytest.mark.parametrize("shift", [1.5, 3.0, 6.0])
@pytest.mark.parametrize("scene", [blank, river])
def test_what_moves_by_itself_is_not_the_camera(scene, shift):
    before, after = scene(0.0), scene(shift)
    assert not camera_motion_between(before, after).any()
    field = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(before, after, None)
    assert not camera_motion(field, rgb(before)).any()
    everywhere = np.full_like(field, (shift, 0))  # as an estimator may spread it over what has no texture
    if scene is blank:
        assert not camera_motion(everywhere, rgb(before)).any()


def test_a_wide_camera_may_move_further():
    before, after = (
        cv2.resize(street(x), (1280, 960), interpolation=cv2.INTER_NEAREST) for x in (0.0, 1.0)
    )  # blocks of 8 px
    assert camera_motion_between(before, after) == pytest.approx((8, 0), abs=0.5)
