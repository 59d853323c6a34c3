"""From scores to events."""

import math

from vadlib.footage.classes import COCO, class_name
from vadlib.scoring.thresholds import Threshold
from vadlib.settings import MotionDetectorSettings, YoloSettings
from vadlib.watch.events import EventMaker, Rules, Seen

THRESHOLD = Threshold(10.0, 2.0, 0.01, 0.01, None, 100, 100)
BEGIN = 1_769_846_400.0  # 2026-01-31T08:00:00Z


def made(scores: list[float], rules: Rules, fps: float = 10.0) -> list[tuple]:
    maker = EventMaker("door", THRESHOLD, rules)
    found = []
    for number, score in enumerate(scores):
        seen = Seen(BEGIN + number / fps, number / fps, score)
        found += [
            (e.state, round(e.begin.stream_time, 3), round(e.last.stream_time, 3), e.peak.score)
            for e in maker.see(seen)
        ]
    return found + [
        (e.state, round(e.begin.stream_time, 3), round(e.last.stream_time, 3), e.peak.score) for e in maker.end("cut")
    ]


def test_an_event_begins_once_it_has_lasted_and_ends_after_a_gap():
    scores = [0] * 5 + [11, 12, 15, 13, 12, 11, 11] + [0] * 15
    assert made(scores, Rules(shortest=0.39)) == [("begin", 0.5, 0.8, 15), ("end", 0.5, 1.1, 15)]


def test_what_is_shorter_is_none():
    assert made([0, 30, 30, 0] + [0] * 20, Rules(shortest=0.29)) == []
    assert len(made([0, 30, 0] + [0] * 20, Rules(shortest=0))) == 2


def test_a_frame_stands_for_the_time_since_the_one_before_but_not_across_a_cut():
    """Where every sixth frame is looked at, half a second is two frames or three."""
    short = [0, 30, 30, 0, 0, 0, 0, 0]
    assert len(made(short, Rules(shortest=0.5), fps=25 / 6)) == 0
    assert len(made(short, Rules(shortest=0.47), fps=25 / 6)) == 2
    assert len(made(short, Rules(shortest=0.09), fps=25)) == 0
    maker = EventMaker("door", THRESHOLD, Rules(shortest=0.47))
    list(maker.see(Seen(BEGIN, 0.0, 0.0)))
    list(maker.end("the stream was cut"))
    assert not list(maker.see(Seen(BEGIN + 30, 30.0, 30.0)))
    assert not list(maker.see(Seen(BEGIN + 30.24, 30.24, 30.0)))
    assert list(maker.see(Seen(BEGIN + 30.48, 30.48, 30.0)))


def test_it_goes_on_above_the_lower_threshold_through_short_gaps_and_frames_without_boxes():
    lower = Rules().lower(THRESHOLD)
    assert lower == 8.0
    scores = [11, 9, 9, math.nan, math.nan, 8.5, 0, 0, 0, 9, 9] + [0] * 15
    assert made(scores, Rules(shortest=0.19))[-1] == ("end", 0.0, 1.0, 11)
    assert made([9] * 20, Rules(shortest=0.19)) == []


def test_another_begins_only_after_the_cooling_off():
    burst = [20] * 4
    scores = burst + [0] * 20 + burst + [0] * 40 + burst + [0] * 20
    begins = [begin for state, begin, *_ in made(scores, Rules(shortest=0.19, cool_off=4.99)) if state == "begin"]
    assert begins == [0.0, 6.8]


def test_what_does_not_end_is_several_without_a_pause_between():
    found = made([20] * 100, Rules(shortest=0.19, longest=2.99))
    assert [round(row[2] - row[1], 1) for row in found if row[0] == "end"] == [3.0, 3.0, 3.0, 0.6]
    assert [row[1] for row in found if row[0] == "begin"] == [0.0, 3.1, 6.2, 9.3]


def test_an_event_says_what_when_and_where():
    maker = EventMaker("door", THRESHOLD, Rules(shortest=0), "day")
    (event,) = maker.see(Seen(BEGIN, 7.0, 20.0, (1, 2, 3, 4), 5, "person", "It is fast"), lambda: 0.25)
    assert event.as_json() == {
        "id": "door-20260131T080000000Z", "state": "begin", "camera": "door", "model": "day",
        "begin": "2026-01-31T08:00:00.000Z",
        "end": "2026-01-31T08:00:00.000Z", "seconds": 0.0, "stream_begin_s": 7.0, "stream_end_s": 7.0,
        "peak": "2026-01-31T08:00:00.000Z", "score": 20.0, "reason": "It is fast", "class": "person",
        "box": [1, 2, 3, 4], "track": 5, "latency_s": 0.25,
    }  # fmt: skip


def test_classes_have_names_where_they_are_cocos():
    assert len(COCO) == 80
    assert class_name(YoloSettings(weights="yolo11n_int8_openvino_model"), 0) == "person"
    assert class_name(YoloSettings(weights="street.safetensors"), 0) == "class 0"
    assert class_name(MotionDetectorSettings(kind="motion"), -1) == ""
