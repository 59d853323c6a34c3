"""Windows at clip borders, crops at frame borders."""

import itertools

import numpy as np
import pytest

from vadlib.cubes.cut import cubes_of_clip, cut, mean_flow_magnitude, whole_pixels, window
from vadlib.settings import CubeSettings


@pytest.mark.parametrize(
    ("frame", "expected"), [(0, [0, 1, 2, 3, 4]), (1, [0, 1, 2, 3, 4]), (2, [0, 1, 2, 3, 4]), (3, [1, 2, 3, 4, 5]),
                            (7, [5, 6, 7, 8, 9]), (8, [5, 6, 7, 8, 9]), (9, [5, 6, 7, 8, 9])],
)  # fmt: skip
def test_windows_slide_to_stay_inside_the_clip(frame, expected):
    assert window(frame, frames=10, context=2) == expected


@pytest.mark.parametrize("frames", [1, 2, 4])
def test_a_clip_shorter_than_the_window_repeats_its_last_frame(frames):
    for frame in range(frames):
        found = window(frame, frames, context=2)
        assert len(found) == 5
        assert frame in found
        assert found == [min(i, frames - 1) for i in range(5)]


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((2.0, 3.0, 6.0, 8.0), (2, 3, 6, 8)),
        ((2.1, 3.9, 6.1, 7.9), (3, 4, 7, 8)),  # edges are rounded up
        ((-5.0, -1.0, 4.0, 3.0), (0, 0, 4, 3)),
        ((15.0, 9.0, 30.0, 30.0), (15, 9, 20, 10)),
        ((5.2, 5.2, 5.4, 5.4), (6, 6, 7, 7)),  # at least one pixel
        ((25.0, 25.0, 30.0, 30.0), (19, 9, 20, 10)),  # outside: the nearest pixel
    ],
)
def test_boxes_become_whole_pixels_inside_the_frame(box, expected):
    assert whole_pixels(np.array(box, np.float32), width=20, height=10) == expected


def test_a_cut_is_the_crop_when_sizes_agree_and_bilinear_when_not():
    field = np.arange(16, dtype=np.float32).reshape(4, 4, 1).repeat(2, axis=2)
    np.testing.assert_array_equal(cut(field, (0, 0, 4, 4), 4), field)
    halved = cut(field, (0, 0, 4, 4), 2)
    np.testing.assert_allclose(halved[..., 0], [[2.5, 4.5], [10.5, 12.5]])


def numbered(frames: int) -> list[np.ndarray]:
    return [np.full((12, 16, 3), number, np.uint8) for number in range(frames)]


def test_every_box_becomes_one_cube_of_its_frames_window():
    boxes = [np.zeros((0, 4), np.float32) for _ in range(9)]
    boxes[0] = np.array([[0, 0, 8, 8]], np.float32)
    boxes[5] = np.array([[0, 0, 8, 8], [4, 4, 16, 12]], np.float32)
    every = list(cubes_of_clip(iter(numbered(9)), boxes, CubeSettings(context=2, patch=8)))
    assert [f.frame for f in every] == list(range(9))
    assert every[1].cubes.shape == (0, 5, 8, 8, 3)
    found = [f for f in every if len(f.boxes)]
    assert [f.frame for f in found] == [0, 5]
    assert [f.cubes.shape for f in found] == [(1, 5, 8, 8, 3), (2, 5, 8, 8, 3)]
    assert found[0].cubes[0, :, 0, 0, 0].tolist() == [0, 1, 2, 3, 4]
    assert found[1].cubes[1, :, 0, 0, 0].tolist() == [3, 4, 5, 6, 7]
    assert [f.centre for f in found] == [0, 2]


def test_fields_are_taken_once_and_at_most_a_window_is_held():
    held, most = 0, 0

    class Watched(np.ndarray):
        def __del__(self):
            nonlocal held
            held -= 1

    def fields():
        nonlocal held, most
        for field in numbered(50):
            held += 1
            most = max(most, held)
            yield field.view(Watched)

    boxes = [np.array([[0, 0, 8, 8]], np.float32)] * 50
    assert sum(1 for _ in cubes_of_clip(fields(), boxes, CubeSettings(context=2, patch=8))) == 50
    assert most <= 5 + 2


@pytest.mark.parametrize("frames", range(1, 12))
@pytest.mark.parametrize("context", [0, 1, 3])
def test_cubes_are_of_the_windows_of_a_clip_whose_length_is_known(frames, context):
    boxes = [np.array([[0, 0, 8, 8]], np.float32)] * frames
    found = list(cubes_of_clip(iter(numbered(frames)), iter(boxes), CubeSettings(context=context, patch=8)))
    windows = [window(frame, frames, context) for frame in range(frames)]
    assert [f.cubes[0, :, 0, 0, 0].tolist() for f in found] == windows
    assert [f.centre for f in found] == [w.index(frame) for frame, w in enumerate(windows)]


def test_no_more_fields_are_taken_than_the_next_cube_needs():
    taken = 0

    def fields():
        nonlocal taken
        for field in numbered(50):
            taken += 1
            yield field

    cubes = cubes_of_clip(fields(), itertools.repeat(np.zeros((0, 4), np.float32)), CubeSettings(context=3, patch=8))
    reach = [taken for _ in range(20) if next(cubes)]
    assert reach == [7, 7, 7, 7, *range(8, 24)]


def test_fewer_fields_than_frames_are_an_error():
    boxes = [np.zeros((0, 4), np.float32)] * 3
    with pytest.raises(ValueError, match="only 2 fields"):
        list(cubes_of_clip(numbered(2), boxes, CubeSettings(context=1)))


def test_more_fields_than_frames_are_an_error():
    boxes = [np.zeros((0, 4), np.float32)] * 3
    with pytest.raises(ValueError, match="more fields"):
        list(cubes_of_clip(numbered(4), boxes, CubeSettings(context=1)))


@pytest.mark.parametrize("frames", [1, 3])
def test_short_clips_have_cubes_too(frames):
    boxes = [np.array([[0, 0, 8, 8]], np.float32)] * frames
    found = list(cubes_of_clip(numbered(frames), boxes, CubeSettings(context=3, patch=8)))
    assert [f.cubes.shape[1] for f in found] == [7] * frames


def test_mean_flow_is_of_the_vectors_lengths_in_each_box():
    field = np.zeros((10, 10, 2), np.float32)
    field[:5] = (3, 4)
    boxes = np.array([[0, 0, 10, 5], [0, 0, 10, 10], [0, 5, 10, 10]], np.float32)
    np.testing.assert_allclose(mean_flow_magnitude(field, boxes), [5, 2.5, 0])
