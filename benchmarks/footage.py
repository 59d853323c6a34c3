"""Detect, flow and build on rendered footage, as their stages run them; and all the way from frames to frame scores."""

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn

from benchmarks.literal import perturbed_scores
from benchmarks.measure import Peak, Work, alternate, workers_peak_mb
from benchmarks.networks import literal_networks, networks
from vadlib.boxes.detect import detect_clip
from vadlib.boxes.kinds.registry import make_detector
from vadlib.clips import read_frames
from vadlib.cubes.cut import cubes_of_clip
from vadlib.cubes.shards import ShardWriter
from vadlib.engine.engine import Engine, make_engine
from vadlib.flow.fields import flow_of_clip
from vadlib.flow.kinds.registry import make_estimator
from vadlib.footage.stream import FootageScorer, score_frames
from vadlib.manifest import Clip
from vadlib.pipeline.build import boxes_of_frames
from vadlib.pipeline.detect import detect_boxes
from vadlib.pipeline.flow import compute_flow
from vadlib.pipeline.places import Places
from vadlib.pipeline.prepare import prepare_dataset
from vadlib.scoring.calibration import Calibration, Statistics, fit_normal
from vadlib.scoring.evidence import SAMPLE
from vadlib.scoring.evidence.looks import FEATURES, feature_network
from vadlib.scoring.evidence.place import places as places_of
from vadlib.scoring.scorer import Scorer, make_evidence, value_names
from vadlib.settings import (
    BRANCHES,
    Branch,
    ComputeSettings,
    CubeSettings,
    DatasetSettings,
    StateSettings,
    StreetSettings,
    load_dataset,
)
from vadlib.units import to_steps

CLIPS = 4  # of each split
FRAMES = 150  # of each clip, 320x224 px
SCORED = 24  # frames that the literal way is given time for, end to end


@contextlib.contextmanager
def rendered_project() -> Iterator[tuple[Places, DatasetSettings]]:
    """A project folder with rendered footage as the current folder, and its settings."""
    settings, _ = load_dataset("synthetic")
    street = StreetSettings(training_clips=CLIPS, testing_clips=CLIPS, clip_frames=FRAMES)
    source = settings.source.model_copy(update={"street": street})
    settings = settings.model_copy(update={"source": source, "cube": CubeSettings(), "model": StateSettings()})
    weights = Path("weights").resolve()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path("weights").symlink_to(weights)
        places = Places.of("synthetic")
        prepare_dataset(places, settings, ComputeSettings())
        yield places, settings


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """OpenCV and torch of this process on one core."""
    before = cv2.getNumThreads(), torch.get_num_threads()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before[0])
        torch.set_num_threads(before[1])


def build_work(places: Places) -> Work:
    """Cubes of one clip, raw, from decoded frames to the shard on disk, on one core."""
    clip = places.load_manifest().clips[0]
    frames, boxes = list(read_frames(clip)), boxes_of_frames(places, clip)

    def build() -> int:
        cubes = 0
        with one_thread(), ShardWriter(Path("shard.h5"), "raw", CubeSettings().length, CubeSettings().patch) as shard:
            for found in cubes_of_clip(frames, boxes, CubeSettings()):
                shard.add(found.frame, found.boxes, found.cubes)
                cubes += len(found.boxes)
        return cubes

    return build


def plain_build_work(places: Places) -> Work:
    """The same cubes, each cut for itself, held as a list of float arrays, and saved as one .npy."""
    clip = places.load_manifest().clips[0]
    frames, boxes = list(read_frames(clip)), boxes_of_frames(places, clip)
    length, context, size = CubeSettings().length, CubeSettings().context, (CubeSettings().patch, CubeSettings().patch)

    def build() -> int:
        cubes = []
        with one_thread():
            for t, of_frame in enumerate(boxes):
                first = min(max(t - context, 0), len(frames) - length)
                for box in np.ceil(of_frame).astype(int):
                    x1, y1, x2, y2 = box
                    window = frames[first : first + length]
                    cubes.append(np.stack([cv2.resize(f[y1:y2, x1:x2], size) / np.float32(255) for f in window]))
            np.save("cubes.npy", np.stack(cubes))
        return len(cubes)

    return build


def untrained_scorer(settings: DatasetSettings, frozen: Mapping[Branch, nn.Module], engine: Engine) -> Scorer:
    """A scorer of `best` whose evidence knows as many objects as it may, all of noise: as fast as a trained one."""
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 150, (SAMPLE, 2)).astype(np.float32)
    boxes = np.concatenate([corners, corners + 40], axis=1)
    evidence = make_evidence(
        engine,
        {
            "looks.features": rng.random((SAMPLE, FEATURES), np.float32),
            "looks.network": np.frombuffer(bytes.fromhex(feature_network(engine)[1]), np.uint8),
            "place.places": places_of(boxes),
            "speed.seen": np.stack([boxes[:, 3], rng.random(SAMPLE)], axis=1).astype(np.float32),
            "velocity.seen": np.column_stack([boxes[:, 3], rng.normal(size=(SAMPLE, 2))]).astype(np.float32),
        },
    )
    statistics = {branch: Statistics(0.0, 1.0, 1) for branch in BRANCHES}
    scorer = Scorer(settings, frozen, evidence, engine, statistics)
    normal = fit_normal(rng.random(100))
    return replace(scorer, calibration=Calibration({settings.eta[0]: dict.fromkeys(value_names(scorer), normal)}, {}))


