"""A bounded queue between a camera and its pass, and n."""

import numpy as np

from vadlib.watch.intake import FEWEST_FRAMES, MOST_EVERY, MOST_FRAMES, Every, Intake, levels
from vadlib.watch.sources import Captured, Cut


def frame(number: int, side: int = 8) -> Captured:
    return Captured(np.zeros((side, side, 3), np.uint8), number / 25, number / 25)


def pieces(intake: Intake) -> list[list[int]]:
    return [[round(item.stream_time * 25) for item in piece] for piece in intake.pieces()]


def test_frames_come_in_pieces_between_cuts():
    intake = Intake()
    for item in (frame(0), frame(1), Cut("x"), Cut("y"), frame(2), None):
        intake.put(item)
    assert pieces(intake) == [[0, 1], [2]]


def test_a_full_queue_leaves_out_a_run_and_cuts_there():
    intake = Intake()
    for number in range(MOST_FRAMES + 30):
        intake.put(frame(number))
    assert (intake.fill, intake.left_out) == (1, 30)
    piece = next(iter(intake.pieces()))
    for _ in range(MOST_FRAMES // 2):
        next(piece)
    intake.put(frame(500))
    intake.put(frame(501))
    intake.put(None)
    rest = [round(item.stream_time * 25) for item in piece]
    assert rest == list(range(MOST_FRAMES // 2, MOST_FRAMES))
    assert pieces(intake) == [[500, 501]]


def test_large_frames_wait_in_smaller_numbers():
    intake = Intake()
    for number in range(MOST_FRAMES):
        intake.put(frame(number, 2000))
    assert intake.taken_in == FEWEST_FRAMES


def test_less_is_looked_at_where_frames_wait_and_more_slower_each_time_it_was_too_early():
    now, fill = 0.0, 0.0
    every = Every(lambda: fill, lambda: now)
    assert [every.wanted() for _ in range(5)] == [True] * 5

    def run(seconds: float) -> list[bool]:
        nonlocal now
        found = []
        for _ in range(round(seconds * 25)):
            now += 1 / 25
            found.append(every.wanted())
        return found

    def level() -> tuple[int, int]:
        return every.n, every.k

    fill = 0.5
    run(0.8)
    fill = 0.0  # it was a burst
    run(0.2)
    assert level() == (1, 1)
    fill = 0.5
    run(1.2)
    assert level() == (1, 2)
    run(1.2)
    assert level() == (1, 3)
    run(60)
    assert level() == (MOST_EVERY, 2)
    looked_at = run(12)
    assert looked_at[:MOST_EVERY].count(True) == 1
    fill = 0.0
    run(9)
    assert level() == (MOST_EVERY, 2)
    run(2)
    assert level() == (MOST_EVERY, 1)
    fill = 0.5  # too early
    run(2)
    assert level() == (MOST_EVERY, 2)
    fill = 0.0
    run(15)
    assert level() == (MOST_EVERY, 2)
    run(6)
    assert level() == (MOST_EVERY, 1)


def test_a_queue_that_is_nearly_full_is_hurried():
    now = 0.0
    every = Every(lambda: 0.9, lambda: now)
    for _ in range(30):
        now += 1 / 25
        every.wanted()
    assert every.n >= 3


def test_each_step_down_is_less_work_and_another_model_begins_no_higher():
    for least in range(1, MOST_EVERY + 1):
        detector, networks = zip(*((1 / n, 1 / (n * k)) for n, k in levels(least)), strict=True)
        work = [2 * a + 3 * b for a, b in zip(detector, networks, strict=True)]
        assert work == sorted(work, reverse=True)
        assert levels(least)[0] == (least, 1)
        assert levels(least)[-1][0] == MOST_EVERY
    now = 0.0
    every = Every(lambda: 0.5, lambda: now)
    for _ in range(100):
        now += 1 / 25
        every.wanted()
    before = every.n, every.k
    assert before > (1, 2)
    every.at_least(1)
    assert (every.n, every.k) == before
    every.at_least(5)
    assert (every.n, every.k) == (5, 1)
