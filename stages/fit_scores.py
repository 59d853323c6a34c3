"""Stage `fit_scores`."""

from collections.abc import Mapping

import environment  # noqa: F401, before all others

from vadlib.cli.commands import DatasetName, run
from vadlib.pipeline.fit_scores import fit_scores as fit_to_training
from vadlib.pipeline.places import Places
from vadlib.settings import load_dataset


def fit_scores(dataset: DatasetName) -> Mapping[str, int]:
    """Fit the mean and standard deviation of each branch's errors, and the other evidence, on the training cubes.

    Leaves statistics.json and evidence.safetensors in work/<data set>/model/.
    """
    return fit_to_training(Places.of(dataset), *load_dataset(dataset))


if __name__ == "__main__":
    run(fit_scores)
