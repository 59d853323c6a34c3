"""Stage `calibrate`."""

from collections.abc import Mapping

import environment  # noqa: F401, before all others

from vadlib.cli.commands import DatasetName, run
from vadlib.pipeline.calibrate import calibrate as calibrate_scores
from vadlib.pipeline.places import Places
from vadlib.settings import load_dataset


def calibrate(dataset: DatasetName) -> Mapping[str, int]:
    """Learn what is normal of each measurement from the footage held out of training, and set the thresholds.

    Leaves work/<data set>/model/calibration.json.
    """
    return calibrate_scores(Places.of(dataset), *load_dataset(dataset))


if __name__ == "__main__":
    run(calibrate)
