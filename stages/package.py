"""Stage `package`."""

from collections.abc import Mapping
from pathlib import Path

import environment  # noqa: F401, before all others

from vadlib.cli.commands import DatasetName, run
from vadlib.pipeline.package import package_model
from vadlib.pipeline.places import Places
from vadlib.settings import load_dataset


def package(dataset: DatasetName) -> Mapping[str, int]:
    """Put a trained model into one folder that can be copied: networks, statistics, settings, threshold, weights.

    Leaves models/<data set>/, which `vad score VIDEO --model models/<data set>` takes.
    """
    return package_model(Places.of(dataset), Path("models") / dataset, *load_dataset(dataset))


if __name__ == "__main__":
    run(package)
