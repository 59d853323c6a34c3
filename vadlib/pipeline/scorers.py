"""What the stages that score load: the trained networks, the fitted evidence, the statistics, the calibration."""

from dataclasses import replace

from torch import nn

from vadlib.engine.engine import Engine
from vadlib.errors import VadError
from vadlib.io.arrays import load_arrays
from vadlib.io.files import read_json
from vadlib.models.checkpoint import load_model
from vadlib.pipeline.places import Places
from vadlib.scoring.kept import calibration_from, check_calibrated, statistics_from
from vadlib.scoring.scorer import Calibration, Scorer, make_evidence
from vadlib.settings import Branch, DatasetSettings


def scoring_networks(places: Places, settings: DatasetSettings, engine: Engine) -> dict[Branch, nn.Module]:
    """The trained networks of the branches in use, frozen for scoring."""
    networks = {}
    for branch in settings.branches:
        network, model, _ = load_model(places.model(branch), branch, places.made_by(f"train_{branch}"))
        if model.p != settings.model.p:
            raise VadError(
                f"{places.model(branch)}: trained with p = {model.p:g}, params.yaml says {settings.model.p:g}; "
                f"run {places.made_by(f'train_{branch}')}"
            )
        networks[branch] = engine.for_scoring(network)
    return networks


def fitted_scorer(places: Places, settings: DatasetSettings, engine: Engine) -> Scorer:
    """The scorer that stage `fit_scores` leaves: everything but the calibration."""
    made_by = places.made_by("fit_scores")
    statistics = statistics_from(read_json(places.statistics, made_by), settings.branches, places.statistics, made_by)
    evidence = make_evidence(engine, load_arrays(places.evidence, made_by), places.evidence)
    return Scorer(settings, scoring_networks(places, settings, engine), evidence, engine, statistics)


def calibrated_scorer(places: Places, settings: DatasetSettings, engine: Engine) -> Scorer:
    """The whole scorer, with the calibration that stage `calibrate` leaves."""
    calibration = load_calibration(places)
    check_calibrated(calibration, settings, settings.eta, places.calibration, places.made_by("calibrate"))
    return replace(fitted_scorer(places, settings, engine), calibration=calibration)


def load_calibration(places: Places) -> Calibration:
    made_by = places.made_by("calibrate")
    return calibration_from(read_json(places.calibration, made_by), places.calibration, made_by)
