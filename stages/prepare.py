"""Stage `prepare`."""

from collections.abc import Mapping

import environment  # noqa: F401, before all others

from vadlib.cli.commands import DatasetName, run
from vadlib.pipeline.places import Places
from vadlib.pipeline.prepare import prepare_dataset
from vadlib.settings import load_dataset


def prepare(dataset: DatasetName) -> Mapping[str, int]:
    """Index a data set: its clips, frames, sizes and labels. The embedded data set is rendered first.

    Leaves work/<data set>/prepared/manifest.json. Frames and labels are counted and checked against the data set's
    known totals; a missing, unreadable or odd-sized frame is named.
    """
    return prepare_dataset(Places.of(dataset), *load_dataset(dataset))


if __name__ == "__main__":
    run(prepare)
