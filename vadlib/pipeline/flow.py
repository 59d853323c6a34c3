"""Stage flow: optical flow of every frame."""

from collections import Counter
from functools import lru_cache, partial
from pathlib import Path

from vadlib.clips import Clip, read_frames
from vadlib.flow.fields import EstimateFlow, flow_of_clip
from vadlib.flow.registry import make_estimator, weights_file
from vadlib.flow.storage import FlowWriter
from vadlib.io.weights import record
from vadlib.pipeline.mapping import fingerprint, map_clips
from vadlib.pipeline.places import Places
from vadlib.settings import ComputeSettings, DatasetSettings, FlowSettings


def compute_flow(places: Places, settings: DatasetSettings, compute: ComputeSettings) -> Counter[str]:
    """Optical flow of every frame, one HDF5 file for each clip. Its attributes name the weights."""
    manifest = places.load_manifest()
    weights = record(weights_file(settings.flow, places.flow_weights))
    work = partial(_flow_clip, settings.flow, places, compute.device, weights)
    mark = fingerprint(__name__, settings.flow, places.prepared, places.data, weights)
    return map_clips(
        work,
        manifest.clips,
        places.flow,
        suffix=".h5",
        fingerprint=mark,
        workers=compute.workers,
        label=f"flow {places.name}",
    )


def _flow_clip(
    settings: FlowSettings, places: Places, device: str, weights: dict[str, str], clip: Clip, path: Path
) -> dict[str, int]:
    estimator = _estimator(settings, places, device)
    with FlowWriter(path, clip.frames, clip.height, clip.width, weights) as writer:
        for field in flow_of_clip(clip, read_frames(clip), estimator):
            writer.append(field)
    return {"clips": 1, "frames": clip.frames, "bytes": path.stat().st_size}


@lru_cache(maxsize=1)
def _estimator(settings: FlowSettings, places: Places, device: str) -> EstimateFlow:
    return make_estimator(settings, places.flow_weights, places.data, device)
