"""What the cubes that were trained on are like: errors, and what the other evidence learns from an even sample."""

import numpy as np
import torch

from vadlib.cubes.shards import Batch, CubeSet, join, take
from vadlib.errors import VadError
from vadlib.io.progress import progress
from vadlib.scoring.calibration import Statistics, fit_statistics
from vadlib.scoring.evidence import SAMPLE
from vadlib.scoring.perturbation import reconstruction_errors
from vadlib.scoring.scorer import Scorer
from vadlib.settings import Branch


def fit(scorer: Scorer, cubes: CubeSet, size: int) -> dict[Branch, Statistics]:
    """Fit a scorer's evidence on cubes, in place, and return the statistics of its networks' errors."""
    # One array from the start: many small ones, each made between two batches, keep the heap from shrinking.
    errors = {branch: np.empty(len(cubes), np.float32) for branch in scorer.networks}
    step = -(-len(cubes) // SAMPLE)
    sample: Batch | None = None
    engine, done = scorer.engine, 0
    with progress(len(cubes), "fit_scores", "cube") as bar, torch.inference_mode():
        for batch in cubes.in_order(size):
            of_batch = reconstruction_errors(
                scorer.networks, engine.cubes(batch.raw), engine.flows(batch.flow), scorer.settings.model.p, engine
            )
            for branch in scorer.networks:
                errors[branch][done : done + len(batch.raw)] = of_batch[branch].cpu()
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
