"""A process that another one of this project began ends with it, also where that one is killed."""

import multiprocessing
import os
import threading


def end_with_parent() -> None:
    """Have this process, begun by `multiprocessing`, end once the one that began it is no more.

    One that was killed tells its children nothing: they would wait for work for ever, with all their memory, or write
    beside those of the next run.
    """
    threading.Thread(target=_wait, name="ends with its parent", daemon=True).start()


def _wait() -> None:
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
        os._exit(1)
