"""Stage fit_scores: what the cubes that were trained on are like."""

from collections import Counter
from dataclasses import asdict

from vadlib.engine.engine import make_engine
from vadlib.errors import VadError
from vadlib.io.arrays import save_arrays
from vadlib.io.files import write_json
from vadlib.io.ownership import check
from vadlib.pipeline.fitting import fit
from vadlib.pipeline.places import Places
from vadlib.pipeline.scorers import scoring_networks
from vadlib.pipeline.sets import training_cubes
from vadlib.scoring.scorer import Scorer, arrays_of, make_evidence
from vadlib.settings import BRANCHES, ComputeSettings, DatasetSettings


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
    write_json(places.statistics, {branch: asdict(of_branch) for branch, of_branch in statistics.items()})
    save_arrays(places.evidence, arrays_of(scorer.evidence))
    return Counter(cubes=len(cubes))
