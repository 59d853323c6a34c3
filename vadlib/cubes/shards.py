"""Cubes on disk: one HDF5 shard for each clip and branch, read back in blocks.

A shard holds `cubes` (N, L, patch, patch, C), `frame` int32 (N,) and `boxes` float32 (N, 4), ordered by frame; flow
shards also `magnitude` float32 (N,), the mean flow in each box. Raw cubes are uint8 RGB. Flow cubes are int16 in
steps of 1/32 px per frame, the steps flow is stored in.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import h5py
import numpy as np

from vadlib.errors import VadError
from vadlib.io.files import opened_hdf5, text_attribute, unreadable, written_hdf5
from vadlib.settings import Branch
from vadlib.units import CHANNELS

DTYPES: dict[Branch, type] = {"raw": np.uint8, "flow": np.int16}
T = TypeVar("T")
_DAMAGE = (OSError, KeyError, ValueError, TypeError, RuntimeError)  # what h5py raises on damaged files
BLOCK = 32  # cubes in an HDF5 chunk: the unit that is read and shuffled


class ShardWriter(AbstractContextManager["ShardWriter"]):
    """Write one clip's cubes of one branch, a few at a time; the file appears when the block ends well."""

    def __init__(self, path: Path, branch: Branch, length: int, patch: int) -> None:
        self._branch = branch
        self._writing = written_hdf5(path)
        self._shape = (length, patch, patch, CHANNELS[branch])
        self._pending: list[tuple[np.ndarray, ...]] = []
        self._count = 0
        self._digest = hashlib.sha256()
        self._names = ("frame", "boxes", "cubes") + (("magnitude",) if branch == "flow" else ())

    def __enter__(self) -> "ShardWriter":
        self._file = self._writing.__enter__()
        for name in self._names:
            shape, dtype = {
                "cubes": (self._shape, DTYPES[self._branch]),
                "boxes": ((4,), np.float32),
                "frame": ((), np.int32),
                "magnitude": ((), np.float32),
            }[name]
            chunk = BLOCK if name == "cubes" else 1024
            self._file.create_dataset(name, (0, *shape), dtype, maxshape=(None, *shape), chunks=(chunk, *shape))
        return self

    def add(self, frame: int, boxes: np.ndarray, cubes: np.ndarray, magnitude: np.ndarray | None = None) -> None:
        """Append a frame's M cubes, (M, L, patch, patch, C) of the branch's dtype, with their boxes (M, 4)."""
        if cubes.shape[1:] != self._shape or cubes.dtype != DTYPES[self._branch]:
            raise ValueError(
                f"expected cubes (M, {self._shape}) of {DTYPES[self._branch].__name__}, "
                f"got {cubes.shape} of {cubes.dtype}"
            )
        if not len(boxes):
            return
        rows = (np.full(len(boxes), frame, np.int32), boxes.astype(np.float32), cubes)
        self._pending.append(rows if magnitude is None else (*rows, magnitude.astype(np.float32)))
        if sum(len(rows[0]) for rows in self._pending) >= BLOCK:
            self._flush()

    def _flush(self) -> None:
        if not self._pending:
            return
        for name, parts in zip(self._names, zip(*self._pending, strict=True), strict=True):
            rows = np.concatenate(parts)
            self._digest.update(np.ascontiguousarray(rows).data)
            dataset = self._file[name]
            dataset.resize(self._count + len(rows), axis=0)
            dataset[self._count :] = rows
        self._count += len(rows)
        self._pending.clear()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        try:
            if error is None:
                self._flush()
                # What resumed training checks its data by, without reading it all again.
                self._file.attrs["sha256"] = self._digest.hexdigest()
        except BaseException as late:
            self._writing.__exit__(type(late), late, late.__traceback__)
            raise
        return self._writing.__exit__(kind, error, trace)


