"""Two halves of one pass at a time: frames are read and worked on by a thread while those before them are scored."""

import queue
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")

_PATIENCE = 5.0  # seconds for the thread to finish an item that nobody wants; a camera may not send one for longer


class _Over:
    """What comes after the last item."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def overlapped(source: Iterable[T], most: int) -> Iterator[T]:
    """The items of `source`, taken from it in a thread, at most so many before they are wanted.

    The order is the source's, and so is what it raises, after the items before it. Where the iterator is left early
    the thread ends after the item that it is at.
    """
    items: queue.Queue[T | _Over] = queue.Queue(most)
    unwanted = threading.Event()

    def take() -> None:
        error = None
        try:
            for item in source:
                items.put(item)
                del item  # a frame, which this thread needs no longer
                if unwanted.is_set():
                    return
        except BaseException as raised:
            error = raised
        items.put(_Over(error))

    thread = threading.Thread(target=take, name="overlapped", daemon=True)
    thread.start()
    try:
        while not isinstance(item := items.get(), _Over):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        unwanted.set()
        with suppress(queue.Empty):
            while True:
                items.get_nowait()  # so that the thread has room for its last
        thread.join(_PATIENCE)
