"""One model for several cameras."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

from vadlib.boxes.table import APPEARANCE, Boxes
from vadlib.cubes.shards import Batch
from vadlib.footage.stream import FootageScorer
from vadlib.scoring.scorer import Scorer
from vadlib.watch.shared import Combined, shared


def test_calls_that_wait_become_one_and_each_gets_its_own_answer():
    calls, first = [], threading.Event()

    def run(asked: list[int]) -> list[int]:
        calls.append(sorted(asked))
        if not first.is_set():
            first.set()
            time.sleep(0.5)
        return [number * number for number in asked]

    combined = Combined(run)
    with ThreadPoolExecutor(6) as pool:
        answers = [pool.submit(combined, 0)]
        first.wait()
        answers += [pool.submit(combined, number) for number in range(1, 6)]
        assert [answer.result() for answer in answers] == [0, 1, 4, 9, 16, 25]
    assert calls[0] == [0]
    assert calls[1] == [1, 2, 3, 4, 5]


def test_an_error_is_told_to_those_who_asked_and_to_nobody_after():
    def run(asked: list[int]) -> list[int]:
        if 0 in asked:
            raise ValueError("none of nothing")
        return asked

    combined = Combined(run)
    with pytest.raises(ValueError, match="none of nothing"):
        combined(0)
    assert combined(1) == 1


class Measuring(Scorer):
    def measure(self, cubes, etas, *, seen=False):
        return {eta: {"raw": cubes.raw.reshape(len(cubes.raw), -1).mean(axis=1) + eta} for eta in etas}


def test_cameras_of_different_sizes_get_their_own_boxes_and_measurements():
    def detector(clip, first, frames):
        assert len({frame.shape for frame in frames}) == 1
        return [Boxes.of([[0, 0, frame.shape[1], frame[0, 0, 0]]], APPEARANCE) for frame in frames]

    model = Measuring(SimpleNamespace(), {}, {}, None)
    both = shared(FootageScorer(model, detector, None, 4))

    def of_camera(number: int) -> tuple[np.ndarray, np.ndarray]:
        frame = np.full((8, 8 + 8 * (number % 2), 3), number, np.uint8)
        (boxes,) = both.detector(None, 0, [frame])
        raw = np.full((1 + number, 1, 2, 2, 3), number, np.uint8)
        batch = Batch(raw, np.zeros((1 + number, 1, 2, 2, 2), np.int16), np.zeros((1 + number, 4), np.float32))
        return boxes.xyxy, both.scorer.measure(batch, [0.5])[0.5]["raw"]

    with ThreadPoolExecutor(6) as pool:
        for number, (boxes, values) in enumerate(pool.map(of_camera, range(6))):
            np.testing.assert_array_equal(boxes, [[0, 0, 8 + 8 * (number % 2), number]])
            np.testing.assert_array_equal(values, np.full(1 + number, number + 0.5))
