"""Flow on disk: one HDF5 file a clip, 16 bits a number, compressed without further loss.

Steps of 1/32 px keep every vector within 1/64 px, and bits of integers, shuffled, compress far better than
those of half floats. u and v lie in planes of their own, which takes a tenth less than interleaved. The
filter is Bitshuffle with zstd: as small as Blosc2's, faster, and, unlike Blosc2's, its bytes do not depend
on threads or the environment.
"""

import contextlib
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

import h5py
import numpy as np

from vadlib.errors import VadError
from vadlib.io.files import opened_hdf5, text_attribute, unreadable, written_hdf5
from vadlib.units import FLOW_STEPS, to_pixels, to_steps

CHUNK_BYTES = 1 << 20  # at most; a chunk is a frame, or rows of a large one
BLOCK = 1 << 16  # numbers whose bits are shuffled together; the filter's own choice takes a tenth more
UNITS = "1/32 px per frame"


class FlowWriter:
    """Writes the flow of one clip, frame by frame: `with FlowWriter(...) as out: out.append(field)`.

    The file appears, whole, when the block ends and all frames were given; the same fields give the same
    bytes. `about` are attributes that say what the flow comes from, such as the hash of the weights.
    """

    def __init__(self, path: Path, frames: int, height: int, width: int, about: Mapping[str, str] | None = None):
        self.path, self.shape, self.about = path, (frames, 2, height, width), about or {}

    def __enter__(self) -> "FlowWriter":
        import hdf5plugin

        with contextlib.ExitStack() as stack:
            file = stack.enter_context(written_hdf5(self.path))
            _, _, height, width = self.shape
            rows = min(max(CHUNK_BYTES // (2 * 2 * width), 1), height)
            self._flow = file.create_dataset(
                "flow",
                self.shape,
                np.int16,
                chunks=(1, 2, rows, width),
                track_times=False,
                **hdf5plugin.Bitshuffle(nelems=BLOCK, cname="zstd", clevel=1),
            )
            self._flow.attrs.update({"units": UNITS, "steps_per_px": FLOW_STEPS, **self.about})
            self._written, self._stack = 0, stack.pop_all()
        return self

    def append(self, field: np.ndarray) -> None:
        """The next frame's flow, (H, W, 2) in px per frame. Raises VadError where it cannot be stored."""
        frames, _, height, width = self.shape
        place = f"{self.path}: frame {self._written}"
        if field.shape != (height, width, 2):
            found = "x".join(str(side) for side in field.shape)
            raise VadError(f"{place}: expected a field of {height}x{width}x2, found {found}")
        if self._written == frames:
            raise VadError(f"{place}: the clip has only {frames} frames; index the data set again")
        self._flow[self._written] = to_steps(field, place).transpose(2, 0, 1)
        self._written += 1

    def __exit__(self, *raised) -> None:
        with self._stack:
            if raised[0] is not None:
                raise raised[1]
            if self._written != self.shape[0]:
                raise VadError(
                    f"{self.path}: the clip has {self.shape[0]} frames, but only {self._written} could be read; "
                    "nothing was written"
                )


class FlowFile:
    """The stored flow of a clip. `file[t]` is frame t's, (H, W, 2) float32 in px per frame; `len` its frames."""

    def __init__(self, path: Path, flow: h5py.Dataset, made_by: str):
        self.path, self._flow, self._made_by = path, flow, made_by
        self.height, self.width = flow.shape[2:]

    def __len__(self) -> int:
        return self._flow.shape[0]

    def __getitem__(self, frame: int) -> np.ndarray:
        if not 0 <= frame < len(self):
            raise IndexError(frame)
        try:
            self._check_chunks(frame)
            steps = self._flow[frame]
        except (OSError, RuntimeError, ValueError, TypeError) as error:
            raise unreadable(self.path, error, self._made_by, part=f"frame {frame}") from None
        return to_pixels(steps.transpose(1, 2, 0))

    def _check_chunks(self, frame: int) -> None:
        """Raises ValueError where what a frame's chunks begin with is not what was written: the filter believes it, and
        crashes."""
        _, _, rows, width = self._flow.chunks
        expected = struct.pack(">QI", 2 * rows * width * self._flow.dtype.itemsize, BLOCK * self._flow.dtype.itemsize)
        for row in range(0, self.height, rows):
            _, chunk = self._flow.id.read_direct_chunk((frame, 0, row, 0))
            if not chunk.startswith(expected):
                raise ValueError("a chunk with another beginning than was written")


@contextlib.contextmanager
def open_flow(path: Path, made_by: str) -> Iterator[FlowFile]:
    """Open a file of `FlowWriter`.

    Raises VadError, naming the command `made_by`, where there is none, or it is damaged or holds anything else.
    """
    import hdf5plugin  # noqa: F401, registers the filter

    with opened_hdf5(path, made_by) as file:
        try:
            flow = file.get("flow")
            ours = isinstance(flow, h5py.Dataset) and text_attribute(flow, "units") == UNITS and flow.ndim == 4
        except (OSError, RuntimeError, ValueError, TypeError) as error:  # what h5py raises on damaged files
            raise unreadable(path, error, made_by) from None
        if not ours:
            raise VadError(f"{path}: not a flow file of this project; make it again with {made_by}")
        yield FlowFile(path, flow, made_by)


def read_flow(path: Path, made_by: str) -> Iterator[np.ndarray]:
    """Yield the flow of every frame, (H, W, 2) float32 in px per frame. Raises VadError as `open_flow` does."""
    with open_flow(path, made_by) as file:
        for frame in range(len(file)):
            yield file[frame]
