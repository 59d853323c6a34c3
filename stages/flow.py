"""Stage `flow`."""

from collections.abc import Mapping

import environment  # noqa: F401, before all others

from vadlib.cli.commands import DatasetName, run
from vadlib.pipeline.flow import compute_flow
from vadlib.pipeline.places import Places
from vadlib.settings import load_dataset


def flow(dataset: DatasetName) -> Mapping[str, int]:
    """Compute dense optical flow of every frame to the next, in pixels per frame.

    Leaves work/<data set>/flow/<split>/<clip>.h5.
    """
    return compute_flow(Places.of(dataset), *load_dataset(dataset))


if __name__ == "__main__":
    run(flow)
