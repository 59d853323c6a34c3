"""Draw a test clip's frame scores with some of its frames: the README's picture.

    python scripts/picture.py --dataset synthetic --clip 01 --output docs/synthetic.png

Reads what `dvc repro evaluate@synthetic` leaves.
"""

from itertools import islice
from pathlib import Path
from typing import Annotated

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import typer
from matplotlib.patches import Rectangle

from vadlib.cli.commands import DatasetName, run
from vadlib.clips import read_frames
from vadlib.errors import VadError
from vadlib.io.tables import read_table
from vadlib.pipeline.places import BOX, Places
from vadlib.settings import load_dataset


def picture(
    dataset: DatasetName,
    clip: Annotated[str, typer.Option(help="A testing clip.")],
    output: Annotated[Path, typer.Option(help="The PNG to write.")],
    shown: Annotated[int, typer.Option(help="How many frames to show.")] = 4,
) -> None:
    """Draw a test clip's frame scores, its labelled spans, and its boxes on some of its frames."""
    places = Places.of(dataset)
    settings, _ = load_dataset(dataset)
    found = next((c for c in places.load_manifest().split("testing") if c.name == clip), None)
    if found is None:
        raise VadError(f"{places.manifest}: no testing clip {clip!r}")
    eta = settings.eta[0]
    frames = read_table(places.scores_of(eta, "frames"), places.made_by("score"), clip=clip)
    cubes = read_table(places.scores_of(eta, "cubes"), places.made_by("score"), clip=clip)
    score = frames["best"].to_numpy()
    spans = found.anomalous or ()
    # One frame before the first anomaly, then the highest score of each labelled span.
    numbers = [max(0, (spans[0][0] if spans else 20) // 2)]
    numbers += [start + int(np.nanargmax(score[start:stop])) for start, stop in spans]
    rest = (n for n in np.linspace(0, found.frames - 1, shown).astype(int) if n not in numbers)
    numbers = sorted(int(n) for n in [*numbers, *islice(rest, max(0, shown - len(numbers)))])[:shown]

    figure = plt.figure(figsize=(10, 3.8), dpi=110, layout="constrained")
    grid = figure.add_gridspec(2, shown, height_ratios=[1.15, 1])
    colours = plt.get_cmap("turbo")
    low, high = np.arcsinh([np.nanmin(score), np.nanmax(score)])
    for number, image in enumerate(read_frames(found)):
        if number not in numbers:
            continue
        axes = figure.add_subplot(grid[0, numbers.index(number)])
        axes.imshow(image)
        axes.set_title(f"frame {number}", fontsize=9)
        axes.axis("off")
        for box in cubes[cubes["frame"] == number].itertuples():
            x1, y1, x2, y2 = (getattr(box, edge) for edge in BOX)
            colour = colours(np.clip((np.arcsinh(box.best) - low) / (high - low), 0.05, 0.95))
            axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=colour, linewidth=1.6))
    axes = figure.add_subplot(grid[1, :])
    axes.plot(np.arange(found.frames), score, color="#1f3b57", linewidth=1.3, label="anomaly score")
    for index, (start, stop) in enumerate(spans):
        axes.axvspan(
            start, stop, color="#e4572e", alpha=0.2, linewidth=0, label="labelled anomalous" if not index else None
        )
    for number in numbers:
        axes.axvline(number, color="grey", linewidth=0.7, linestyle=":")
    # What is usual and what is ten times as strange have to be seen at once.
    axes.set_yscale("asinh", linear_width=10)
    ticks = [tick for tick in (0, 3, 10, 30, 100, 300) if tick < 1.15 * np.nanmax(score)]
    axes.set_yticks(ticks, labels=[str(tick) for tick in ticks])
    axes.set_yticks([], minor=True)
    axes.set_ylim(float(np.nanmin(score)) - 3, float(np.nanmax(score)) * 1.15)
    axes.set(xlim=(0, found.frames - 1), xlabel="frame", ylabel="anomaly score")
    axes.legend(loc="upper left", fontsize=8, frameon=False)
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output, metadata={"Software": None})


if __name__ == "__main__":
    run(picture)
