"""Stage build: cubes of one branch."""

from collections import Counter
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np

from vadlib.clips import Clip, read_frames
from vadlib.cubes.cut import cubes_of_clip, mean_flow_magnitude
from vadlib.cubes.shards import ShardWriter
from vadlib.errors import VadError
from vadlib.flow.storage import read_flow
from vadlib.io.files import missing
from vadlib.io.tables import read_table
from vadlib.pipeline.mapping import fingerprint, map_clips
from vadlib.pipeline.places import BOX, Places
from vadlib.settings import Branch, ComputeSettings, CubeSettings, DatasetSettings
from vadlib.units import to_steps


def build_cubes(places: Places, branch: Branch, settings: DatasetSettings, compute: ComputeSettings) -> Counter[str]:
    """The cubes of every box, one shard for each clip: cut from the frames (raw) or from their flow (flow)."""
    manifest = places.load_manifest()
    if not places.boxes.exists():
        raise missing(places.boxes, places.made_by("detect"))
    if branch == "flow" and not places.flow.exists():
        raise missing(places.flow, places.made_by("flow"))
    work = partial(_build_clip, settings.cube, branch, places)
    inputs = [places.data] if branch == "raw" else [places.flow]
    mark = fingerprint(settings.cube, branch, places.prepared, places.boxes, *inputs)
    return map_clips(
        work,
        manifest.clips,
        places.cubes(branch),
        suffix=".h5",
        fingerprint=mark,
        workers=compute.workers,
        label=f"build {places.name} {branch}",
    )


def _build_clip(cube: CubeSettings, branch: Branch, places: Places, clip: Clip, path: Path) -> dict[str, int]:
    boxes = boxes_of_frames(places, clip)
    cubes = 0
    with ShardWriter(path, branch, cube.length, cube.patch) as shard:
        if branch == "raw":
            for found in cubes_of_clip(read_frames(clip), boxes, cube):
                shard.add(found.frame, found.boxes, found.cubes)
                cubes += len(found.boxes)
        else:
            magnitudes: dict[int, np.ndarray] = {}
            fields = _measured(read_flow(places.flow / f"{clip.key}.h5", places.made_by("flow")), boxes, magnitudes)
            for found in cubes_of_clip(fields, boxes, cube):
                steps = to_steps(found.cubes, f"clip {clip.key}: frame {found.frame}")
                shard.add(found.frame, found.boxes, steps, magnitudes.pop(found.frame))
                cubes += len(found.boxes)
    return {"clips": 1, "frames": clip.frames, "cubes": cubes}


def _measured(
    fields: Iterator[np.ndarray], boxes: list[np.ndarray], magnitudes: dict[int, np.ndarray]
) -> Iterator[np.ndarray]:
    """Pass flow fields on, noting the mean flow in each frame's boxes on the way: a field is decoded once."""
    for frame, field in enumerate(fields):
        magnitudes[frame] = mean_flow_magnitude(field, boxes[frame])
        yield field


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
