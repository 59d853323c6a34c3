"""Comparison of architectures, branches and eta on one data set's cubes, outside of the main pipeline."""

from collections import Counter
from typing import Literal

import numpy as np
import pandas as pd

from vadlib.cubes.shards import CubeSet
from vadlib.engine.engine import make_engine
from vadlib.evaluation.frames import evaluate_frames
from vadlib.io.ownership import check, remove_own
from vadlib.io.tables import write_csv
from vadlib.pipeline.fitting import fit
from vadlib.pipeline.networks import trained_network
from vadlib.pipeline.places import Places
from vadlib.pipeline.sets import open_shard, training_cubes
from vadlib.scoring.frames import frame_scores
from vadlib.scoring.scorer import Scorer
from vadlib.settings import BRANCHES, ComputeSettings, DatasetSettings, model_settings

SWEEP = (0.0, 0.001, 0.002, 0.005, 0.01)


def compare_kind(
    places: Places,
    kind: Literal["state", "conv_ae", "convlstm_ae", "unet"],
    settings: DatasetSettings,
    compute: ComputeSettings,
) -> Counter[str]:
    """Train both branches of one architecture, and evaluate raw alone and flow alone, without perturbation and with
    the data set's eta, and both together over a sweep of eta.

    A branch alone is scored alone and perturbed by its own error alone. Leaves one CSV of AUROC and its kin.
    """
    if kind != settings.model.kind:
        model = model_settings({"kind": kind, "widths": settings.model.widths, "p": settings.model.p})
        settings = settings.model_copy(update={"model": model})
    output = places.metrics / "comparison" / f"{kind}.csv"
    check(output)
    engine = make_engine(compute)
    cubes = training_cubes(places, BRANCHES, settings, drawn=True)
    networks, unfinished = {}, []
    for branch in BRANCHES:
        of_branch = places.work / "compare" / kind / branch
        network, _, scratch = trained_network(of_branch, branch, settings, engine, cubes)
        networks[branch] = engine.for_scoring(network)
        unfinished.append(scratch)
    both = Scorer(settings, networks, {}, engine)
    statistics = fit(both, training_cubes(places, BRANCHES, settings, drawn=False), compute.score_batch)
    clips = places.load_manifest().split("testing")
    labels = [of_clip for clip in clips if (of_clip := clip.labels()) is not None]
    rows = []
    for branches in (("raw",), ("flow",), BRANCHES):
        etas = tuple(sorted({*(SWEEP if branches == BRANCHES else (0.0,)), settings.eta[0]}))
        how = settings.paper.model_copy(update={"evidence": branches, "error": "norm", "calibration": "z"})
        scorer = Scorer(settings, {b: networks[b] for b in branches}, {}, engine, statistics)
        scores: dict[float, list] = {eta: [] for eta in etas}
        for clip in clips:
            raw, flow = open_shard(places, clip, "raw"), open_shard(places, clip, "flow")
            for eta, values in scorer.measure_all(CubeSet([(raw, flow)]), etas, compute.score_batch).items():
                of_cubes = scorer.scores(how, values, eta) if values else np.empty(0)
                scores[eta].append(frame_scores(raw.read("frame"), of_cubes, clip.frames)[0])
            raw.close()
        for eta in etas:
            metrics = evaluate_frames(labels, scores[eta])
            rows.append(
                {
                    "kind": kind,
                    "branches": "both" if branches == BRANCHES else branches[0],
                    "eta": eta,
                    **metrics["auroc"],
                    "average_precision": metrics["average_precision"],
                    "equal_error_rate": metrics["equal_error_rate"],
                }
            )
    write_csv(output, pd.DataFrame(rows))
    for scratch in unfinished:
        remove_own(scratch)
    return Counter({"clips": len(clips), "results": len(rows)})
