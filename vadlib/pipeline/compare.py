"""Comparison of architectures, branches and eta on one data set's cubes, outside of the main pipeline."""

import shutil
from collections import Counter
from typing import Literal

import pandas as pd

from vadlib.cubes.shards import CubeSet
from vadlib.engine.engine import make_engine
from vadlib.evaluation.frames import evaluate_frames
from vadlib.io.tables import write_csv
from vadlib.pipeline.fit_scores import error_statistics
from vadlib.pipeline.places import Places
from vadlib.pipeline.score import clip_errors
from vadlib.pipeline.sets import training_cubes
from vadlib.pipeline.train import trained_network
from vadlib.scoring.scores import anomaly_scores, frame_scores
from vadlib.settings import BRANCHES, Compute, Dataset

SWEEP = (0.0, 0.001, 0.002, 0.005, 0.01)


def compare_kind(
    places: Places, kind: Literal["state", "conv_ae", "convlstm_ae", "unet"], settings: Dataset, compute: Compute
) -> Counter[str]:
    """Train both branches of one architecture, and evaluate raw alone and flow alone, without perturbation and with
    the data set's eta, and both together over a sweep of eta.

    A branch alone is scored alone and perturbed by its own error alone. Leaves one CSV of AUROC and its kin.
    """
    settings = settings.model_copy(update={"model": settings.model.model_copy(update={"kind": kind})})
    engine = make_engine(compute)
    cubes = training_cubes(places, BRANCHES, settings, drawn=True)
    networks, unfinished = {}, []
    for branch in BRANCHES:
        output = places.work / "compare" / kind / branch
        network, _, scratch = trained_network(output, branch, settings, engine, cubes)
        networks[branch] = engine.for_scoring(network)
        unfinished.append(scratch)
    every = training_cubes(places, BRANCHES, settings, drawn=False)
    statistics = error_statistics(networks, every, settings.model.p, compute.score_batch, engine)
    clips = places.load_manifest().split("testing")
    rows = []
    for branches in ("raw", "flow", "both"):
        etas = tuple(sorted({*(SWEEP if branches == "both" else (0.0,)), settings.eta[0]}))
        used = settings.model_copy(update={"branches": branches, "eta": etas})
        scores: dict[float, list] = {eta: [] for eta in etas}
        for clip in clips:
            raw, flow = places.shard(clip, "raw"), places.shard(clip, "flow")
            found = clip_errors(
                {b: networks[b] for b in used.weights}, CubeSet([(raw, flow)]), used, compute.score_batch, engine
            )
            for eta, errors in found.items():
                of_cubes = anomaly_scores(errors, statistics, used.weights)
                scores[eta].append(frame_scores(raw.read("frame"), of_cubes, clip.frames)[0])
            raw.close()
        for eta in etas:
            metrics = evaluate_frames([clip.labels() for clip in clips], scores[eta])
            rows.append(
                {
                    "kind": kind,
                    "branches": branches,
                    "eta": eta,
                    **metrics["auroc"],
                    "average_precision": metrics["average_precision"],
                    "equal_error_rate": metrics["equal_error_rate"],
                }
            )
    write_csv(places.metrics / "comparison" / f"{kind}.csv", pd.DataFrame(rows))
    for scratch in unfinished:
        shutil.rmtree(scratch)
    return Counter({"clips": len(clips), "results": len(rows)})
