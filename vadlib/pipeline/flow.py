"""Stage flow: optical flow of every frame."""

from collections import Counter
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path

from vadlib.clips import read_frames
from vadlib.flow.fields import EstimateFlow, flow_of_clip
from vadlib.flow.kinds.registry import make_estimator, weights_file
from vadlib.flow.storage import FlowWriter, open_flow
from vadlib.io.weights import record
from vadlib.manifest import Clip
from vadlib.pipeline.mapping import Span, Split, fingerprint, map_clips
from vadlib.pipeline.parts import frames_of_part, spans_of_footage
from vadlib.pipeline.places import Places
from vadlib.settings import ComputeSettings, DatasetSettings, FlowSettings


def compute_flow(places: Places, settings: DatasetSettings, compute: ComputeSettings) -> Counter[str]:
    """Optical flow of every frame, one HDF5 file for each clip. Its attributes name the weights."""
    manifest = places.load_manifest()
    weights = record(weights_file(settings.flow, places.flow_weights))
    common = (settings.flow, places, compute.device, weights)
    split = Split(spans_of_footage, partial(_flow_part, *common), partial(_merge, weights))
    mark = fingerprint(__name__, settings.flow, places.prepared, places.data, weights)
    return map_clips(
        partial(_flow_clip, *common),
        manifest.clips,
        places.flow,
        suffix=".h5",
        fingerprint=mark,
        compute=compute,
        label=f"flow {places.name}",
        split=None if settings.flow.kind == "import" else split,  # whose files are counted from the first
    )


def _flow_clip(
    settings: FlowSettings, places: Places, device: str, weights: dict[str, str], clip: Clip, path: Path
) -> dict[str, int]:
    estimator = _estimator(settings, places, device)
    with FlowWriter(path, clip.frames, clip.height, clip.width, weights) as writer:
        for field in flow_of_clip(clip, read_frames(clip), estimator):
            writer.append(field)
    return {"clips": 1, "frames": clip.frames, "bytes": path.stat().st_size}


def _flow_part(
    settings: FlowSettings, places: Places, device: str, weights: dict[str, str], clip: Clip, span: Span, path: Path
) -> dict[str, int]:
    estimator, frames = _estimator(settings, places, device), span.stop - span.first
    stop = min(span.stop + 1, clip.frames)  # the flow of a frame is that to the next
    with FlowWriter(path, frames, clip.height, clip.width, weights) as writer:
        for field in islice(flow_of_clip(clip, frames_of_part(clip, span, span.first, stop), estimator), frames):
            writer.append(field)
    return {"frames": frames}


def _merge(weights: dict[str, str], clip: Clip, parts: list[Path], path: Path) -> dict[str, int]:
    """The flow of a clip, of that of its parts."""
    with FlowWriter(path, clip.frames, clip.height, clip.width, weights) as writer:
        for part in parts:
            with open_flow(part, "the same command") as file:
                writer.append_all(file)
    return {"clips": 1, "frames": clip.frames, "bytes": path.stat().st_size}


@lru_cache(maxsize=1)
def _estimator(settings: FlowSettings, places: Places, device: str) -> EstimateFlow:
    return make_estimator(settings, places.flow_weights, places.data, device)
