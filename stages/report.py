"""Stage `report`."""

from collections.abc import Mapping
from pathlib import Path

import environment  # noqa: F401, before all others

from vadlib.cli.commands import DatasetName, run
from vadlib.pipeline.places import Places
from vadlib.pipeline.report import report_scores
from vadlib.settings import load_dataset


def report(dataset: DatasetName) -> Mapping[str, int]:
    """Show the scores: curves, the highest peaks with what the networks made of them, and the metrics, if labelled.

    Leaves reports/<data set>.html, one page that works from disk.

    `dvc repro report@<data set>` evaluates first, which needs labels. Without them: `dvc repro score@<data set>`, then
    this script itself.
    """
    return report_scores(Places.of(dataset), *load_dataset(dataset), Path("reports") / f"{dataset}.html")


if __name__ == "__main__":
    run(report)
