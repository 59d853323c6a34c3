"""The C library's memory: what a training step frees is kept for the next one."""

import ctypes
import functools
import platform


@functools.cache
def keep_freed_memory() -> None:
    """Have the C library keep what a training step frees for the next one, for the whole process. glibc only.

    Its default gives large tensors back to the kernel, which hands them out again as zeroed pages, one fault each:
    a fifth of a training step in float32. No number depends on it; memory does not grow past its peak. And threads
    share two heaps: with one for each, eight times as many as cores, every one keeps what its busiest thread freed, and
    `vad watch`, whose recordings are threads, took 28 MiB more with one event in twenty.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    c_library = ctypes.CDLL(None)
    mmap_max, trim_threshold, arena_max = -4, -1, -8  # M_MMAP_MAX, M_TRIM_THRESHOLD and M_ARENA_MAX of malloc.h
    c_library.mallopt(mmap_max, 0)
    c_library.mallopt(trim_threshold, 2**31 - 1)
    c_library.mallopt(arena_max, 2)
