"""Stage `evaluate`."""

from collections.abc import Mapping

import environment  # noqa: F401, before all others

from vadlib.cli.commands import DatasetName, run
from vadlib.pipeline.evaluate import evaluate_scores
from vadlib.pipeline.places import Places
from vadlib.settings import load_dataset


def evaluate(dataset: DatasetName) -> Mapping[str, int]:
    """Compare frame scores with the labels: AUROC and its kin, with the untrained floor beside them.

    Leaves metrics/<data set>/metrics.json and the tables of its plots.
    """
    return evaluate_scores(Places.of(dataset), load_dataset(dataset)[0])


if __name__ == "__main__":
    run(evaluate)
