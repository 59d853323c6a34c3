"""Stage build_raw: cubes of the frames."""

from collections import Counter

import numpy as np

from vadlib.clips import Clip, read_frames
from vadlib.cubes.cut import cubes_of_clip
from vadlib.cubes.shards import ShardWriter
from vadlib.pipeline.build import build_cubes
from vadlib.pipeline.mapping import fingerprint
from vadlib.pipeline.places import Places
from vadlib.settings import ComputeSettings, CubeSettings, DatasetSettings


def build_raw_cubes(places: Places, settings: DatasetSettings, compute: ComputeSettings) -> Counter[str]:
    """The cubes of every box, cut from the frames, one shard for each clip."""
    mark = fingerprint(__name__, settings.cube, places.prepared, places.boxes, places.data)
    return build_cubes(_fill, places, "raw", settings.cube, compute, mark)


def _fill(shard: ShardWriter, places: Places, clip: Clip, boxes: list[np.ndarray], cube: CubeSettings) -> int:
    cubes = 0
    for found in cubes_of_clip(read_frames(clip), boxes, cube):
        shard.add(found.frame, found.boxes, found.cubes)
        cubes += len(found.boxes)
    return cubes
