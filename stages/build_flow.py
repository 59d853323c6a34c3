"""Stage `build_flow`."""

from collections.abc import Mapping

import environment  # noqa: F401, before all others

from vadlib.cli.commands import DatasetName, run
from vadlib.pipeline.build_flow import build_flow_cubes
from vadlib.pipeline.places import Places
from vadlib.settings import load_dataset


def build_flow(dataset: DatasetName) -> Mapping[str, int]:
    """Cut the cubes of optical flow: every box from 2T+1 fields, resized.

    Leaves work/<data set>/cubes/flow/<split>/<clip>.h5.
    """
    return build_flow_cubes(Places.of(dataset), *load_dataset(dataset))


if __name__ == "__main__":
    run(build_flow)
