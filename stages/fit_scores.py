"""Stage `fit_scores`."""

from collections.abc import Mapping

from vadlib.cli.commands import DatasetName, run
from vadlib.pipeline.fit_scores import fit_error_statistics
from vadlib.pipeline.places import Places
from vadlib.settings import load_dataset


def fit_scores(dataset: DatasetName) -> Mapping[str, int]:
    """Fit the mean and standard deviation of each branch's errors on the training cubes.

    Leaves work/<data set>/model/statistics.json.
    """
    return fit_error_statistics(Places.of(dataset), *load_dataset(dataset))


if __name__ == "__main__":
    run(fit_scores)
