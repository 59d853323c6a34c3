"""Which cubes a stage works on: those trained on, those held out, all of a clip."""

from collections.abc import Iterator
from contextlib import closing

import numpy as np

from vadlib.clips import Clip
from vadlib.cubes.holdout import Piece, cut_footage
from vadlib.cubes.shards import BLOCK, CubeSet, Shard
from vadlib.pipeline.places import Places
from vadlib.settings import Branch, DatasetSettings


def open_shard(places: Places, clip: Clip, branch: Branch) -> Shard:
    """A clip's cubes of one branch."""
    return Shard(places.cubes(branch) / clip.split / f"{clip.name}.h5", places.made_by(f"build_{branch}"))


def footage_pieces(places: Places, settings: DatasetSettings) -> list[Piece]:
    """The training footage in pieces, some of them held out; `clip` counts the training clips."""
    clips = places.load_manifest().split("training")
    return cut_footage([clip.frames for clip in clips], settings.training.hold_out_every, 2 * settings.cube.context)


def training_cubes(places: Places, branches: tuple[Branch, ...], settings: DatasetSettings, *, drawn: bool) -> CubeSet:
    """The cubes of the footage that is not held out: of them all, or those `drawn` to be trained on."""
    clips = places.load_manifest().split("training")
    shards = [
        (open_shard(places, c, "raw"), open_shard(places, c, "flow") if "flow" in branches else None) for c in clips
    ]
    training = settings.training
    kept = [piece for piece in footage_pieces(places, settings) if not piece.held_out]
    blocks: list[tuple[int, int, int]] = []
    for piece in kept:
        with closing(shards[piece.clip][0]) as shard:
            blocks += _blocks(piece, shard.read("frame"))
    return CubeSet(shards, max_cubes=training.max_cubes if drawn else None, seed=training.seed, blocks=blocks)


def piece_cubes(places: Places, piece: Piece) -> tuple[CubeSet, np.ndarray, np.ndarray]:
    """A piece's cubes of both branches, and the frame, int32 (N,), and the box, float32 (N, 4), of each."""
    clip = places.load_manifest().split("training")[piece.clip]
    raw, flow = open_shard(places, clip, "raw"), open_shard(places, clip, "flow")
    frame = raw.read("frame")
    blocks = [(0, start, stop) for _, start, stop in _blocks(piece, frame)]
    rows = slice(*np.searchsorted(frame, (piece.first, piece.stop)).tolist())
    boxes = raw.read("boxes", rows)
    raw.close()
    return CubeSet([(raw, flow)], blocks=blocks), frame[rows], boxes


def _blocks(piece: Piece, frame: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """A piece's cubes as rows of its clip's shard, cut where the shard's chunks are."""
    first, stop = np.searchsorted(frame, (piece.first, piece.stop)).tolist()
    for start in range(first - first % BLOCK, stop, BLOCK):
        yield piece.clip, max(start, first), min(start + BLOCK, stop)
