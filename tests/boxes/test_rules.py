"""The rules that keep or drop an appearance box, each on boxes computed by hand."""

import numpy as np
import pytest

from vadlib.boxes.rules import apply_rules, covered, in_frame
from vadlib.boxes.table import APPEARANCE, Boxes
from vadlib.settings import RuleSettings

SETTINGS = RuleSettings(confidence=0.5, min_area=100, max_cover=0.6)


def boxes(*xyxy, score=None, cls=None) -> Boxes:
    return Boxes.of(np.array(xyxy, dtype=np.float32), APPEARANCE, score, cls)


def kept(found: Boxes, settings: RuleSettings = SETTINGS) -> list:
    return apply_rules(in_frame(found, 100, 80), settings).xyxy.tolist()


def test_confidence_must_be_more_than_the_setting():
    found = boxes((0, 0, 20, 20), (40, 40, 60, 60), score=[0.5, 0.51])
    assert kept(found) == [[40, 40, 60, 60]]


def test_area_counts_both_ends_of_a_side():
    # (9 + 1) * (9 + 1) is the least area of 100; 8.9 and 9 give 99.
    assert kept(boxes((0, 0, 9, 9), (40, 40, 48.9, 49))) == [[0, 0, 9, 9]]


def test_area_is_that_inside_the_frame():
    assert kept(boxes((-50, 0, 4, 15), (95, 60, 130, 80))) == [[95, 60, 100, 80]]


def test_box_covered_by_a_larger_one_is_dropped():
    # Of its 200 px², 120 (share 0.6) lie in the large box in the first case, 130 in the second.
    large = (0, 0, 30, 40)
    assert len(kept(boxes(large, (18, 0, 38, 10)))) == 2
    assert kept(boxes(large, (17, 0, 37, 10))) == [list(large)]


def test_larger_box_is_never_dropped_for_a_smaller():
    assert covered(boxes((10, 10, 20, 20), (0, 0, 40, 40)), 0.0).tolist() == [True, False]


def test_chain_of_covers_drops_all_but_the_largest():
    # b lies in a, c in b; c is dropped for b although b is itself dropped.
    a, b, c = (0, 0, 40, 40), (30, 0, 44, 20), (34, 0, 46, 12)
    assert covered(boxes(a, b, c), 0.6).tolist() == [False, True, True]


def test_of_equal_boxes_the_surer_stays():
    same = (5, 5, 25, 25)
    assert covered(boxes(same, same, score=[0.6, 0.9]), 0.6).tolist() == [True, False]


def test_order_of_equal_boxes_does_not_matter():
    pair = [(0, 0, 20, 20), (2, 0, 22, 20)]
    assert covered(boxes(*pair), 0.6).tolist() == [False, True]
    assert covered(boxes(*pair[::-1]), 0.6).tolist() == [True, False]


def test_box_at_the_edge_is_clipped():
    assert in_frame(boxes((-3, -2, 104, 90)), 100, 80).xyxy.tolist() == [[0, 0, 100, 80]]


@pytest.mark.parametrize(
    "bad", [(np.nan, 0, 20, 20), (20, 0, 20, 30), (30, 0, 20, 30), (100, 0, 120, 40), (0, -9, 9, 0)]
)
def test_detections_without_area_in_the_frame_are_dropped(bad):
    assert kept(boxes(bad, (40, 40, 60, 60))) == [[40, 40, 60, 60]]


def test_score_that_is_not_a_number_is_dropped():
    assert kept(boxes((0, 0, 20, 20), score=[np.nan])) == []


def test_no_boxes_stay_no_boxes():
    assert apply_rules(boxes(), SETTINGS).xyxy.shape == (0, 4)


def test_no_class_is_filtered_out():
    found = boxes((0, 0, 20, 20), (40, 0, 60, 20), cls=[0, 79])
    assert apply_rules(found, SETTINGS).cls.tolist() == [0, 79]
