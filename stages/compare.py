"""Stage `compare` of the project in experiments/."""

from collections.abc import Mapping
from typing import Annotated, Literal

import environment  # noqa: F401, before all others
import typer

from vadlib.cli.commands import DatasetName, run
from vadlib.pipeline.compare import compare_kind
from vadlib.pipeline.places import Places
from vadlib.settings import load_dataset

Kind = Annotated[Literal["state", "conv_ae", "convlstm_ae", "unet"], typer.Option(help="The architecture.")]


def compare(dataset: DatasetName, kind: Kind) -> Mapping[str, int]:
    """Train and score one architecture on a data set's cubes: each branch alone, and both over a sweep of eta.

    Leaves metrics/<data set>/comparison/<kind>.csv.
    """
    return compare_kind(Places.of(dataset), kind, *load_dataset(dataset))


if __name__ == "__main__":
    run(compare)
