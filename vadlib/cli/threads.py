"""How the threads of C libraries behave: they ask the environment when they are loaded, so it is said before."""

import os

NUMBERS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENCV_FOR_THREADS_NUM")


def wait_asleep() -> None:
    """Have threads of OpenMP that wait for work sleep, unless the environment says otherwise.

    By default they spin: beside other work each takes a processor from whoever has something to do.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def use_threads(count: int) -> None:
    """Have this process and those it starts use so many threads for an operation of a network, or on a picture."""
    os.environ.update(dict.fromkeys(NUMBERS, str(count)))
