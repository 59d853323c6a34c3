"""Stage `build`."""

from collections.abc import Mapping

from vadlib.cli.commands import BranchName, DatasetName, run
from vadlib.pipeline.build import build_cubes
from vadlib.pipeline.places import Places
from vadlib.settings import load_dataset


def build(dataset: DatasetName, branch: BranchName) -> Mapping[str, int]:
    """Cut the spatio-temporal context cubes (STCC) of one branch: every box from 2T+1 frames, resized.

    Leaves work/<data set>/cubes/<branch>/<split>/<clip>.h5.
    """
    return build_cubes(Places.of(dataset), branch, *load_dataset(dataset))


if __name__ == "__main__":
    run(build)
