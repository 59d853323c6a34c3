"""Stage package: a trained model as one folder."""

import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from torch import nn

from vadlib.cubes.shards import CubeSet, Shard
from vadlib.engine.engine import Engine, make_engine
from vadlib.errors import VadError
from vadlib.io.files import read_json
from vadlib.pipeline.fit_scores import scoring_networks
from vadlib.pipeline.mapping import fingerprint, publish, scratch_folder
from vadlib.pipeline.places import Places
from vadlib.pipeline.score import clip_errors
from vadlib.pipeline.sets import open_shard
from vadlib.scoring.model_folder import Threshold, write_package
from vadlib.scoring.scores import Statistics, anomaly_scores, frame_scores
from vadlib.settings import BRANCHES, Branch, ComputeSettings, DatasetSettings

MOST_FRAMES = 500
"""Training frames that the threshold is a quantile of: enough for the 0.99, and scored in a minute or so."""


def package_model(places: Places, output: Path, settings: DatasetSettings, compute: ComputeSettings) -> Counter[str]:
    """The model folder, with the threshold that normal training footage gives."""
    engine = make_engine(compute)
    networks = scoring_networks(places, tuple(settings.weights), engine, settings)
    fitted = read_json(places.statistics, places.made_by("fit_scores"))
    statistics = {branch: Statistics(**fitted[branch]) for branch in networks}
    scores = training_scores(places, networks, statistics, settings, compute, engine)
    value, median = (float(np.quantile(scores, q)) for q in (settings.threshold_quantile, 0.5))
    threshold = Threshold(value, median, settings.threshold_quantile, settings.eta[0], len(scores))
    models = {branch: places.model(branch) for branch in BRANCHES}
    scratch = scratch_folder(output, fingerprint(__name__, settings, places.statistics, *models.values()))
    made = scratch / "made"
    shutil.rmtree(made)  # of a kill
    write_package(made, settings, models, places.statistics, threshold, places.weights, places.flow_weights)
    publish(made, output)
    shutil.rmtree(scratch)
    return Counter({"training frames scored": len(scores)})


def training_scores(
    places: Places,
    networks: Mapping[Branch, nn.Module],
    statistics: Mapping[Branch, Statistics],
    settings: DatasetSettings,
    compute: ComputeSettings,
    engine: Engine,
) -> np.ndarray:
    """Scores of at most MOST_FRAMES training frames that have boxes, evenly spaced over the footage: float64 (n,).

    All cubes of a frame are scored, perturbed with the headline's eta, as test frames are: a quantile of these scores
    and the score of a test frame are of one kind. Raises VadError where no training frame has a box.
    """
    clips = places.load_manifest().split("training")
    shards = [(open_shard(places, clip, "raw"), open_shard(places, clip, "flow")) for clip in clips]
    frames = np.concatenate([_rows_of_frames(index, raw) for index, (raw, _) in enumerate(shards)])
    if not len(frames):
        raise VadError(f"{places.cubes('raw')}: no training frame has a box, so there is no threshold")
    chosen = frames[np.unique(np.linspace(0, len(frames) - 1, min(len(frames), MOST_FRAMES)).round().astype(int))]
    cubes = CubeSet(shards, blocks=[tuple(block) for block in chosen.tolist()])
    headline = settings.model_copy(update={"eta": settings.eta[:1]})
    (errors,) = clip_errors(networks, cubes, headline, compute.score_batch, engine).values()
    scores = anomaly_scores(errors, statistics, settings.weights)
    frame_of_cube = np.repeat(np.arange(len(chosen)), chosen[:, 2] - chosen[:, 1])
    return frame_scores(frame_of_cube, scores, len(chosen))[0]


def _rows_of_frames(clip: int, shard: Shard) -> np.ndarray:
    """Of each frame with boxes the clip's index and its cubes' rows, from and to: int64 (n, 3)."""
    frame = shard.read("frame")
    shard.close()
    starts = np.flatnonzero(np.diff(frame, prepend=-1))
    stops = np.append(starts[1:], len(frame))[: len(starts)]
    return np.stack([np.full(len(starts), clip), starts, stops], axis=1)
