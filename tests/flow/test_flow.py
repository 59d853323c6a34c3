"""Optical flow of a clip: known shifts, the clip's ends, working sizes."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from vadlib.errors import VadError
from vadlib.flow.fields import flow_of_clip, resize_flow
from vadlib.flow.kinds.dis import make_estimator
from vadlib.manifest import Clip
from vadlib.settings import DisSettings

CLIP = Clip("01", "testing", "data/x/testing/frames/01", 4, 160, 128)


def texture(height: int = 168, width: int = 200) -> np.ndarray:
    """A smooth random RGB image, (H, W, 3) uint8."""
    noise = np.random.default_rng(0).random((height // 4, width // 4, 3)).astype(np.float32)
    return (cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 1) * 255).astype(np.uint8)


def shifted(frames: int, dx: int, dy: int) -> list[np.ndarray]:
    """Frames of 160x128 in which the texture moves (dx, dy) px a frame."""
    image = texture()
    return [image[20 - dy * t : 148 - dy * t, 20 - dx * t : 180 - dx * t].copy() for t in range(frames)]


def flow(frames, **settings) -> list[np.ndarray]:
    return list(
        flow_of_clip(CLIP, frames, make_estimator(DisSettings(**settings), Path("weights"), Path("data"), "cpu"))
    )


def inner(field: np.ndarray) -> np.ndarray:
    return field[24:-24, 24:-24]


@pytest.mark.parametrize(("preset", "tolerance"), [("ultrafast", 0.2), ("fast", 0.2), ("medium", 0.05)])
def test_dis_finds_a_shift_to_the_right_and_down(preset, tolerance):
    fields = flow(shifted(2, 3, 2), preset=preset)
    assert fields[0].shape == (128, 160, 2)
    assert fields[0].dtype == np.float32
    assert np.abs(np.median(inner(fields[0]), axis=(0, 1)) - [3, 2]).max() < tolerance


def test_flow_at_a_working_size_is_in_pixels_of_the_frame():
    fields = flow(shifted(2, 4, 2), size=(80, 64))
    assert fields[0].shape == (128, 160, 2)
    assert np.abs(np.median(inner(fields[0]), axis=(0, 1)) - [4, 2]).max() < 0.25


def test_last_frame_repeats_the_one_before():
    fields = flow(shifted(3, 1, 0))
    assert len(fields) == 3
    assert np.array_equal(fields[2], fields[1])
    assert not np.array_equal(fields[1], fields[0])


def test_one_frame_clip_has_no_motion():
    fields = flow(shifted(1, 0, 0))
    assert len(fields) == 1
    assert fields[0].shape == (128, 160, 2)
    assert not fields[0].any()


def test_clip_without_frames_has_no_flow():
    assert flow([]) == []


def test_dark_frames_have_no_motion():
    fields = flow([np.zeros((64, 64, 3), np.uint8)] * 2)
    assert not np.abs(fields[0]).max()


def test_frames_are_read_as_they_are_needed():
    read = []

    def frames():
        for frame in shifted(4, 1, 0):
            read.append(1)
            yield frame

    next(flow_of_clip(CLIP, frames(), make_estimator(DisSettings(), Path(), Path(), "cpu")))
    assert len(read) == 2


def test_dis_does_not_depend_on_threads():
    frames, threads = shifted(2, 3, 2), cv2.getNumThreads()
    try:
        cv2.setNumThreads(1)
        one = flow(frames)
        cv2.setNumThreads(4)
        four = flow(frames)
    finally:
        cv2.setNumThreads(threads)
    assert np.array_equal(one[0], four[0])


def test_frames_too_small_for_dis_ask_for_a_working_size():
    tiny = [frame[:8, :8] for frame in shifted(3, 1, 0)]
    with pytest.raises(VadError, match=r"clip 01, frame 0: DIS cannot work on frames of 8x8 px; .*flow\.size"):
        flow(tiny)
    assert flow(tiny, size=(64, 64))[0].shape == (8, 8, 2)


def test_resized_field_has_scaled_vectors():
    field = np.full((20, 30, 2), (4, 8), np.float32)
    resized = resize_flow(field, 60, 10)
    assert resized.shape == (10, 60, 2)
    assert np.allclose(resized, (8, 4))


def test_field_of_the_right_size_is_left_alone():
    field = np.random.default_rng(0).random((6, 8, 2)).astype(np.float32)
    assert np.array_equal(resize_flow(field, 8, 6), field)