def first_frames(places: Places, settings: DatasetSettings) -> tuple[Clip, list[np.ndarray], FootageScorer]:
    """A clip, its first frames, and all models of the paper's sizes, loaded."""
    clip = places.load_manifest().clips[0]
    engine = make_engine(ComputeSettings())
    frozen = {branch: engine.for_scoring(network) for branch, network in networks().items()}
    scorer = FootageScorer(
        untrained_scorer(settings, frozen, engine),
        make_detector(settings.detector, places.weights, places.data, (clip,)),
        make_estimator(settings.flow, places.flow_weights, places.data),
        ComputeSettings().score_batch,
    )
    return clip, list(read_frames(clip))[:SCORED], scorer


def one_pass(scorer: FootageScorer, clip: Clip, frames: list[np.ndarray]) -> Work:
    """Frames to frame scores as `vad score` does it."""
    return lambda: sum(1 for _ in score_frames(scorer, clip, ((0.0, frame) for frame in frames)))


def end_to_end_work(places: Places, settings: DatasetSettings) -> tuple[Work, Work]:
    """A clip's first frames to frame scores at the paper's sizes, all models loaded: in one pass, and literally.

    Both have the same boxes and flow to compute; the literal way scores a frame's cubes by themselves.
    """
    clip, frames, scorer = first_frames(places, settings)
    literal = {branch: network.eval() for branch, network in literal_networks().items()}
    plain = make_engine(ComputeSettings(precision="fp32", device="cpu"))

    def literally() -> int:
        boxes = [found.xyxy for found in detect_clip(clip, frames, scorer.detector, settings.detector)]
        raw = cubes_of_clip(frames, boxes, settings.cube)
        flow = cubes_of_clip(flow_of_clip(clip, frames, scorer.estimator), boxes, settings.cube)
        for r, f in zip(raw, flow, strict=True):
            if len(r.boxes):
                cubes, flows = (x.contiguous() for x in (plain.cubes(r.cubes), plain.flows(to_steps(f.cubes, ""))))
                perturbed_scores(literal["raw"], literal["flow"], cubes, flows, settings.eta[0], settings.model.p)
        return len(frames)

    return one_pass(scorer, clip, frames), literally


def evidence_work(places: Places, settings: DatasetSettings) -> tuple[Work, Work]:
    """A clip's first frames to frame scores in one pass, all models loaded: by `best`, and by `paper`, with the same
    networks of the paper's sizes and the same perturbation."""
    clip, frames, best = first_frames(places, settings)
    by_paper = replace(best.scorer, settings=settings.model_copy(update={"best": settings.paper}), evidence={})
    return one_pass(best, clip, frames), one_pass(replace(best, scorer=by_paper), clip, frames)


def rows(wanted: set[str], rounds: int) -> Iterator[dict[str, object]]:
    """The rows of build, flow, detect and the whole way among those wanted."""
    if not wanted & {"build", "flow", "detect", "end_to_end", "evidence"}:
        return
    with rendered_project() as (places, settings):
        clips = places.load_manifest().clips
        frames = sum(clip.frames for clip in clips)
        # The largest worker so far is the row's own: each row's workers are larger than those before.
        workers = ComputeSettings(workers=os.cpu_count() or 1)
        if "flow" in wanted:
            estimator = make_estimator(settings.flow, places.flow_weights, places.data)

            def plain_flow() -> int:
                with one_thread():
                    return sum(1 for clip in clips for _ in flow_of_clip(clip, read_frames(clip), estimator))

            def flow() -> int:
                compute_flow(places, settings, workers)
                return frames

            rates = alternate([flow, plain_flow], rounds)
            yield row("flow", "frames/s", rates, workers_peak_mb(), "DIS alone, one core, nothing stored")
        if "detect" in wanted:
            detector = make_detector(settings.detector, places.weights, places.data, clips)

            def plain_detect() -> int:
                with one_thread():
                    for clip in clips:
                        for _ in detect_clip(clip, read_frames(clip), detector, settings.detector):
                            pass
                return frames

            def detect() -> int:
                detect_boxes(places, settings, workers)
                return frames

            rates = alternate([detect, plain_detect], rounds)
            yield row("detect", "frames/s", rates, workers_peak_mb(), "YOLO and motion, one core, nothing stored")
        if "build" in wanted:
            if not places.boxes.exists():
                detect_boxes(places, settings, workers)
            work = build_work(places)
            with Peak() as peak:
                work()
            yield row("build", "cubes/s/core", alternate([work, plain_build_work(places)], rounds), peak.mb,
                      "a list of float cubes, .npy")  # fmt: skip
        if "end_to_end" in wanted:
            passing, literally = end_to_end_work(places, settings)
            with Peak() as peak:
                passing()
            yield row("end_to_end", "frames/s", alternate([passing, literally], rounds), peak.mb, "literal, by frame")
        if "evidence" in wanted:
            best, paper = evidence_work(places, settings)
            with Peak() as peak:
                best()
            yield row("evidence", "frames/s", alternate([best, paper], rounds), peak.mb, "the same by `paper`")


def row(name: str, unit: str, rates: list[list[float]], peak_mb: float | None, against: str) -> dict[str, object]:
    """A row of two sides' rates, the product first."""
    return {
        "name": name,
        "rate": float(np.median(rates[0])),
        "unit": unit,
        "batch": None,
        "ratio": float(np.median([a / b for a, b in zip(*rates, strict=True)])),
        "against": against,
        "gemm_share": None,
        "peak_mb": peak_mb,
    }
