"""`python -m benchmarks`: how fast, beside the plain way of doing it and this machine's own matrix-multiply rate."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated

import torch
import typer

from benchmarks import footage, networks
from benchmarks.measure import gemm_rate
from vadlib.cli.main import print_table
from vadlib.engine.engine import multiplies_bf16

ROWS = (
    "train_bf16", "train_fp32", "score_bf16", "score_fp32", "score_sweep5_bf16",
    "build", "flow", "detect", "end_to_end", "evidence",
)  # fmt: skip


def benchmarks(
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the rows here as well.")] = None,
    row: Annotated[list[str] | None, typer.Option(help=f"Only these, of: {', '.join(ROWS)}.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Alternations; each figure is their median.")] = 5,
) -> None:
    """Measure training, scoring, build, flow, detect, and the whole way from frames to frame scores.

    Rates are cubes or frames per second; `ratio` is against the plain way, timed in alternation in this process; the
    GEMM share is of the rate at which this machine multiplies square matrices of that precision, measured in this run.
    Run it with nothing else running. All rows take about a quarter of an hour on two cores. On a processor without
    bf16 instructions the rows of bf16 are empty: emulated, a cube takes minutes, and `precision: auto` never runs it.
    """
    unknown = set(row or ()) - set(ROWS)
    if unknown:
        raise typer.BadParameter(f"no row {sorted(unknown)[0]}; there are: {', '.join(ROWS)}")
    wanted = set(row or ROWS)
    native = multiplies_bf16(torch.device("cpu"))
    gemm = {"bf16": gemm_rate(torch.bfloat16) if native else None, "fp32": gemm_rate(torch.float32)}
    machine = {
        "threads": torch.get_num_threads(),
        "gemm_gflops": gemm,
        "forward_gflop_per_cube": networks.forward_gflop(),
        "torch": torch.__version__,
    }
    print(
        f"{machine['threads']} threads; square matrices: {gemm['fp32']:,.0f} GFLOP/s fp32, "
        + (f"{gemm['bf16']:,.0f} bf16; " if native else "no bf16: its rows stay empty; ")
        + f"{machine['forward_gflop_per_cube']:.2f} GFLOP forward for a cube in both branches"
    )
    rows = []
    # Footage first: a worker's peak memory counts its parent's size at the time, and networks leave much behind.
    for source in (footage.rows(wanted, rounds), networks.rows(wanted, rounds, gemm)):
        for found in source:
            rows.append(found)
            print_table([shown(found)])
    rows.sort(key=lambda found: ROWS.index(found["name"]))
    print()
    print_table([shown(found) for found in rows])
    if json_file:
        json_file.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n", encoding="utf-8")


def shown(row: Mapping[str, object]) -> dict[str, object]:
    """A row as the table has it."""

    def figure(key: str, form: str) -> str | None:
        return None if row[key] is None else format(row[key], form)

    return {
        "name": row["name"],
        "rate": "no bf16 here" if row["rate"] is None else f"{row['rate']:,.1f} {row['unit']}",
        "batch": row["batch"],
        "ratio": figure("ratio", ".2f"),
        "against": row["against"],
        "GEMM share": figure("gemm_share", ".0%"),
        "peak MB": figure("peak_mb", ",.0f"),
    }


def main(arguments: Iterable[str] | None = None) -> None:
    """The command line."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(benchmarks)
    app(args=arguments)


if __name__ == "__main__":
    main()
