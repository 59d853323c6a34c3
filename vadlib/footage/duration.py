"""How long `vad train` will take on this machine, before it begins: by a first look at some frames."""

import math
import time
from collections.abc import Callable
from itertools import islice
from typing import TypeVar

import numpy as np

from vadlib.boxes.detect import detect_clip
from vadlib.boxes.kinds.registry import make_detector
from vadlib.clips import read_frames
from vadlib.cubes.holdout import MOST_FRAMES
from vadlib.cubes.shards import Batch
from vadlib.engine.engine import make_engine
from vadlib.errors import VadError
from vadlib.flow.fields import flow_of_clip
from vadlib.flow.kinds.registry import make_estimator
from vadlib.footage.scene import Scene
from vadlib.manifest import Clip
from vadlib.models.registry import build_model
from vadlib.pipeline.places import Places
from vadlib.settings import BRANCHES, ComputeSettings, DatasetSettings
from vadlib.training import make_optimiser, training_step

T = TypeVar("T")

LOOKED_AT = 4  # frames together, at the beginning, the middle and the end of the longest clip,
READ = 2000  # or of as much of it as is read for that
BATCH = 16  # cubes of a step that is tried: a larger one takes no longer for each


def expected(places: Places, settings: DatasetSettings, compute: ComputeSettings, scene: Scene) -> str:
    """How long all after the first stage will take, in words; empty where it cannot be tried."""
    clips = places.load_manifest().clips
    if not clips:
        return ""
    try:
        clip = max(clips, key=lambda clip: clip.frames)
        looks = _looks(clip)
        detector = make_detector(settings.detector, places.weights, places.data, (), compute.device)
        detector(clip, 0, looks[0][:1])  # the first takes longer
        boxes, looking = _timed(
            lambda: [found for images in looks for found in detect_clip(clip, images, detector, settings.detector)]
        )
        estimator = make_estimator(settings.flow, places.weights, places.data, compute.device)
        _, flowing = _timed(lambda: [list(flow_of_clip(clip, images, estimator)) for images in looks])
        step = _step_seconds(settings, compute)
    except VadError:
        return ""  # the stage that it is for says why
    frames = sum(clip.frames for clip in clips)
    found = [len(scene.keep(of_frame, clip.width, clip.height, settings.detector).xyxy) for of_frame in boxes]
    cubes = float(np.mean(found)) * frames / scene.settings.every
    held_out = settings.training.hold_out_every
    learned = cubes * (1 - 1 / held_out if held_out else 1)
    drawn = min(learned, settings.training.max_cubes or math.inf)
    passes = 3 if any(settings.eta) else 1
    judged = min((cubes - learned) or cubes, cubes * MOST_FRAMES / frames)
    seen = (looking / scene.settings.every + flowing) * frames / len(boxes)
    trained = step * drawn * settings.training.epochs
    scored = step / 3 * (learned + passes * judged)  # forward is a third of a step
    if not cubes:
        return f"it will take at least {_lasting(seen)}; in all is not known, for no object is in the frames tried"
    return (
        f"it will take about {_lasting(seen + trained + scored)} on this machine as it is now, of which training "
        f"{_lasting(trained)}: some {cubes:,.0f} objects, {float(np.mean(found)):.1f} a frame"
    )


def _looks(clip: Clip) -> list[list[np.ndarray]]:
    """Frames of three moments: a room may be empty at first."""
    last = max(0, min(clip.frames, READ) - LOOKED_AT)
    begins = sorted({0, last // 2, last})
    frames = enumerate(islice(read_frames(clip), last + LOOKED_AT))
    kept = {number: frame for number, frame in frames if any(0 <= number - begin < LOOKED_AT for begin in begins)}
    return [[kept[begin + i] for i in range(LOOKED_AT) if begin + i in kept] for begin in begins]


def _step_seconds(settings: DatasetSettings, compute: ComputeSettings) -> float:
    """Of a training step of both branches, for each cube."""
    engine, rng = make_engine(compute), np.random.default_rng(0)
    shape = (BATCH, settings.cube.length, settings.cube.patch, settings.cube.patch)
    raw = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    batch = Batch(raw, np.zeros((*shape, 2), np.int16), np.zeros((BATCH, 4), np.float32))
    seconds = 0.0
    for branch in BRANCHES:
        network = engine.for_training(build_model(settings.model, branch, settings.cube.length))
        optimiser = make_optimiser(network, settings.training.lr, settings.training.adam_eps)

        def step() -> float:
            return training_step(network, optimiser, branch, batch, settings.model.p, engine)  # noqa: B023

        step()
        seconds += _timed(step)[1]
    return seconds / BATCH


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    begun = time.monotonic()
    return work(), time.monotonic() - begun


def _lasting(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
