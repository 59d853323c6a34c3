"""Print the comparison of architectures as a Markdown table, and draw the sweep of eta.

    python scripts/comparison.py --dataset synthetic --output docs/eta_sweep.png

Reads what `dvc --cd experiments repro` leaves in metrics/<data set>/comparison/.
"""

from pathlib import Path
from typing import Annotated

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import pandas as pd
import typer

from vadlib.cli.commands import DatasetName, run
from vadlib.errors import VadError
from vadlib.pipeline.places import Places
from vadlib.settings import load_dataset

NAMES = {"state": "STATE", "conv_ae": "conv AE", "convlstm_ae": "ConvLSTM AE", "unet": "U-Net"}


def comparison(
    dataset: DatasetName, output: Annotated[Path, typer.Option(help="The PNG of the sweep to write.")]
) -> None:
    """Print the table of architectures, branches and perturbation, and draw AUROC over eta."""
    folder = Places.of(dataset).metrics / "comparison"
    files = {kind: folder / f"{kind}.csv" for kind in NAMES}
    for file in files.values():
        if not file.exists():
            raise VadError(f"{file}: not found; make it first with `dvc --cd experiments repro`")
    eta = load_dataset(dataset)[0].eta[0]
    results = (
        pd.concat([pd.read_csv(file) for file in files.values()]).set_index(["kind", "branches", "eta"]).sort_index()
    )
    print(
        "| micro AUROC | "
        + " | ".join(f"{b}, no perturbation | {b}, eta {eta:g}" for b in ("raw", "flow", "both"))
        + " |"
    )
    print("| --- " * 7 + "|")
    for kind, name in NAMES.items():
        cells = []
        for branches in ("raw", "flow", "both"):
            for value in (0.0, eta):
                cells.append(f"{100 * results.loc[(kind, branches, value), 'micro']:.2f}")
        print(f"| {name} | " + " | ".join(cells) + " |")

    figure, axes = plt.subplots(figsize=(6.4, 3.6), dpi=110, layout="constrained")
    for kind, name in NAMES.items():
        sweep = results.loc[(kind, "both"), "micro"]
        axes.plot(sweep.index, 100 * sweep, marker="o", markersize=3.5, linewidth=1.3, label=name)
    axes.set(xlabel="eta", ylabel="frame AUROC, micro, %", title=f"{dataset}: both branches")
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    axes.grid(alpha=0.25)
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output, metadata={"Software": None})


if __name__ == "__main__":
    run(comparison)
