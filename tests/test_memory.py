"""The C library's memory, as commands have it."""

import os
import platform
import subprocess
import sys

import pytest

HEAPS = """
import ctypes, sys, threading
from vadlib.cli.memory import keep_freed_memory

if sys.argv[1] == "kept":
    keep_freed_memory()
library, together = ctypes.CDLL(None), threading.Barrier(9)
library.malloc.restype, library.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]

def allocate():
    together.wait()
    taken = [library.malloc(10_000) for _ in range(100)]
    together.wait()
    for place in taken:
        library.free(place)

threads = [threading.Thread(target=allocate) for _ in range(8)]
for thread in threads:
    thread.start()
together.wait()
together.wait()
for thread in threads:
    thread.join()
library.fopen.restype, library.malloc_info.argtypes = ctypes.c_void_p, [ctypes.c_int, ctypes.c_void_p]
out = library.fopen(b"/dev/stdout", b"w")
library.malloc_info(0, out)
library.fflush(None)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_threads_share_two_heaps():
    def heaps(how: str) -> int:
        others = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"}
        done = subprocess.run(
            [sys.executable, "-c", HEAPS, how], capture_output=True, text=True, check=True, env=others
        )
        return done.stdout.count("<heap nr=")

    assert heaps("kept") <= 2
    assert heaps("as it is") > 2  # else this says nothing
