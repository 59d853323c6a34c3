"""RBDC and TBDC by hand-computed cases. Boxes are 10 x 10 px at places that say which region they are on."""

import time

import numpy as np
import pytest

from vadlib.evaluation.frames import clip_draws
from vadlib.evaluation.regions import ClipDetections, area_to_one, evaluate_regions, iou, match_clip

FAR = 500  # where no region is


def at(x: float) -> list[float]:
    return [x, 0, x + 10, 10]


def clip(frames: int, boxes: list[tuple], regions: list[tuple]) -> ClipDetections:
    """`boxes` are (frame, x, score), `regions` (frame, x, track)."""
    return match_clip(
        frames,
        np.array([b[0] for b in boxes], int),
        np.array([at(b[1]) for b in boxes], float).reshape(-1, 4),
        np.array([b[2] for b in boxes], float),
        np.array([r[0] for r in regions], int),
        np.array([at(r[1]) for r in regions], float).reshape(-1, 4),
        np.array([r[2] for r in regions], int),
    )


def values(*clips: ClipDetections) -> tuple[float | None, float | None]:
    found, _ = evaluate_regions(clips, clip_draws(len(clips)))
    return found["rbdc"], found["tbdc"]


def test_one_region_found_before_any_false_positive_is_all_of_the_area():
    assert values(clip(4, [(1, 0, 9.0), (2, FAR, 1.0)], [(1, 0, 1)])) == (1, 1)


def test_a_region_nobody_finds_is_none_of_it():
    assert values(clip(2, [(0, FAR, 1.0), (1, FAR, 2.0)], [(0, 0, 1)])) == (0, 0)


def test_the_area_is_under_the_curve_up_to_one_false_positive_per_frame():
    """Two frames, so each false positive is 0.5 per frame. Falling scores: region, false, region, false, false.

    The curve goes (0, 0) (0, .5) (.5, .5) (.5, 1) (1, 1) and on to (1.5, 1), which does not count: .5 * .5 + .5 * 1.
    """
    boxes = [(0, 0, 5.0), (0, FAR, 4.0), (1, 0, 3.0), (1, FAR, 2.0), (1, 2 * FAR, 1.0)]
    rbdc, tbdc = values(clip(2, boxes, [(0, 0, 1), (1, 0, 2)]))
    assert rbdc == pytest.approx(0.75)
    assert tbdc == pytest.approx(0.75)


def test_boxes_of_one_score_are_reported_together():
    """One frame; a region and a false positive at one score: the straight line from (0, 0) to (1, 1)."""
    assert values(clip(1, [(0, 0, 1.0), (0, FAR, 1.0)], [(0, 0, 1)])) == (0.5, 0.5)


def test_the_line_is_cut_at_one_false_positive_per_frame():
    """Two false positives and a region in one frame, one score: (0, 0) to (2, 1), of which the half up to 1 counts."""
    assert values(clip(1, [(0, 0, 1.0), (0, FAR, 1.0), (0, 2 * FAR, 1.0)], [(0, 0, 1)]))[0] == pytest.approx(0.25)


def test_a_curve_that_ends_before_one_false_positive_per_frame_goes_on_level():
    """Four frames, one false positive (.25), then one region of two: 0 up to .25, and .5 from there on."""
    rbdc, _ = values(clip(4, [(0, FAR, 2.0), (1, 0, 1.0)], [(1, 0, 1), (2, 0, 1)]))
    assert rbdc == pytest.approx(0.75 * 0.5)


def test_frames_without_boxes_and_clips_without_regions_count_as_frames():
    """The same false positive before the region: 1 per frame of one, 0.1 of ten, nine of which are empty."""
    boxes, regions = [(0, FAR, 2.0), (0, 0, 1.0)], [(0, 0, 1)]
    assert values(clip(1, boxes, regions))[0] == pytest.approx(0)
    assert values(clip(10, boxes, regions))[0] == pytest.approx(0.9)
    assert values(clip(1, boxes, regions), clip(9, [], []))[0] == pytest.approx(0.9)


def test_a_track_is_found_with_a_tenth_of_its_regions():
    """Of 20 regions two are enough, the second best at score 3, after a false positive of ten: 1 - .1 * 1, not 1."""
    regions = [(t, 0, 7) for t in range(20)]
    seen_twice = [(3, 0, 9.0), (5, 0, 3.0), (0, FAR, 4.0), (1, FAR, 4.0)]
    rbdc, tbdc = values(clip(20, seen_twice, regions))
    assert tbdc == pytest.approx(0.9)
    assert rbdc == pytest.approx(0.1 * 0.05 + 0.9 * 0.1)
    assert values(clip(20, seen_twice[:1], regions))[1] == 0


