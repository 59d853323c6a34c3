"""The console script `vad`, also `python -m vadlib`: what is not a stage of the pipeline."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import typer

from vadlib.commands import friendly
from vadlib.settings import Branch, Params, load_dataset, reference

app = typer.Typer(
    help="Video anomaly detection by object-level reconstruction. The pipeline itself is run by `dvc repro`.",
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
)


def import_checkpoint(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint in the layout the authors of STATE publish.")],
    output: Annotated[Path, typer.Argument(help="The safetensors file to write.")],
    branch: Annotated[Branch, typer.Option(help="The branch to read; a checkpoint holds both.")],
    head_input: Annotated[
        Literal["slice", "all"], typer.Option(help="Heads as the authors' (slice), or as the paper's (all).")
    ] = "slice",
    positional: Annotated[
        Literal["shared", "stack"], typer.Option(help="Encoding as the authors' (shared), or the paper's (stack).")
    ] = "shared",
) -> Mapping[str, int]:
    """Turn one branch of an authors' checkpoint into this project's safetensors. Both settings hold it exactly."""
    from vadlib.checkpoint import read_authors_checkpoint, save_model

    network, model, length = read_authors_checkpoint(checkpoint, branch, head_input=head_input, positional=positional)
    save_model(output, network, model, branch, length)
    return {"layers": model.layers, "heads": model.heads, "parameters": sum(p.numel() for p in network.parameters())}


def check_data(
    dataset: Annotated[str, typer.Argument(help="A data set that params.yaml describes.")],
) -> None:
    """Show what of a data set is there and what is missing, with its counts against the known totals."""
    from vadlib.datasets import check_data as check
    from vadlib.pipeline.places import Places

    settings, _ = load_dataset(dataset)
    rows = check(dataset, settings.source, Places.of(dataset).data, Path())
    print_table(rows)


def fetch(
    dataset: Annotated[str, typer.Argument(help="ped1, ped2, avenue or shanghaitech.")],
    folder: Annotated[Path | None, typer.Option(help="Where to put it; data/<data set> if not given.")] = None,
) -> None:
    """Download a benchmark from its official page: resumed where it stopped, checked, safely unpacked."""
    from vadlib.datasets.fetch import fetch as download

    download(dataset, folder or Path("data") / dataset)


def settings() -> None:
    """Print every setting of params.yaml with its default and meaning, as a Markdown table."""
    print(reference(Params))


def print_table(rows: list[dict[str, object]]) -> None:
    """Print rows under their column names, each column as wide as its widest cell."""
    cells = [list(rows[0]), *([("-" if v is None else str(v)) for v in row.values()] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    for row in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


for function in (import_checkpoint, check_data, fetch, settings):
    app.command(name=function.__name__.replace("_", "-"), help=function.__doc__)(friendly(function))


def main() -> None:
    """Entry point of the console script."""
    app()
