"""Stage `train`."""

from collections.abc import Mapping

from vadlib.commands import BranchName, DatasetName, run
from vadlib.pipeline.places import Places
from vadlib.pipeline.train import train_model
from vadlib.settings import load_dataset


def train(dataset: DatasetName, branch: BranchName) -> Mapping[str, int]:
    """Train one branch on the training cubes; a killed run goes on from its last checkpoint.

    Leaves work/<data set>/model/<branch>.safetensors and the loss curve in metrics/<data set>/.
    """
    return train_model(Places.of(dataset), branch, *load_dataset(dataset))


if __name__ == "__main__":
    run(train)
