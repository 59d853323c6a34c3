"""How things are measured: this machine's matrix-multiply rate, two sides in alternation, and peak memory."""

import ctypes
import platform
import re
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch

BATCHES = (8, 16, 32, 64, 128)

Work = Callable[[], int]
"""Do something once and return how many cubes or frames it was."""


def gemm_rate(dtype: torch.dtype, sizes: Sequence[int] = (1024, 2048, 4096), rounds: int = 9) -> float:
    """The machine's matrix-multiply rate, GFLOP/s: square matrices, the median of `rounds`, the best of `sizes`."""
    rates = []
    for size in sizes:
        a, b = torch.randn(2, size, size).to(dtype)
        for _ in range(2):
            a @ b
        seconds = [_seconds(lambda a=a, b=b: a @ b) for _ in range(rounds)]
        rates.append(2 * size**3 / median(seconds) / 1e9)
    return max(rates)


def rate(work: Work) -> float:
    """What `work` does in a second, once."""
    start = time.perf_counter()
    done = work()
    return done / (time.perf_counter() - start)


def alternate(sides: Sequence[Work], rounds: int) -> list[list[float]]:
    """Each side's rates, the sides taking turns, so that whatever else slows the machine slows all."""
    rates: list[list[float]] = [[] for _ in sides]
    for work in sides:
        work()  # caches and allocators warm
    for _ in range(rounds):
        for side, work in enumerate(sides):
            rates[side].append(rate(work))
    return rates


def best_batch(make: Callable[[int], Work], batches: Sequence[int] = BATCHES) -> tuple[int, Work]:
    """The batch size at which the work that `make` gives is fastest, and that work. One batch is in memory at a time.

    The better of two runs counts: the first also warms what the second uses.
    """
    rates = {}
    for batch in batches:
        work = make(batch)
        rates[batch] = max(rate(work), rate(work))
        del work
    fastest = max(rates, key=rates.__getitem__)
    return fastest, make(fastest)


@dataclass
class Peak:
    """Peak resident memory of this process, MB, over a block: `with Peak() as peak: ...; peak.mb`. Linux only.

    What earlier blocks freed and the C library kept is given back first.
    """

    mb: float | None = None

    def __enter__(self) -> "Peak":
        if sys.platform == "linux":
            if platform.libc_ver()[0] == "glibc":
                ctypes.CDLL(None).malloc_trim(0)
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # VmHWM starts anew
        return self

    def __exit__(self, *_: object) -> None:
        if sys.platform == "linux":
            status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
            self.mb = int(re.search(r"VmHWM:\s*(\d+) kB", status)[1]) / 1024


def workers_peak_mb() -> float:
    """Peak memory of the largest worker process that has ended so far, MB."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
