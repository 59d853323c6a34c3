"""Stage build_flow: cubes of the optical flow."""

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from vadlib.cubes.cut import cubes_of_clip, mean_flow_magnitude
from vadlib.cubes.shards import ShardWriter
from vadlib.flow.storage import open_flow
from vadlib.io.files import missing
from vadlib.manifest import Clip
from vadlib.pipeline.build import build_cubes
from vadlib.pipeline.mapping import Span, fingerprint
from vadlib.pipeline.places import Places
from vadlib.settings import ComputeSettings, CubeSettings, DatasetSettings
from vadlib.units import to_steps


def build_flow_cubes(places: Places, settings: DatasetSettings, compute: ComputeSettings) -> Counter[str]:
    """The cubes of every box, cut from the flow, one shard for each clip, with the mean flow in each box."""
    if not places.flow.exists():
        raise missing(places.flow, places.made_by("flow"))
    mark = fingerprint(__name__, settings.cube, places.prepared, places.boxes, places.flow)
    return build_cubes(_fill, _spans, places, "flow", settings.cube, compute, mark)


def _spans(clip: Clip, window: int) -> list[Span]:
    """Parts of a clip's frames, `window` long, the last one up to half a window longer or shorter."""
    edges = [*range(0, max(clip.frames - window // 2, 1), window), clip.frames]
    return [Span(a, b) for a, b in pairwise(edges)]


def _fill(
    shard: ShardWriter, places: Places, clip: Clip, boxes: list[np.ndarray], cube: CubeSettings, read: Span
) -> int:
    cubes = 0
    magnitudes: dict[int, np.ndarray] = {}
    with open_flow(places.flow / f"{clip.key}.h5", places.made_by("flow")) as file:
        # Of a whole clip all that is there, so that fields that are too many are told.
        numbers = range(read.first, read.stop) if read.stop < clip.frames else range(read.first, len(file))
        fields = _measured((file[number] for number in numbers), boxes, magnitudes)
        for new in cubes_of_clip(fields, boxes, cube):
            steps = to_steps(new.cubes, f"clip {clip.key}: frame {read.first + new.frame}")
            shard.add(read.first + new.frame, new.boxes, steps, magnitudes.pop(new.frame))
            cubes += len(new.boxes)
    return cubes


def _measured(
    fields: Iterator[np.ndarray], boxes: list[np.ndarray], magnitudes: dict[int, np.ndarray]
) -> Iterator[np.ndarray]:
    """Pass flow fields on, noting the mean flow in each frame's boxes on the way: a field is decoded once."""
    for frame, field in enumerate(fields):
        magnitudes[frame] = mean_flow_magnitude(field, boxes[frame])
        yield field
