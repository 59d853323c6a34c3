"""What holds of any boxes, windows, shards and metrics, whatever is in them."""

import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vadlib.boxes.rules import apply_rules, covered, in_frame
from vadlib.boxes.table import BOX_COLUMNS, Boxes, box_table
from vadlib.cubes.cut import cubes_of_clip, cut, whole_pixels, window
from vadlib.cubes.shards import CubeSet, Shard, ShardWriter
from vadlib.evaluation.frames import (
    apart,
    clip_draws,
    equal_error_rate,
    evaluate_frames,
    frame_intervals,
    micro_auroc,
    rank_empty_frames_last,
)
from vadlib.evaluation.regions import evaluate_regions, match_clip
from vadlib.manifest import Clip
from vadlib.settings import CubeSettings, RuleSettings

WIDTH, HEIGHT = 64, 48
patiently = settings(deadline=None, max_examples=60)


def boxes_of(xyxy: np.ndarray, seed: int = 0) -> Boxes:
    rng = np.random.default_rng(seed)
    return Boxes.of(xyxy, "appearance", rng.random(len(xyxy)).round(1), rng.integers(-1, 3, len(xyxy)))


any_boxes = hnp.arrays(np.float32, st.tuples(st.integers(0, 8), st.just(4)), elements=st.floats(width=32))
corners = st.tuples(*[st.floats(-20, 80, width=32)] * 2, *[st.floats(0, 70, width=32)] * 2)
"""Of boxes inside, across and outside the frame: x, y, width and height."""
near_boxes = st.lists(corners, max_size=8).map(
    lambda rows: np.array([[x, y, x + w, y + h] for x, y, w, h in rows], np.float32).reshape(-1, 4)
)
inside_boxes = near_boxes.map(lambda xyxy: in_frame(boxes_of(xyxy), WIDTH, HEIGHT).xyxy)


def as_set(boxes: Boxes) -> set[tuple]:
    return set(zip(map(tuple, boxes.xyxy.tolist()), boxes.score.tolist(), boxes.cls.tolist(), strict=True))


# Boxes


@patiently
@given(any_boxes | near_boxes)
def test_boxes_are_clipped_to_the_frame_and_those_in_it_stay(xyxy):
    given_boxes = boxes_of(xyxy)
    found = in_frame(given_boxes, WIDTH, HEIGHT)
    x1, y1, x2, y2 = found.xyxy.T
    assert ((x1 >= 0) & (y1 >= 0) & (x2 <= WIDTH) & (y2 <= HEIGHT) & (x1 < x2) & (y1 < y2)).all()
    again = in_frame(found, WIDTH, HEIGHT)
    np.testing.assert_array_equal(again.xyxy, found.xyxy)
    whole = in_frame(found.followed_by(given_boxes), WIDTH, HEIGHT)
    np.testing.assert_array_equal(whole.xyxy, np.concatenate([found.xyxy, found.xyxy]))


@patiently
@given(inside_boxes, st.floats(0, 1), st.integers(1, 400), st.floats(0, 1), st.randoms(use_true_random=False))
def test_the_rules_keep_the_same_boxes_in_any_order(xyxy, confidence, min_area, max_cover, random):
    rules = RuleSettings(confidence=confidence, min_area=min_area, max_cover=max_cover)
    boxes = boxes_of(xyxy)
    found = apply_rules(boxes, rules)
    order = list(range(len(boxes)))
    random.shuffle(order)
    assert as_set(apply_rules(boxes.take(np.array(order, int)), rules)) == as_set(found)
    assert as_set(found) <= as_set(boxes)
    assert (found.score > confidence).all()
    assert not covered(found, max_cover).any()
    assert as_set(apply_rules(found, rules)) == as_set(found)


@patiently
@given(st.lists(near_boxes, max_size=6), st.integers(0, 6))
def test_a_table_of_boxes_is_that_of_its_parts(frames, parted):
    clip, every = Clip("a", "testing", "a", max(1, len(frames)), WIDTH, HEIGHT), [boxes_of(xyxy) for xyxy in frames]
    whole = box_table(clip, every)
    parts = [box_table(clip, every[:parted]), box_table(clip, every[parted:], first=min(parted, len(every)))]
    pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), whole)
    assert whole.dtypes.astype(str).to_dict() == BOX_COLUMNS
    assert whole["frame"].value_counts().to_dict() == {t: len(found) for t, found in enumerate(every) if len(found)}


