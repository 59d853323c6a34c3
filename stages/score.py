"""Stage `score`."""

from collections.abc import Mapping

import environment  # noqa: F401, before all others

from vadlib.cli.commands import DatasetName, run
from vadlib.pipeline.places import Places
from vadlib.pipeline.score import score_clips
from vadlib.settings import load_dataset


def score(dataset: DatasetName) -> Mapping[str, int]:
    """Score every test frame by its perturbed, standardised, weighted errors, for each eta in the settings.

    Leaves work/<data set>/scores/eta_<eta>/{cubes,frames}.parquet.
    """
    return score_clips(Places.of(dataset), *load_dataset(dataset))


if __name__ == "__main__":
    run(score)
