"""Stage `train`."""

from collections.abc import Mapping
from pathlib import Path

import environment  # noqa: F401, before all others

from vadlib.cli.commands import BranchName, DatasetName, run
from vadlib.pipeline.places import Places
from vadlib.pipeline.train import train_model
from vadlib.settings import load_dataset


def train(dataset: DatasetName, branch: BranchName) -> Mapping[str, int]:
    """Train one branch on the training cubes; a killed run goes on from its last checkpoint.

    Leaves work/<data set>/model/<branch>.safetensors and the loss curve in metrics/<data set>/. While it runs, the
    curve grows in dvclive/<data set>/<branch>/plots/metrics/loss.tsv.
    """
    return train_model(Places.of(dataset), branch, *load_dataset(dataset), live=Path("dvclive") / dataset / branch)


if __name__ == "__main__":
    run(train)