# Windows


@given(st.data(), st.integers(1, 60), st.integers(0, 9))
def test_a_window_is_in_the_clip_around_its_frame(data, frames, context):
    frame = data.draw(st.integers(0, frames - 1))
    found = window(frame, frames, context)
    assert len(found) == 2 * context + 1
    assert frame in found
    assert found[0] >= 0
    assert found[-1] <= frames - 1
    if frames > 2 * context:
        assert [b - a for a, b in pairwise(found)] == [1] * (2 * context)
        if context <= frame < frames - context:
            assert found[context] == frame
    else:
        assert set(found) == set(range(frames))


@patiently
@given(near_boxes)
def test_what_is_cut_is_a_part_of_the_frame(xyxy):
    field = np.arange(WIDTH * HEIGHT, dtype=np.float32).reshape(HEIGHT, WIDTH, 1).repeat(2, axis=2)
    for box in xyxy:
        x1, y1, x2, y2 = whole_pixels(box, WIDTH, HEIGHT)
        assert 0 <= x1 < x2 <= WIDTH
        assert 0 <= y1 < y2 <= HEIGHT
        patch = cut(field, (x1, y1, x2, y2), 8)
        assert patch.shape == (8, 8, 2)
        assert field[y1, x1, 0] <= patch.min() <= patch.max() <= field[y2 - 1, x2 - 1, 0]


@patiently
@given(st.lists(inside_boxes, min_size=1, max_size=9), st.integers(1, 3))
def test_the_cubes_of_a_clip_are_cut_from_the_windows_of_their_frames(boxes, context):
    fields = [np.full((HEIGHT, WIDTH, 2), t, np.int16) for t in range(len(boxes))]
    found = list(cubes_of_clip(iter(fields), boxes, CubeSettings(context=context, patch=8)))
    assert [cubes.frame for cubes in found] == list(range(len(boxes)))
    for cubes, expected in zip(found, boxes, strict=True):
        shown = window(cubes.frame, len(boxes), context)
        assert cubes.cubes.shape == (len(expected), len(shown), 8, 8, 2)
        assert (cubes.cubes == np.array(shown)[None, :, None, None, None]).all()
        assert shown[cubes.centre] == cubes.frame


# Shards


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.lists(st.integers(0, 40), max_size=12), min_size=1, max_size=3),
    st.integers(1, 70), st.integers(0, 3), st.integers(0, 4), st.none() | st.integers(1, 300),
)  # fmt: skip
def test_a_set_of_shards_gives_every_cube_once_in_any_order(clips, size, epoch, skip, most):
    with tempfile.TemporaryDirectory() as name:
        shards, number = [], 0
        for index, counts in enumerate(clips):
            pair = []
            for branch, channels, dtype in (("raw", 3, np.uint8), ("flow", 2, np.int16)):
                path, begin = Path(name, f"{index}-{branch}.h5"), number
                with ShardWriter(path, branch, 1, 2) as writer:
                    for frame, count in enumerate(counts):
                        ids = np.arange(begin, begin + count)
                        cubes = np.empty((count, 1, 2, 2, channels), dtype)
                        cubes[:] = ids[:, None, None, None, None].astype(dtype)
                        magnitude = ids.astype(np.float32) if branch == "flow" else None
                        writer.add(frame, np.repeat(ids[:, None], 4, axis=1), cubes, magnitude)
                        begin += count
                pair.append(Shard(path, "`make it`"))
            frames = np.repeat(np.arange(len(counts)), counts)
            for shard in pair:
                np.testing.assert_array_equal(shard.read("frame"), frames)
            shards.append((pair[0], pair[1]))
            number = begin
        held = CubeSet(shards, max_cubes=most, seed=epoch)

        def ids_in(batches) -> list[int]:
            found = []
            for batch in batches:
                assert len(batch.boxes) <= size
                assert (batch.raw[:, 0, 0, 0, 0] == batch.boxes[:, 0].astype(np.int64) % 256).all()
                assert (batch.flow[:, 0, 0, 0, 0] == batch.boxes[:, 0]).all()
                found += batch.boxes[:, 0].astype(int).tolist()
            return found

        ordered = ids_in(held.in_order(size))
        assert len(ordered) == len(held) == (number if most is None else min(number, most))
        assert ordered == sorted(set(ordered))
        assert most is not None or ordered == list(range(number))
        mixed = ids_in(held.shuffled(size, epoch))
        assert sorted(mixed) == ordered
        assert ids_in(held.shuffled(size, epoch, skip)) == mixed[skip * size :]


