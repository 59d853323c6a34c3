"""What is said of work under way."""

import errno
import io
import sys

from vadlib.io.progress import progress


def steps(count: int, seconds: float) -> int:
    """So many steps, of so many seconds each by the bar's clock; how many the bar counted."""
    now = 0.0
    with progress(count, "train raw", "step") as bar:
        bar._time = lambda: now
        bar.start_t = bar.last_print_t = 0.0
        for _ in range(count):
            now += seconds
            bar.update()
    return bar.n


def test_without_a_terminal_there_is_a_line_a_minute(monkeypatch):
    """So that a service's log says how far a training is, and a short run says nothing."""
    told = io.StringIO()
    monkeypatch.setattr(sys, "stderr", told)
    steps(400, 0.5)
    assert told.getvalue().splitlines() == [
        "train raw: 120 of 400 steps after 01:00, 02:20 to go",
        "train raw: 240 of 400 steps after 02:00, 01:20 to go",
        "train raw: 360 of 400 steps after 03:00, 00:20 to go",
    ]


def test_on_a_terminal_there_is_a_bar(monkeypatch):
    told = io.StringIO()
    monkeypatch.setattr(told, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys, "stderr", told)
    with progress(2, "train raw", "step") as bar:
        bar.update()
    assert "train raw:  50%|" in told.getvalue()


def test_work_goes_on_where_nobody_takes_the_lines(monkeypatch):
    """A service whose log's disk is full."""

    class Full(io.StringIO):
        def write(self, text):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sys, "stderr", Full())
    assert steps(200, 1) == 200
