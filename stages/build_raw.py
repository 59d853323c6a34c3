"""Stage `build_raw`."""

from collections.abc import Mapping

import environment  # noqa: F401, before all others

from vadlib.cli.commands import DatasetName, run
from vadlib.pipeline.build_raw import build_raw_cubes
from vadlib.pipeline.places import Places
from vadlib.settings import load_dataset


def build_raw(dataset: DatasetName) -> Mapping[str, int]:
    """Cut the spatio-temporal context cubes (STCC) of the frames: every box from 2T+1 of them, resized.

    Leaves work/<data set>/cubes/raw/<split>/<clip>.h5.
    """
    return build_raw_cubes(Places.of(dataset), *load_dataset(dataset))


if __name__ == "__main__":
    run(build_raw)