# Metrics

frame_scores = st.none() | st.integers(-5, 5)  # of few values, so that ties are many; None: a frame without a box
clip_scored = st.lists(st.tuples(st.booleans(), frame_scores), min_size=1, max_size=12)


def parted(clips) -> tuple[list[np.ndarray], list[np.ndarray]]:
    labels = [np.array([label for label, _ in clip]) for clip in clips]
    return labels, [np.array([np.nan if score is None else score for _, score in clip], float) for clip in clips]


@patiently
@given(st.lists(clip_scored, min_size=1, max_size=4))
def test_auroc_counts_pairs_and_knows_order_alone(clips):
    labels, scores = parted(clips)
    ranked = rank_empty_frames_last(scores)
    pooled, value = np.concatenate(ranked), micro_auroc(labels, ranked)
    odd, usual = pooled[np.concatenate(labels)], pooled[~np.concatenate(labels)]
    if not (len(odd) and len(usual)):
        assert value is None
        return
    pairs = odd[:, None] - usual[None]
    assert value == pytest.approx(((pairs > 0) + (pairs == 0) / 2).mean())
    metrics = evaluate_frames(labels, scores)
    assert evaluate_frames(labels, [np.exp(clip) - 7 for clip in scores]) == metrics
    assert micro_auroc([~of_clip for of_clip in labels], ranked) == pytest.approx(1 - value)
    assert 0 <= equal_error_rate(np.concatenate(labels), pooled) <= 1
    assert evaluate_frames(labels[::-1], scores[::-1])["auroc"]["micro"] == pytest.approx(value)
    whole = frame_intervals(labels, scores, np.ones((1, len(labels)), int))
    for name in ("average_precision", "equal_error_rate"):
        assert whole[name].low == pytest.approx(metrics[name])
    assert whole["auroc.micro"].low == pytest.approx(value)
    for found in frame_intervals(labels, scores, clip_draws(len(labels))).values():
        assert found.low is None or -1e-9 <= found.low <= found.high <= 1 + 1e-9


@given(st.lists(st.booleans(), min_size=1, max_size=30), st.integers(0, 8))
def test_what_is_apart_has_no_label_within_reach(label, reach):
    (found,) = apart([np.array(label)], reach)
    near = [any(label[max(0, t - reach) : t + reach + 1]) for t in range(len(label))]
    assert found.tolist() == [not is_near for is_near in near]


on_places = st.tuples(st.integers(0, 4), st.integers(0, 5), st.integers(-3, 3))  # frame, place, score or track


@patiently
@given(st.lists(on_places, max_size=12), st.lists(on_places, min_size=1, max_size=8, unique_by=lambda r: r[:2]))
def test_regions_found_rise_with_what_is_right_and_fall_with_what_is_wrong(reported, truths):
    def values(rows) -> dict[str, float]:
        def boxes(of):
            return np.array([[20.0 * x, 0, 20.0 * x + 10, 10] for _, x, _ in of], float).reshape(-1, 4)

        columns = [
            (np.array([f for f, _, _ in of], int), boxes(of), np.array([n for *_, n in of])) for of in (rows, truths)
        ]
        (frame, found, scores), (region_frame, regions, track) = columns
        clip = match_clip(5, frame, found, scores.astype(float), region_frame, regions, track)
        return {k: v for k, v in evaluate_regions([clip], np.ones((1, 1), int))[0].items() if v is not None}

    before = values(reported)
    assert all(0 <= value <= 1 for value in before.values())
    assert values([(f, x, 2 * n + 1) for f, x, n in reported]) == before  # order alone
    assert values([(f, x, 9) for f, x, _ in truths]) == pytest.approx({"rbdc": 1, "tbdc": 1})
    right = values([*reported, (*truths[0][:2], 9)])
    wrong = values([*reported, (0, 99, 9)])
    for name in before:
        assert right[name] >= before[name] - 1e-12
        assert wrong[name] <= before[name] + 1e-12
    assume(reported)
    assert values(reported[::-1]) == pytest.approx(before)
