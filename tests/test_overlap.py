"""Frames read by a thread while those before them are scored: the same items, order, errors and end."""

import threading
import time

import pytest

from vadlib.footage.overlap import overlapped


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "overlapped"]


def test_items_come_in_order_and_the_thread_ends():
    assert list(overlapped(range(100), 3)) == list(range(100))
    assert list(overlapped([], 1)) == []
    assert threads() == []


def test_an_error_comes_after_the_items_before_it():
    def source():
        yield from "ab"
        raise OSError("cut")

    found = []
    with pytest.raises(OSError, match="cut"):
        found.extend(overlapped(source(), 8))
    assert found == ["a", "b"]
    assert threads() == []


def test_no_more_are_taken_than_are_wanted_soon():
    taken = []

    def source():
        for number in range(100):
            taken.append(number)
            yield number

    items = overlapped(source(), 3)
    assert next(items) == 0
    time.sleep(0.2)
    assert len(taken) <= 5  # one given, three ready, one in hand
    items.close()
    assert threads() == []
    assert len(taken) <= 9


def test_the_next_item_is_worked_on_while_one_is_in_use():
    """Each half waits for the other to be at work: one after the other they would wait for good."""
    working, using = threading.Event(), threading.Event()

    def source():
        yield 0
        working.set()
        assert using.wait(10)
        yield 1

    items = overlapped(source(), 1)
    assert next(items) == 0
    assert working.wait(10)
    using.set()
    assert list(items) == [1]


def test_a_source_that_is_left_while_it_waits_for_a_frame_is_not_waited_for_long(monkeypatch):
    monkeypatch.setattr("vadlib.footage.overlap._PATIENCE", 0.1)
    more = threading.Event()

    def source():
        yield 0
        more.wait()

    items = overlapped(source(), 1)
    next(items)
    began = time.monotonic()
    items.close()
    assert time.monotonic() - began < 5
    more.set()
    for thread in threads():
        thread.join(10)
    assert threads() == []
