"""Stage score: perturbed scores of the testing clips."""

from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from torch import nn

from vadlib.clips import Clip
from vadlib.cubes.shards import Batch, CubeSet
from vadlib.engine.engine import Engine, make_engine
from vadlib.io.files import read_json
from vadlib.io.tables import read_table, write_table
from vadlib.pipeline.fit_scores import scoring_networks
from vadlib.pipeline.mapping import fingerprint, map_clips, publish
from vadlib.pipeline.places import BOX, Places
from vadlib.scoring.perturbation import perturbed_errors
from vadlib.scoring.scores import Statistics, anomaly_scores, frame_scores
from vadlib.settings import Branch, Compute, Dataset


def score_clips(places: Places, settings: Dataset, compute: Compute) -> Counter[str]:
    """Perturbed scores of the testing clips, a table of cubes and one of frames for each eta."""

    engine = make_engine(compute)
    clips = places.load_manifest().split("testing")
    branches = tuple(settings.weights)
    networks = scoring_networks(places, branches, engine, settings)
    fitted = read_json(places.statistics, places.made_by("fit_scores"))
    statistics = {branch: Statistics(**fitted[branch]) for branch in branches}
    identity = {
        "eta": settings.eta,
        "loss": settings.perturbation_loss,
        "weights": settings.weights,
        "p": settings.model.p,
    }
    files = [
        places.statistics,
        *(places.model(b) for b in branches),
        places.cubes("raw"),
        places.cubes("flow"),
    ]
    work = partial(_score_clip, settings, compute.score_batch, places, engine, networks, statistics)
    return map_clips(
        work,
        clips,
        places.scores,
        suffix=".parquet",
        fingerprint=fingerprint(identity, str(engine), *files),
        workers=1,
        label=f"score {places.name}",
        finish=partial(_tables_of_etas, places, clips, settings.eta),
    )


def _tables_of_etas(places: Places, clips: tuple[Clip, ...], etas: tuple[float, ...], made: Path, output: Path) -> None:
    tables = made.with_name("tables")
    for eta in etas:
        for table, make in (("cubes", _cubes_of), ("frames", _frames_of)):
            path = tables / places.scores_of(eta, table).relative_to(places.scores)
            write_table(path, (make(made / f"{clip.key}.parquet", clip, eta) for clip in clips))
    publish(tables, output)


def _score_clip(
    settings: Dataset,
    size: int,
    places: Places,
    engine: Engine,
    networks: Mapping[Branch, nn.Module],
    statistics: Mapping[Branch, Statistics],
    clip: Clip,
    path: Path,
) -> dict[str, int]:

    raw, flow = places.shard(clip, "raw"), places.shard(clip, "flow")
    errors = clip_errors(networks, CubeSet([(raw, flow)]), settings, size, engine)
    boxes = pd.DataFrame(raw.read("boxes"), columns=BOX)
    boxes.insert(0, "frame", raw.read("frame"))
    boxes["magnitude"] = flow.read("magnitude")
    raw.close()
    flow.close()
    parts = []
    for eta, of_branch in errors.items():
        part = boxes.assign(eta=eta)
        for branch, values in of_branch.items():
            part[f"{branch}_error"] = values
        part["score"] = anomaly_scores(of_branch, statistics, settings.weights)
        parts.append(part)
    write_table(path, parts)
    return {"clips": 1, "frames": clip.frames, "cubes": len(boxes)}


def clip_errors(
    networks: Mapping[Branch, nn.Module], cubes: CubeSet, settings: Dataset, size: int, engine: Engine
) -> dict[float, dict[Branch, np.ndarray]]:
    """S_r and S_m of every cube in order, float32 (N,), perturbed with each eta, in batches of `size`."""
    # One array from the start: many small ones, each made between two batches, keep the heap from shrinking.
    errors = {eta: {branch: np.empty(len(cubes), np.float32) for branch in networks} for eta in settings.eta}
    done = 0
    for batch in cubes.in_order(size):
        for eta, of_branch in batch_errors(networks, batch, settings, engine).items():
            for branch, error in of_branch.items():
                errors[eta][branch][done : done + len(error)] = error
        done += len(batch.raw)
    return errors


def batch_errors(
    networks: Mapping[Branch, nn.Module], batch: Batch, settings: Dataset, engine: Engine
) -> dict[float, dict[Branch, np.ndarray]]:
    """S_r and S_m of a batch's cubes, float32 (B,), perturbed with each eta."""
    found = perturbed_errors(
        networks, engine.cubes(batch.raw), engine.flows(batch.flow), settings.eta,
        settings.model.p, settings.perturbation_loss, engine,
    )  # fmt: skip
    return {eta: {b: error.cpu().numpy() for b, error in of_branch.items()} for eta, of_branch in found.items()}


def _cubes_of(part: Path, clip: Clip, eta: float) -> pd.DataFrame:
    table = read_table(part, "the same command", eta=eta).drop(columns="eta")
    table.insert(0, "clip", clip.name)
    return table


def _frames_of(part: Path, clip: Clip, eta: float) -> pd.DataFrame:

    table = _cubes_of(part, clip, eta)
    frame = table["frame"].to_numpy()
    scores, cubes = frame_scores(frame, table["score"].to_numpy(), clip.frames)
    floor, _ = frame_scores(frame, table["magnitude"].to_numpy(), clip.frames)
    return pd.DataFrame(
        {
            "clip": clip.name,
            "frame": np.arange(clip.frames, dtype=np.int32),
            "score": scores,
            "boxes": cubes,
            "floor": floor,
        }
    )
