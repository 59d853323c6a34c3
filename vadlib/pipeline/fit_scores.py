"""Stage fit_scores: what the cubes that were trained on are like."""

from collections import Counter
from dataclasses import asdict

import numpy as np
import torch

from vadlib.cubes.shards import Batch, CubeSet, join, take
from vadlib.engine.engine import make_engine
from vadlib.errors import VadError
from vadlib.io.arrays import save_arrays
from vadlib.io.files import write_json
from vadlib.io.ownership import check
from vadlib.io.progress import progress
from vadlib.pipeline.places import Places
from vadlib.pipeline.scorers import scoring_networks
from vadlib.pipeline.sets import training_cubes
from vadlib.scoring.calibration import Statistics, fit_statistics
from vadlib.scoring.evidence import SAMPLE
from vadlib.scoring.perturbation import reconstruction_errors
from vadlib.scoring.scorer import Scorer, arrays_of, make_evidence
from vadlib.settings import BRANCHES, Branch, ComputeSettings, DatasetSettings


def fit_scores(places: Places, settings: DatasetSettings, compute: ComputeSettings) -> Counter[str]:
    """Mean and standard deviation of each branch's errors over the training cubes, unperturbed; and what the other
    evidence learns from an even sample of them."""
    check(places.statistics, places.evidence)
    engine = make_engine(compute)
    scorer = Scorer(settings, scoring_networks(places, settings, engine), make_evidence(engine), engine)
    cubes = training_cubes(places, BRANCHES, settings, drawn=False)
    if not len(cubes):
        raise VadError(
            f"data set {places.name}: no frame of the training clips has a box; look at the detector's settings"
        )
    statistics = fit(scorer, cubes, compute.score_batch)
    write_json(places.statistics, {branch: asdict(found) for branch, found in statistics.items()})
    save_arrays(places.evidence, arrays_of(scorer.evidence))
    return Counter(cubes=len(cubes))


def fit(scorer: Scorer, cubes: CubeSet, size: int) -> dict[Branch, Statistics]:
    """Fit a scorer's evidence on cubes, in place, and return the statistics of its networks' errors."""
    # One array from the start: many small ones, each made between two batches, keep the heap from shrinking.
    errors = {branch: np.empty(len(cubes), np.float32) for branch in scorer.networks}
    step = -(-len(cubes) // SAMPLE)
    sample: Batch | None = None
    engine, done = scorer.engine, 0
    with progress(len(cubes), "fit_scores", "cube") as bar, torch.inference_mode():
        for batch in cubes.in_order(size):
            found = reconstruction_errors(
                scorer.networks, engine.cubes(batch.raw), engine.flows(batch.flow), scorer.settings.model.p, engine
            )
            for branch in scorer.networks:
                errors[branch][done : done + len(batch.raw)] = found[branch].cpu()
            chosen = take(batch, slice(-done % step, None, step))
            sample = chosen if sample is None else join(sample, chosen)
            done += len(batch.raw)
            if len(sample.raw) and (len(sample.raw) >= size or done == len(cubes)):
                for kind in scorer.evidence.values():
                    kind.fit(sample)
                sample = None
            bar.update(len(batch.raw))
    try:
        return {branch: fit_statistics([of_branch]) for branch, of_branch in errors.items()}
    except ValueError as error:
        raise VadError(f"fitting score statistics: {error}") from None
