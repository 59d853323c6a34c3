"""What the stages build_raw and build_flow share: the boxes of a clip, and a shard of cubes for each."""

from collections import Counter
from collections.abc import Callable
from contextlib import closing
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np

from vadlib.cubes.shards import Shard, ShardWriter
from vadlib.errors import VadError
from vadlib.io.files import missing
from vadlib.io.tables import read_table
from vadlib.manifest import Clip
from vadlib.pipeline.mapping import Span, Split, map_clips
from vadlib.pipeline.places import BOX, Places
from vadlib.settings import Branch, ComputeSettings, CubeSettings

Fill = Callable[[ShardWriter, Places, Clip, list[np.ndarray], CubeSettings, Span], int]
"""Put the cubes of the boxes, float32 (M, 4) of each frame, of a part of a clip into a shard, and return how many there
are. The part may be the whole clip."""


def build_cubes(
    fill: Fill,
    spans: Callable[[Clip, int], list[Span]],
    places: Places,
    branch: Branch,
    cube: CubeSettings,
    compute: ComputeSettings,
    fingerprint: str,
) -> Counter[str]:
    """The cubes of every box, one shard for each clip."""
    manifest = places.load_manifest()
    if not places.boxes.exists():
        raise missing(places.boxes, places.made_by("detect"))
    common = (fill, places, branch, cube)
    return map_clips(
        partial(_build_clip, *common),
        manifest.clips,
        places.cubes(branch),
        suffix=".h5",
        fingerprint=fingerprint,
        compute=compute,
        label=f"build {places.name} {branch}",
        split=Split(spans, partial(_build_part, *common), partial(_merge, branch, cube)),
    )


def _build_clip(
    fill: Fill, places: Places, branch: Branch, cube: CubeSettings, clip: Clip, path: Path
) -> dict[str, int]:
    boxes = boxes_of_frames(places, clip)
    with ShardWriter(path, branch, cube.length, cube.patch) as shard:
        cubes = fill(shard, places, clip, boxes, cube, Span(0, clip.frames))
    return {"clips": 1, "frames": clip.frames, "cubes": cubes}


def _build_part(
    fill: Fill, places: Places, branch: Branch, cube: CubeSettings, clip: Clip, span: Span, path: Path
) -> dict[str, int]:
    # At a clip's ends a cube's frames lie all to one side: 2T of them.
    first = max(span.first - 2 * cube.context, 0)
    read = Span(first, min(span.stop + 2 * cube.context, clip.frames), span.start)
    boxes = boxes_of_frames(places, clip)[first : read.stop]
    own = [of_frame if span.first <= frame < span.stop else of_frame[:0] for frame, of_frame in enumerate(boxes, first)]
    with ShardWriter(path, branch, cube.length, cube.patch) as shard:
        cubes = fill(shard, places, clip, own, cube, read)
    return {"frames": span.stop - span.first, "cubes": cubes}


def _merge(branch: Branch, cube: CubeSettings, clip: Clip, parts: list[Path], path: Path) -> dict[str, int]:
    """The shard of a clip, of those of its parts: frame by frame, as its own are added."""
    cubes = 0
    with ShardWriter(path, branch, cube.length, cube.patch) as shard:
        for part in parts:
            with closing(Shard(part, "the same command")) as source:
                edges = np.flatnonzero(np.diff(source.read("frame"), prepend=-1, append=clip.frames))
                for start, stop in pairwise(edges.tolist()):
                    rows = slice(start, stop)
                    magnitude = source.read("magnitude", rows) if branch == "flow" else None
                    frame = int(source.read("frame", slice(start, start + 1))[0])
                    shard.add(frame, source.read("boxes", rows), source.read("cubes", rows), magnitude)
                cubes += len(source)
    return {"clips": 1, "frames": clip.frames, "cubes": cubes}


def boxes_of_frames(places: Places, clip: Clip) -> list[np.ndarray]:
    """The boxes of each of a clip's frames, float32 (M, 4)."""
    table = read_table(places.boxes, places.made_by("detect"), split=clip.split, clip=clip.name)
    frame, boxes = table["frame"].to_numpy(), table[BOX].to_numpy(np.float32)
    if len(frame) and (frame.min() < 0 or frame.max() >= clip.frames):
        raise VadError(
            f"{places.boxes}: clip {clip.key} has boxes of frame {frame.max()}, but {clip.frames} frames; "
            f"run {places.made_by('detect')}"
        )
    edges = np.searchsorted(frame, np.arange(clip.frames + 1))
    return [boxes[start:stop] for start, stop in pairwise(edges)]