@pytest.mark.parametrize(("regions", "needed"), [(1, 1), (9, 1), (10, 1), (11, 2), (30, 3), (31, 4)])
def test_a_tenth_of_a_track_is_rounded_up_and_exact(regions: int, needed: int):
    truth = [(t, 0, 1) for t in range(regions)]
    boxes = [(t, 0, 100.0 - t) for t in range(regions)]
    assert clip(regions, boxes, truth).tracks.tolist() == [100.0 - (needed - 1)]


def test_two_tracks_in_the_same_frames_are_two():
    """One found, one not."""
    regions = [(t, x, track) for t in range(5) for x, track in ((0, 1), (100, 2))]
    rbdc, tbdc = values(clip(5, [(t, 0, 1.0) for t in range(5)], regions))
    assert (rbdc, tbdc) == (0.5, 0.5)


def test_a_box_over_two_regions_detects_both_and_is_no_false_positive():
    found = match_clip(
        1, np.array([0]), np.array([[0, 0, 20, 10]]), np.array([1.0]),
        np.array([0, 0]), np.array([at(0), at(10)]), np.array([1, 2]),
    )  # fmt: skip
    assert found.regions.tolist() == [1, 1]
    assert not len(found.false_positives)


def test_an_overlap_of_exactly_a_tenth_is_enough():
    """10 of 100 px² shared; one pixel column less is a false positive."""
    for width, detected in ((10, True), (9, False)):
        found = match_clip(
            1, np.array([0]), np.array([[0, 0, 100, 1]]), np.array([1.0]),
            np.array([0]), np.array([[0, 0, width, 1]]), np.array([1]),
        )  # fmt: skip
        assert np.isfinite(found.regions).all() == detected
        assert len(found.false_positives) == (not detected)


def test_a_box_counts_in_its_own_frame_only():
    found = clip(3, [(0, 0, 1.0)], [(1, 0, 1), (2, 0, 1)])
    assert found.false_positives.tolist() == [1.0]
    assert found.regions.tolist() == [-np.inf, -np.inf]


def test_the_order_of_boxes_does_not_matter():
    boxes = [(0, 0, 5.0), (0, FAR, 4.0), (1, 0, 3.0), (1, FAR, 2.0)]
    regions = [(0, 0, 1), (1, 0, 2)]
    assert values(clip(2, boxes[::-1], regions[::-1])) == values(clip(2, boxes, regions))


def test_footage_without_boxes_detects_nothing_and_without_regions_has_no_figure():
    assert values(clip(3, [], [(0, 0, 1)])) == (0, 0)
    assert values(clip(3, [(0, 0, 1.0)], [])) == (None, None)


def test_intervals_leave_out_resamples_without_regions():
    """One of two clips has regions: a quarter of the resamples have none."""
    clips = [clip(2, [(0, 0, 2.0), (1, FAR, 3.0)], [(0, 0, 1)]), clip(2, [(0, FAR, 1.0)], [])]
    _, intervals = evaluate_regions(clips, clip_draws(2))
    assert intervals["rbdc"].left_out == pytest.approx(250, rel=0.2)
    # With both clips the false positive is .25 per frame; with the first twice it is .5.
    assert (intervals["rbdc"].low, intervals["rbdc"].high) == (0.5, 0.75)


def test_iou_of_boxes():
    boxes, others = np.array([at(0), at(0), at(0)]), np.array([at(5), at(10), at(0)])
    assert iou(boxes, others) == pytest.approx([50 / 150, 0, 1])


def test_area_with_a_point_right_at_one():
    assert area_to_one(np.array([0, 1, 1, 2]), np.array([0, 0.5, 0.7, 1])) == pytest.approx(0.25)


def test_a_hundred_thousand_boxes_take_seconds():
    rng = np.random.default_rng(0)
    clips = []
    for _ in range(100):
        frame = np.sort(rng.integers(400, size=1000))
        boxes, regions = (rng.uniform(0, 300, (n, 4)) for n in (1000, 200))
        boxes[:, 2:], regions[:, 2:] = boxes[:, :2] + 50, regions[:, :2] + 50
        track = rng.integers(3, size=200)
        clips.append(match_clip(400, frame, boxes, rng.normal(size=1000), np.arange(200), regions, track))
    started = time.process_time()
    evaluate_regions(clips, clip_draws(100)[:100])
    assert time.process_time() - started < 3  # a tenth of the resamples
