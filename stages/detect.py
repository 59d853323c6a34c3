"""Stage `detect`."""

from collections.abc import Mapping

import environment  # noqa: F401, before all others

from vadlib.cli.commands import DatasetName, run
from vadlib.pipeline.detect import detect_boxes
from vadlib.pipeline.places import Places
from vadlib.settings import load_dataset


def detect(dataset: DatasetName) -> Mapping[str, int]:
    """Find the objects of every frame: boxes by a detector, then by motion for what it missed.

    Leaves work/<data set>/boxes.parquet: clip, split, frame, box (xyxy, source pixels), score, class, source.
    """
    return detect_boxes(Places.of(dataset), *load_dataset(dataset))


if __name__ == "__main__":
    run(detect)