class Shard:
    """One clip's cubes of one branch. The file is opened by the first read, so that a shard can go to a worker."""

    def __init__(self, path: Path, made_by: str) -> None:
        self.path = path
        self._made_by = made_by
        self._file: h5py.File | None = None

    def _open(self) -> h5py.File:
        if self._file is None:
            file = opened_hdf5(self.path, self._made_by)
            try:
                whole = text_attribute(file, "sha256") is not None
                rows = {name: len(file[name]) for name in file}
            except _DAMAGE as error:
                file.close()
                raise unreadable(self.path, error, self._made_by) from None
            if not whole:
                file.close()
                raise VadError(f"{self.path}: not a whole cube shard (no digest); make it again with {self._made_by}")
            if len(set(rows.values())) > 1:
                file.close()
                raise VadError(
                    f"{self.path}: damaged (rows of its columns: {rows}); make it again with {self._made_by}"
                )
            self._file = file
        return self._file

    def _of(self, get: Callable[[h5py.File], T]) -> T:
        file = self._open()
        try:
            return get(file)
        except _DAMAGE as error:
            raise unreadable(self.path, error, self._made_by) from None

    def __len__(self) -> int:
        return self._of(lambda file: len(file["frame"]))

    @property
    def digest(self) -> str:
        """SHA-256 of the shard's rows."""
        return self._of(lambda file: str(text_attribute(file, "sha256")))

    def read(self, name: str, rows: slice = slice(None)) -> np.ndarray:
        """Rows of `cubes`, `frame`, `boxes` or `magnitude`. Raises VadError where the file is damaged."""
        return self._of(lambda file: file[name][rows])

    def close(self) -> None:
        """Close the file; the next read opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None


@dataclass(frozen=True)
class Batch:
    """Cubes of both branches, row by row of the same box."""

    raw: np.ndarray  # uint8 (B, L, patch, patch, 3), RGB
    kept_flow: np.ndarray | None  # `flow`; None where only raw was asked for
    boxes: np.ndarray  # float32 (B, 4), xyxy in source pixels

    @property
    def flow(self) -> np.ndarray:
        """int16 (B, L, patch, patch, 2), 1/32 px per frame. Raises ValueError where only raw was asked for."""
        if self.kept_flow is None:
            raise ValueError("cubes without flow")
        return self.kept_flow


class CubeSet:
    """The cubes of many clips, in order or shuffled, never more than a few hundred MB of them in memory.

    Args:
        clips: for each clip its raw shard and its flow shard (None: raw alone).
        max_cubes: take at most this many, in whole blocks drawn evenly over the clips by `seed`; None: all.
        seed: of the draw and of every epoch's order.
        blocks: take these rows alone, each (index of the clip, first row, one past the last); None: all.
    """

    # 32 blocks of 32 cubes are 50 MB of both branches at the paper's sizes. Blocks are drawn from the whole set
    # before they are pooled, and rows are shuffled inside a pool: a batch mixes about as many clips as chance would.
    POOL = 32

    def __init__(
        self,
        clips: Sequence[tuple[Shard, Shard | None]],
        *,
        max_cubes: int | None = None,
        seed: int = 0,
        blocks: Sequence[tuple[int, int, int]] | None = None,
    ) -> None:
        self._clips = list(clips)
        every: list[tuple[int, int, int]] = []
        for index, (raw, flow) in enumerate(self._clips):
            count = len(raw)
            if flow is not None and not np.array_equal(raw.read("boxes"), flow.read("boxes")):
                raise VadError(
                    f"{raw.path} and {flow.path} hold cubes of different boxes ({count} and {len(flow)}); "
                    "run `dvc repro`"
                )
            every += [(index, start, min(start + BLOCK, count)) for start in range(0, count, BLOCK)]
            self._close(index)
        self._seed = seed
        blocks = every if blocks is None else list(blocks)
        if max_cubes is not None:
            order = np.random.default_rng([seed, 0xC0BE]).permutation(len(blocks))
            taken, total = [], 0
            for block in (blocks[i] for i in order):
                if total >= max_cubes:
                    break
                index, start, stop = block
                taken.append((index, start, min(stop, start + max_cubes - total)))
                total += taken[-1][2] - start
            blocks = sorted(taken)
        self._blocks = blocks

    def _close(self, clip: int) -> None:
        for shard in self._clips[clip]:
            if shard is not None:
                shard.close()

    def __len__(self) -> int:
        return sum(stop - start for _, start, stop in self._blocks)

    @property
    def digest(self) -> str:
        """SHA-256 over the digests of the shards and the rows taken: what a resumed training must find again."""
        digest = hashlib.sha256(repr((self._seed, self._blocks)).encode())
        for raw, flow in self._clips:
            for shard in (raw, flow):
                digest.update((shard.digest if shard else "-").encode())
                if shard:
                    shard.close()
        return digest.hexdigest()

    def in_order(self, size: int) -> Iterator[Batch]:
        """Every cube once, clip by clip, in batches of `size` (the last may be smaller)."""
        yield from self._batches(list(range(len(self._blocks))), size, None)

    def shuffled(self, size: int, epoch: int, skip: int = 0) -> Iterator[Batch]:
        """Every cube once, in an order that depends on the seed and `epoch` alone, without the first `skip` batches."""
        rng = np.random.default_rng([self._seed, epoch])
        yield from self._batches([int(i) for i in rng.permutation(len(self._blocks))], size, rng, skip)

    def _batches(self, order: list[int], size: int, rng: np.random.Generator | None, skip: int = 0) -> Iterator[Batch]:
        left_out = skip * size
        held: Batch | None = None
        for first in range(0, len(order), self.POOL):
            blocks = [self._blocks[i] for i in order[first : first + self.POOL]]
            count = sum(stop - start for _, start, stop in blocks)
            rows = np.arange(count) if rng is None else rng.permutation(count)  # drawn even if skipped: same order
            if left_out >= count:  # behind the resume point: not even read
                left_out -= count
                continue
            pool = take(self._read(blocks, rows), slice(left_out, None))
            left_out = 0
            held = pool if held is None else join(held, pool)
            while len(held.raw) >= size:
                yield take(held, slice(None, size))
                held = take(held, slice(size, None))
        if held is not None and len(held.raw):
            yield held

    def _read(self, blocks: list[tuple[int, int, int]], rows: np.ndarray) -> Batch:
        """The blocks' cubes, read in the order they lie on disk, then put into the order of `rows`."""
        count = sum(stop - start for _, start, stop in blocks)
        offsets = np.cumsum([0] + [stop - start for _, start, stop in blocks])
        columns: dict[str, np.ndarray] = {}
        before = None
        for position in sorted(range(len(blocks)), key=blocks.__getitem__):
            index, start, stop = blocks[position]
            if before is not None and before != index:
                self._close(before)  # files of one clip are open at a time, however many clips there are
            before = index
            raw_shard, flow_shard = self._clips[index]
            parts = {name: (raw_shard, raw_shard.read(name, slice(start, stop))) for name in ("cubes", "boxes")}
            if flow_shard is not None:
                parts["flow"] = flow_shard, flow_shard.read("cubes", slice(start, stop))
            for name, (shard, part) in parts.items():
                whole = columns.setdefault(name, np.empty((count, *part.shape[1:]), part.dtype))
                if part.shape[1:] != whole.shape[1:] or part.dtype != whole.dtype:
                    raise VadError(
                        f"{shard.path}: holds {part.dtype} {part.shape[1:]}, others {whole.dtype} {whole.shape[1:]}; "
                        "make them all again: run `dvc repro`"
                    )
                whole[offsets[position] : offsets[position + 1]] = part
        if before is not None:
            self._close(before)
        return take(Batch(columns["cubes"], columns.get("flow"), columns["boxes"]), rows)


def take(batch: Batch, rows: slice | np.ndarray) -> Batch:
    """Some of a batch's cubes."""
    flow = None if batch.kept_flow is None else batch.kept_flow[rows]
    return Batch(batch.raw[rows], flow, batch.boxes[rows])


def join(a: Batch, b: Batch) -> Batch:
    """The cubes of one batch, then those of another."""
    if not len(a.raw):
        return b
    return Batch(
        np.concatenate([a.raw, b.raw]),
        None if a.kept_flow is None else np.concatenate([a.kept_flow, b.flow]),
        np.concatenate([a.boxes, b.boxes]),
    )
