"""Stage fit_scores: error statistics to standardise by."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict

import numpy as np
import torch
from torch import nn

from vadlib.cubes.shards import CubeSet
from vadlib.engine.engine import Engine, make_engine
from vadlib.errors import VadError
from vadlib.io.files import write_json
from vadlib.io.progress import progress
from vadlib.models.checkpoint import load_model
from vadlib.pipeline.places import Places
from vadlib.pipeline.sets import training_cubes
from vadlib.scoring.perturbation import reconstruction_errors
from vadlib.scoring.scores import Statistics, fit_statistics
from vadlib.settings import BRANCHES, Branch, ComputeSettings, DatasetSettings


def scoring_networks(
    places: Places, branches: tuple[Branch, ...], engine: Engine, settings: DatasetSettings
) -> dict[Branch, nn.Module]:
    """The trained networks of the branches in use, frozen for scoring."""
    networks = {}
    for branch in branches:
        network, model, _ = load_model(places.model(branch), branch, places.made_by(f"train_{branch}"))
        if model.p != settings.model.p:
            raise VadError(
                f"{places.model(branch)}: trained with p = {model.p:g}, params.yaml says {settings.model.p:g}; "
                f"run {places.made_by(f'train_{branch}')}"
            )
        networks[branch] = engine.for_scoring(network)
    return networks


def fit_error_statistics(places: Places, settings: DatasetSettings, compute: ComputeSettings) -> Counter[str]:
    """Mean and standard deviation of each branch's errors over all training cubes, unperturbed."""
    engine = make_engine(compute)
    networks = scoring_networks(places, BRANCHES, engine, settings)
    cubes = training_cubes(places, BRANCHES, settings, drawn=False)
    statistics = error_statistics(networks, cubes, settings.model.p, compute.score_batch, engine)
    write_json(places.statistics, {branch: asdict(found) for branch, found in statistics.items()})
    return Counter(cubes=len(cubes))


def error_statistics(
    networks: Mapping[Branch, nn.Module], cubes: CubeSet, p: float, size: int, engine: Engine
) -> dict[Branch, Statistics]:
    """The statistics of each network's errors on the cubes, in batches of `size`."""
    # One array from the start: many small ones, each made between two batches, keep the heap from shrinking.
    found = {branch: np.empty(len(cubes), np.float32) for branch in networks}
    done = 0
    with progress(len(cubes), "fit_scores", "cube") as bar, torch.inference_mode():
        for batch in cubes.in_order(size):
            errors = reconstruction_errors(networks, engine.cubes(batch.raw), engine.flows(batch.flow), p, engine)
            for branch, error in errors.items():
                found[branch][done : done + len(error)] = error.cpu()
            done += len(batch.raw)
            bar.update(len(batch.raw))
    try:
        return {branch: fit_statistics([errors]) for branch, errors in found.items()}
    except ValueError as error:
        raise VadError(f"fitting score statistics: {error}") from None
