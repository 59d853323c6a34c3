"""Draw the figures of docs/how-it-works.md from the embedded data set's artefacts, one for each stage.

    python scripts/figures.py

Reads what `dvc repro evaluate@synthetic` leaves. One clip is followed through all stages: an animal walks through it,
then something is thrown.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import cv2
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import typer
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle
from PIL import Image
from sklearn.metrics import roc_curve

from vadlib.boxes.motion import blurred_grey
from vadlib.boxes.table import MOTION
from vadlib.cli.commands import run
from vadlib.clips import Clip, read_frames
from vadlib.cubes.cut import window
from vadlib.engine.engine import Engine, make_engine
from vadlib.evaluation.frames import auroc, micro_auroc, rank_empty_frames_last
from vadlib.flow.storage import open_flow
from vadlib.io.files import missing, read_json
from vadlib.io.tables import read_table
from vadlib.pipeline.places import BOX, Places
from vadlib.pipeline.scorers import scoring_networks
from vadlib.pipeline.sets import open_shard, training_cubes
from vadlib.report.inspection import CubeView, inspect_cubes
from vadlib.report.pictures import flow_picture, flow_wheel, map_picture, patch_picture, perturbation_picture
from vadlib.scoring.perturbation import reconstruction_errors
from vadlib.settings import BRANCHES, ComputeSettings, DatasetSettings, load_dataset
from vadlib.units import FLOW_STEPS

DATASET = "synthetic"
CLIP = "03"  # the testing clip that is followed
SAMPLE = 1024  # training cubes whose errors are drawn
MOST_BYTES = 150_000  # of a figure

# Okabe and Ito's colours, which people with any kind of colour vision can tell apart.
INK, GREY, PALE = "#26323c", "#7b8790", "#e9edf0"
BLUE, GREEN, ORANGE = "#0072b2", "#009e73", "#d55e00"
RAW, FLOW, NORMAL, ANOMALOUS = BLUE, GREEN, GREY, ORANGE

STYLE = {
    "figure.dpi": 110,
    "figure.constrained_layout.use": True,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
}
WIDTH = 9.0  # inches


@dataclass(frozen=True)
class Story:
    """The clip that is followed, and three of its cubes."""

    places: Places
    settings: DatasetSettings
    clip: Clip
    cubes: pd.DataFrame  # all of the clip's
    frames: pd.DataFrame
    shown: dict[str, pd.Series]  # a normal cube, and the worst of each labelled span

    @property
    def moment(self) -> int:
        """The frame that shows two of the cubes."""
        return int(self.shown["thrown"]["frame"])

    def picture(self, number: int) -> np.ndarray:
        return next(frame for index, frame in enumerate(read_frames(self.clip)) if index == number)


def figures(
    output: Annotated[Path, typer.Option(help="The folder the figures go to.")] = Path("docs/figures"),
) -> None:
    """Draw the figures of docs/how-it-works.md: of the paper's scores."""
    plt.rcParams.update(STYLE)
    output.mkdir(parents=True, exist_ok=True)
    places, (settings, _) = Places.of(DATASET), load_dataset(DATASET)
    engine = make_engine(ComputeSettings(precision="fp32", device="cpu"))  # the same picture on every machine
    story = followed(places, settings)
    networks = scoring_networks(places, settings, engine)
    for name, figure in {
        "prepare": draw_footage(story),
        "detect": draw_boxes(story),
        "flow": draw_flow(story),
        "build": draw_cubes(story),
        "state": draw_state(settings),
        "train": draw_losses(places),
        "fit_scores": draw_errors(story, networks, engine),
        "perturb": draw_perturbation(story, networks, engine),
        "score": draw_scores(story),
        "evaluate": draw_evaluation(places, settings),
    }.items():
        save(figure, output / f"{name}.webp")


def save(figure: plt.Figure, path: Path) -> None:
    """Write WebP: without loss where that is small enough, else as good as is small enough."""
    with io.BytesIO() as drawn:
        figure.savefig(drawn, format="png")
        picture = Image.open(drawn).convert("RGB")
    plt.close(figure)
    for options in ({"lossless": True}, *({"quality": quality} for quality in range(95, 50, -5))):
        with io.BytesIO() as encoded:
            picture.save(encoded, "webp", method=6, **options)
            content = encoded.getvalue()
        if len(content) <= MOST_BYTES:
            break
    path.write_bytes(content)
    print(f"{path}: {picture.width}x{picture.height}, {len(content) / 1000:.0f} kB")


def followed(places: Places, settings: DatasetSettings) -> Story:
    """The clip and its cubes: the worst detected object of each labelled span, and the best of the second's frame."""
    clip = next(clip for clip in places.load_manifest().split("testing") if clip.name == CLIP)
    cubes, frames = (
        read_table(places.scores_of(settings.eta[0], table), places.made_by("score"), clip=CLIP)
        for table in ("cubes", "frames")
    )
    boxes = read_table(places.boxes, places.made_by("detect"), split="testing", clip=CLIP)
    whole = (cubes["x1"] > 1) & (cubes["x2"] < clip.width - 1)
    detected = cubes[(boxes["source"].to_numpy() != MOTION) & whole]  # cubes are in the order of the boxes
    animal, thrown = (
        detected.loc[detected[detected["frame"].between(start, stop - 1)]["paper"].idxmax()]
        for start, stop in clip.anomalous
    )
    walker = detected.loc[detected[detected["frame"] == thrown["frame"]]["paper"].idxmin()]
    return Story(places, settings, clip, cubes, frames, {"walker": walker, "animal": animal, "thrown": thrown})


# ---------------------------------------------------------------------------------------------- pieces of figures


def show(axes: plt.Axes, picture: np.ndarray, title: str = "") -> None:
    axes.imshow(picture, interpolation="nearest")
    axes.set_title(title)
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(visible=True, color=GREY, linewidth=0.6)


def outline(axes: plt.Axes, box: Sequence[float], colour: str, dashed: bool = False) -> None:
    """A box in colour on white, to be seen on any ground."""
    x1, y1, x2, y2 = box
    for edge, width in (("white", 3.2), (colour, 1.7)):
        style = (0, (3, 1.5)) if dashed and edge != "white" else "solid"
        axes.add_patch(
            Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=edge, linewidth=width, linestyle=style)
        )


def spans(axes: plt.Axes, clip: Clip) -> None:
    """The labelled spans, hatched so that they need no colour."""
    for index, (start, stop) in enumerate(clip.anomalous or ()):
        label = "labelled anomalous" if index == 0 else None
        axes.axvspan(start - 0.5, stop - 0.5, facecolor=ANOMALOUS, alpha=0.16, linewidth=0, label=label)


def cube_of(story: Story, row: pd.Series, branch: str) -> tuple[np.ndarray, int]:
    """One row of a shard, (1, L, patch, patch, C) as stored, and which of its L frames it is of."""
    shard = open_shard(story.places, story.clip, branch)
    number = int(row.name - story.cubes.index[0])  # scores are in the order of the shard's rows
    found = shard.read("cubes", slice(number, number + 1))
    shard.close()
    frames = window(int(row["frame"]), story.clip.frames, story.settings.cube.context)
    return found, frames.index(int(row["frame"]))


# ------------------------------------------------------------------------------------------------------- figures


def draw_footage(story: Story) -> plt.Figure:
    clips = story.places.load_manifest()
    figure = plt.figure(figsize=(WIDTH, 3.75))
    above, below = figure.subfigures(2, 1, height_ratios=[1.45, 1])
    axes = above.subplots(1, 3)
    training = clips.split("training")[0]
    show(axes[0], next(iter(read_frames(training))), f"training/{training.name}, frame 0: normal")
    for place, name, title in ((axes[1], "animal", "an animal"), (axes[2], "thrown", "something is thrown")):
        number = int(story.shown[name]["frame"])
        show(place, story.picture(number), f"testing/{CLIP}, frame {number}: {title}")
    strip = below.subplots()
    testing = clips.split("testing")
    for row, clip in enumerate(testing):
        strip.barh(row, clip.frames, height=0.62, color=PALE, edgecolor=GREY, linewidth=0.5)
        for start, stop in clip.anomalous:
            strip.barh(row, stop - start, left=start, height=0.62, color=ANOMALOUS, linewidth=0)
    strip.set_yticks(range(len(testing)), [clip.name for clip in testing])
    strip.invert_yaxis()
    strip.set(xlabel="frame", ylabel="testing clip", xlim=(0, max(clip.frames for clip in testing)))
    strip.set_title("labelled frames of each testing clip (orange); training clips are all normal")
    strip.tick_params(length=0)
    strip.spines[["left", "bottom"]].set_visible(False)
    return figure


def draw_boxes(story: Story) -> plt.Figure:
    number, settings = story.moment, story.settings.detector
    table = read_table(story.places.boxes, story.places.made_by("detect"), split="testing", clip=CLIP, frame=number)
    by_motion = table["source"] == MOTION
    appearance, motion = table[~by_motion][BOX].to_numpy(), table[by_motion][BOX].to_numpy()
    grey = [blurred_grey(story.picture(n), settings.motion) for n in (number - 1, number, number + 1)]
    change = np.clip(sum(cv2.absdiff(a, b).astype(int) for a, b in pairwise(grey)), 0, 255)
    figure, axes = plt.subplots(1, 3, figsize=(WIDTH, 2.45))
    show(axes[0], story.picture(number), f"1  detected: {len(appearance)} boxes")
    show(axes[1], 255 - change.astype(np.uint8), f"2  change over frames {number - 1} to {number + 1}")
    axes[1].images[0].set_cmap("gray")
    axes[1].images[0].set_clim(0, 255)
    show(axes[2], story.picture(number), f"3  with what moves and was missed: +{len(motion)}")
    for box in appearance:
        outline(axes[0], box, BLUE)
        outline(axes[2], box, BLUE)
        x1, y1, x2, y2 = box
        axes[1].add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, color=BLUE, alpha=0.28, linewidth=0))
    for box in motion:
        outline(axes[2], box, ORANGE, dashed=True)
    axes[1].text(0.02, 0.03, "blue: blanked out", transform=axes[1].transAxes, color=BLUE)
    axes[2].text(0.02, 0.03, "dashed: by motion", transform=axes[2].transAxes, color="white", fontweight="bold")
    return figure


def draw_flow(story: Story) -> plt.Figure:
    path = story.places.flow / f"{story.clip.key}.h5"
    with open_flow(path, story.places.made_by("flow")) as file:
        field = file[story.moment]
    length = np.hypot(*np.moveaxis(field, -1, 0))
    longest = float(np.ceil(np.percentile(length, 99.5)))
    rows, columns = (np.flatnonzero((length > 1).any(axis)) for axis in (1, 0))
    margin, (height, width) = 20, length.shape
    limits = (
        (max(columns[0] - margin, 0), min(columns[-1] + margin, width - 1)),
        (min(rows[-1] + margin, height - 1), max(rows[0] - margin, 0)),
    )
    figure, axes = plt.subplots(1, 3, figsize=(WIDTH, 2.6), width_ratios=[1, 1, 0.8])
    show(axes[0], story.picture(story.moment), f"frame t = {story.moment}, where it moves")
    show(axes[1], flow_picture(field, longest), "its flow to frame t+1")
    for place in axes[:2]:
        place.set(xlim=limits[0], ylim=limits[1])
    step = 6
    y, x = np.mgrid[step // 2 : height : step, step // 2 : width : step]
    u, v = field[y, x, 0], field[y, x, 1]
    moving = np.hypot(u, v) > 1
    axes[1].quiver(
        x[moving], y[moving], u[moving], v[moving],
        angles="xy", scale_units="xy", scale=1, color=INK, width=0.005, headwidth=3.5, headlength=4,
    )  # fmt: skip
    side = 160
    wheel = flow_wheel(side)
    place = np.linspace(-1, 1, side)
    wheel[np.hypot(*np.meshgrid(place, place)) > 1] = 255
    axes[2].imshow(wheel, extent=(-longest, longest, longest, -longest))
    axes[2].set_title("vector of each colour, px")
    axes[2].set(xlabel="u, to the right", ylabel="v, down")
    return figure


NAMES = {"walker": "a walker", "animal": "the animal", "thrown": "the thrown object"}


def draw_cubes(story: Story) -> plt.Figure:
    length = story.settings.cube.length
    figure = plt.figure(figsize=(WIDTH, 2.55))
    left, right = figure.subfigures(1, 2, width_ratios=[1, 4.4])
    axes = left.subplots(2, 1)
    for place, name in zip(axes, ("animal", "thrown"), strict=True):
        number = int(story.shown[name]["frame"])
        show(place, story.picture(number), f"frame {number}")
    for name, row in story.shown.items():
        outline(axes[0] if name == "animal" else axes[1], row[BOX], BLUE if name == "walker" else ORANGE)
    columns = [1.2, *[1] * length, 0.15, *[1] * length]
    grid = right.subplots(3, len(columns), width_ratios=columns, gridspec_kw={"wspace": 0.01, "hspace": 0.01})
    for line, (name, row) in zip(grid, story.shown.items(), strict=True):
        raw, _ = cube_of(story, row, "raw")
        steps, _ = cube_of(story, row, "flow")
        field = steps[0] / FLOW_STEPS
        longest = max(float(np.hypot(*np.moveaxis(field, -1, 0)).max()), 1.0)
        numbers = window(int(row["frame"]), story.clip.frames, story.settings.cube.context)
        for blank in (line[0], line[length + 1]):
            blank.axis("off")
        words = f"{NAMES[name]}\n(full colour:\n{longest:.0f} px)"
        line[0].text(1.0, 0.5, words, ha="right", va="center", fontsize=8)
        for step in range(length):
            show(line[1 + step], raw[0, step])
            show(line[length + 2 + step], flow_picture(field[step], longest))
    for step, number in enumerate(numbers):
        offset = number - int(row["frame"])
        words = f"t{offset:+d}" if offset else "t"
        grid[0, 1 + step].set_title(f"raw, {words}" if step == 0 else words, loc="center", fontsize=8.5)
        grid[0, length + 2 + step].set_title(f"flow, {words}" if step == 0 else words, loc="center", fontsize=8.5)
    return figure


def draw_losses(places: Places) -> plt.Figure:
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 2.3))
    for place, branch, colour, unit in zip(
        axes, BRANCHES, (RAW, FLOW), ("pixels in [0, 1]", "(px per frame)²"), strict=True
    ):
        path = places.metrics / f"loss_{branch}.csv"
        if not path.exists():
            raise missing(path, places.made_by(f"train_{branch}"))
        table = pd.read_csv(path)
        place.plot(table["epoch"], table["loss"], color=colour, linewidth=1)
        place.set_yscale("log")
        place.set(xlabel="epoch", ylabel="loss per element", title=f"{branch} branch: squared error, {unit}")
        place.grid(axis="y", color=PALE)
        place.set_xlim(0)
    return figure


def draw_errors(story: Story, networks: dict[str, Any], engine: Engine) -> plt.Figure:
    """Training errors with their statistics, and test frames after standardising by them."""
    import torch

    places, settings = story.places, story.settings
    sample = settings.model_copy(update={"training": settings.training.model_copy(update={"max_cubes": SAMPLE})})
    found: dict[str, list[np.ndarray]] = {branch: [] for branch in BRANCHES}
    with torch.inference_mode():
        for batch in training_cubes(places, BRANCHES, sample, drawn=True).in_order(32):
            of_batch = reconstruction_errors(
                networks, engine.cubes(batch.raw), engine.flows(batch.flow), settings.model.p, engine
            )
            for branch in BRANCHES:
                found[branch].append(of_batch[branch].numpy())
    training = {branch: np.concatenate(parts).astype(float) for branch, parts in found.items()}
    fitted = read_json(places.statistics, places.made_by("fit_scores"))

    figure, axes = plt.subplots(1, 3, figsize=(WIDTH, 2.75), width_ratios=[1, 1, 1.25])
    for place, branch, colour, symbol in zip(axes[:2], BRANCHES, (RAW, FLOW), "rm", strict=True):
        mean, std = fitted[branch]["mean"], fitted[branch]["std"]
        top = float(np.percentile(training[branch], 99))
        place.hist(training[branch], bins=np.linspace(0, top, 40), color=colour, alpha=0.75)
        place.axvspan(max(mean - std, 0), mean + std, color=GREY, alpha=0.2, linewidth=0)
        place.axvline(mean, color=INK, linewidth=1.2)
        place.text(mean, 1.0, " mean", transform=place.get_xaxis_transform(), va="top", fontsize=8.5)
        place.set(
            xlim=(0, top),
            xlabel=f"$S_{symbol}$ of a training cube",
            title=f"{branch}: mean {mean:,.0f}, std {std:,.0f}",
        )
        place.set_yticks([])
        place.spines["left"].set_visible(False)
    place = axes[2]
    every = read_table(places.scores_of(settings.eta[0], "cubes"), places.made_by("score"))
    worst = every.loc[every.groupby(["clip", "frame"])["paper"].idxmax()]
    labels = {clip.name: clip.labels() for clip in places.load_manifest().split("testing")}
    label = np.array([labels[clip][frame] for clip, frame in zip(worst["clip"], worst["frame"], strict=True)])
    z = {b: (worst[b].to_numpy(float) - fitted[b]["mean"]) / fitted[b]["std"] for b in BRANCHES}
    for wanted, colour, marker, name in ((False, NORMAL, "o", "normal"), (True, ANOMALOUS, "^", "anomalous")):
        place.scatter(
            z["raw"][label == wanted], z["flow"][label == wanted],
            s=9, marker=marker, color=colour, alpha=0.45, linewidth=0, label=f"{name} frame",
        )  # fmt: skip
    place.set_xscale("symlog", linthresh=3)
    place.set_yscale("symlog", linthresh=3)
    for axis, top in ((place.xaxis, z["raw"].max()), (place.yaxis, z["flow"].max())):
        ticks = [tick for tick in (0, 1, 3, 10, 30, 100, 300) if tick <= top]
        axis.set_ticks(ticks, [str(tick) for tick in ticks])
        axis.set_ticks([], minor=True)
    place.set(xlabel="standardised raw error", ylabel="standardised flow error", title="worst cube of each test frame")
    place.set_ylim(top=8 * z["flow"].max())
    place.legend(loc="upper left", ncols=2, handletextpad=0.1, columnspacing=0.8, markerscale=2)
    return figure


def draw_perturbation(story: Story, networks: dict[str, Any], engine: Engine) -> plt.Figure:
    settings = story.settings
    views: dict[str, CubeView] = {}
    for name, row in story.shown.items():
        raw, centre = cube_of(story, row, "raw")
        flow, _ = cube_of(story, row, "flow")
        (views[name],) = inspect_cubes(
            networks, engine.cubes(raw), engine.flows(flow), [centre],
            settings.eta[0], settings.model.p, settings.perturbation_loss, engine,
        )  # fmt: skip
    titles = ["cube at t", f"perturbation,\n±{settings.eta[0]:g}", "raw output", "error", "error,\nperturbed"]
    titles += ["flow at t", "flow output", "error", "error,\nperturbed"]
    figure = plt.figure(figsize=(WIDTH, 3.7))
    axes = figure.subplots(
        3, 11, width_ratios=[0.75, 1, 1, 1, 1, 1, 0.12, 1, 1, 1, 1], gridspec_kw={"wspace": 0.02, "hspace": 0.02}
    )
    for line, (name, view) in zip(axes, views.items(), strict=True):
        for blank in (line[0], line[6]):
            blank.axis("off")
        line[0].text(0.95, 0.5, NAMES[name].replace(" ", "\n"), ha="right", va="center")
        raw, flow = view.branches["raw"], view.branches["flow"]
        runs = {"raw": (raw.before, raw.after), "flow": (flow.before, flow.after)}
        highest = {b: max(float(run.error_map.max()) for run in pair) for b, pair in runs.items()}
        longest = max(float(np.hypot(f[..., 0], f[..., 1]).max()) for f in (flow.target, flow.before.output))
        pictures = [
            patch_picture(view.original),
            perturbation_picture(view.perturbed - view.original),
            patch_picture(raw.before.output),
            *(map_picture(run.error_map, highest["raw"]) for run in runs["raw"]),
            flow_picture(flow.target, longest),
            flow_picture(flow.before.output, longest),
            *(map_picture(run.error_map, highest["flow"]) for run in runs["flow"]),
        ]
        places = [*line[1:6], *line[7:]]
        for place, picture in zip(places, pictures, strict=True):
            show(place, picture)
        for first, branch, symbol in ((3, "raw", "r"), (7, "flow", "m")):
            for place, seen in zip(places[first : first + 2], runs[branch], strict=True):
                place.set_xlabel(f"$S_{symbol}$ = {seen.error:,.{1 if seen.error < 1000 else 0}f}", fontsize=7.5)
    for place, title in zip([*axes[0][1:6], *axes[0][7:]], titles, strict=True):
        place.set_title(title, loc="center", fontsize=8.5)
    return figure


def draw_scores(story: Story) -> plt.Figure:
    figure, axes = plt.subplots(figsize=(WIDTH, 2.7))
    spans(axes, story.clip)
    axes.plot(
        story.cubes["frame"], story.cubes["paper"],
        "o", markersize=2.6, color=GREY, alpha=0.6, markeredgewidth=0, label="a cube",
    )  # fmt: skip
    score = story.frames["paper"].to_numpy()
    axes.plot(np.arange(len(score)), score, color=INK, linewidth=1.4, label="the frame: its highest cube, eq. (3)")
    for name, row in story.shown.items():
        axes.annotate(
            NAMES[name], (row["frame"], row["paper"]),
            xytext=(14, 12), textcoords="offset points", va="center", color=BLUE,
            bbox={"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.8},
            arrowprops={"arrowstyle": "-", "color": BLUE, "shrinkB": 3},
        )  # fmt: skip
        axes.plot(row["frame"], row["paper"], "o", markersize=5, color=BLUE)
    # A few standard deviations and a few hundred have to be seen at once.
    axes.set_yscale("asinh", linear_width=8)
    ticks = [tick for tick in (0, 3, 10, 30, 100, 300) if tick < score.max() * 1.2]
    axes.set_yticks(ticks, [str(tick) for tick in ticks])
    axes.set_yticks([], minor=True)
    axes.set(xlim=(-0.5, len(score) - 0.5), xlabel=f"frame of testing/{CLIP}", ylabel="anomaly score S")
    axes.set_ylim(story.cubes["paper"].min() - 1, score.max() * 2)
    axes.legend(loc="upper right", ncols=3, bbox_to_anchor=(1, 1.17))
    return figure


def draw_evaluation(places: Places, settings: DatasetSettings) -> plt.Figure:
    clips = places.load_manifest().split("testing")
    table = read_table(places.scores_of(settings.eta[0], "frames"), places.made_by("score"))
    tables = [table[table["clip"] == clip.name] for clip in clips]
    labels = [clip.labels() for clip in clips]
    scores, floor = (
        rank_empty_frames_last([t[column].to_numpy(float) for t in tables]) for column in ("paper", "floor box")
    )
    figure, axes = plt.subplots(1, 3, figsize=(WIDTH, 2.9), width_ratios=[1, 1.15, 1])
    for values, colour, style, name in ((scores, INK, "-", "this model"), (floor, GREY, "--", "untrained floor")):
        fpr, tpr, _ = roc_curve(np.concatenate(labels), np.concatenate(values))
        area = 100 * micro_auroc(labels, values)
        axes[0].plot(fpr, tpr, style, color=colour, linewidth=1.5, label=f"{name}: {area:.1f}")
    axes[0].plot([0, 1], [0, 1], color=PALE, linewidth=1, zorder=0)
    axes[0].set(xlabel="false positive rate", ylabel="true positive rate", title="ROC, frames pooled (micro, %)")
    axes[0].set(xlim=(-0.01, 1), ylim=(0, 1.01), xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
    axes[0].legend(loc="lower right")

    pooled, label = np.concatenate(scores), np.concatenate(labels)
    bins = np.sinh(np.linspace(np.arcsinh(pooled.min()), np.arcsinh(pooled.max()), 36))
    parts = [pooled[~label], pooled[label]]
    for part, colour, filled, name in zip(parts, (GREY, ORANGE), (True, False), ("normal", "anomalous"), strict=True):
        kind = "stepfilled" if filled else "step"
        axes[1].hist(part, bins, histtype=kind, color=colour, alpha=0.55 if filled else 1, linewidth=1.5, label=name)
    axes[1].set_xscale("asinh", linear_width=1)
    ticks = [tick for tick in (0, 3, 10, 30, 100, 300) if tick < pooled.max() * 1.1]
    axes[1].set_xticks(ticks, [str(tick) for tick in ticks])
    axes[1].set_xticks([], minor=True)
    axes[1].set(xlabel="score of a frame", ylabel="frames", title="scores by label")
    axes[1].set_ylim(top=1.28 * axes[1].get_ylim()[1])
    axes[1].legend(loc="upper right", ncols=2)

    own = [100 * value for value in map(auroc, labels, scores)]
    axes[2].hlines(range(len(own)), 50, own, color=PALE, linewidth=4)
    axes[2].plot(own, range(len(own)), "o", color=INK, markersize=5)
    axes[2].axvline(float(np.mean(own)), color=BLUE, linewidth=1.2)
    axes[2].text(np.mean(own), -0.85, f"mean (macro) {np.mean(own):.1f} ", color=BLUE, ha="right", va="center")
    axes[2].set_yticks(range(len(own)), [clip.name for clip in clips])
    axes[2].set(
        xlim=(50, 101), ylim=(len(own) - 0.5, -1.4), xlabel="AUROC, %", ylabel="clip", title="each clip's own AUROC"
    )
    return figure


def draw_state(settings: DatasetSettings) -> plt.Figure:
    """STATE as section III-B introduces it: the whole (fig. 2), then one layer of its attention stack (fig. 3)."""
    patch, low = settings.cube.patch, settings.cube.patch // 4
    a, b, d = settings.model.widths
    heads, layers = settings.model.heads, settings.model.layers
    figure = plt.figure(figsize=(WIDTH, 5.0), layout="none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 180), ylim=(100, 0))
    axes.axis("off")

    def text(x: float, y: float, words: str, **style: Any) -> None:
        axes.text(x, y, words, **{"fontsize": 8.5, "va": "center", "linespacing": 1.35, **style})

    def box(x: float, y: float, w: float, h: float, words: str, edge: str = INK, fill: str = "white") -> None:
        style = "round,pad=0,rounding_size=1.2"
        axes.add_patch(FancyBboxPatch((x, y), w, h, boxstyle=style, edgecolor=edge, facecolor=fill, linewidth=1.2))
        text(x + w / 2, y + h / 2, words, ha="center")

    def line(*points: tuple[float, float], colour: str = INK) -> None:
        """Straight pieces from point to point, with a head at the last."""
        axes.plot(*zip(*points, strict=True), color=colour, linewidth=1.1)
        axes.add_patch(
            FancyArrowPatch(*points[-2:], arrowstyle="-|>", mutation_scale=9, color=colour, linewidth=0, shrinkB=0)
        )

    shade = "#fdf3ec"
    text(3, 4, "STATE (III-B1, fig. 2)", fontsize=9.5, fontweight="bold")
    text(48, 4, "one network for each branch: C' = 3 channels out (raw), or 2 (flow)", color=GREY)
    y, h = 11, 20
    middle = y + h / 2
    box(3, y, 20, h, f"cube\nL = {settings.cube.length} patches\n3 × {patch} × {patch}", fill=PALE)
    box(28, y, 30, h, f"encoder\n3 blocks of (conv 3×3,\nBN, ReLU) × 2, and 2\npoolings: {a}, {b}, {d}", BLUE)
    words = f"attention stack, N = {layers} layers\nevery map looks at all L,\npixel by pixel"
    box(70, y - 2.5, 40, h + 5, words, ORANGE, shade)
    box(122, y, 29, h, f"decoder\n2 × (deconvolution,\nblock as above),\nconv 1×1: {b}, {a}, C'", BLUE)
    box(156, y, 21, h, f"output\nL patches\nC' × {patch} × {patch}", fill=PALE)
    for start, stop in ((23, 28), (58, 70), (110, 122), (151, 156)):
        line((start, middle), (stop, middle))
    for x in (64, 116):
        text(x, middle - 5, f"L × {d}\n× {low} × {low}", fontsize=7.5, color=GREY, ha="center")

    top = 42
    box(3, top, 174, 55, "", ORANGE, shade)
    for above, below in ((70, 3.6), (110, 176.4)):
        axes.plot([above, below], [y + h + 2.5, top], color=ORANGE, linewidth=0.8, linestyle=(0, (4, 3)))
    text(6, top + 5, "one layer (III-B2, fig. 3)", fontsize=9.5, fontweight="bold")
    words = f"H = {heads} heads of d/H = {d // heads} channels; W and F: conv 3×3, LeakyReLU; PE: learnt; i, j = 1 … L"
    text(53, top + 5, words, color=GREY)
    box(6, 66, 13, 12, "Z\nL maps", fill=PALE)
    box(25, 54.5, 27, 11, r"$Q_i = W_Q * Z_i \,+\, PE_i$")
    box(25, 67, 27, 11, r"$K_j = W_{KV} * Z_j \,+\, PE_j$")
    box(25, 81, 27, 11, r"$V_j = W_{KV} * Z_j$")
    for target in (60, 72.5, 86.5):
        line((19, 72), (25, target))
    box(
        58,
        57,
        33,
        18,
        "Attention-Net F\n" r"$A_i^j = F(\mathrm{concat}(Q_i, K_j))$" f"\nL × L maps of {low} × {low}",
        ORANGE,
    )
    line((52, 60), (58, 63))
    line((52, 72.5), (58, 69))
    box(97, 60, 16, 12, "softmax\nover j", ORANGE)
    line((91, 66), (97, 66))
    box(93, 79, 28, 15, r"$\tilde{Z}_i = \Sigma_j\, A_i^j \odot V_j$" "\nheads joined, eq. (1)")
    line((105, 72), (105, 79))
    line((52, 86.5), (93, 86.5))
    box(125, 68, 6, 8, "+")
    line((121, 86.5), (128, 86.5), (128, 76))
    line((12.5, 66), (12.5, 51.2), (128, 51.2), (128, 68), colour=GREY)
    box(135, 66, 17, 12, "conv 3×3,\nLeakyReLU")
    line((131, 72), (135, 72))
    box(155, 68, 6, 8, "+")
    line((152, 72), (155, 72))
    line((133, 72), (133, 61), (158, 61), (158, 68), colour=GREY)
    box(164, 66, 10.5, 12, "Group\nNorm")
    line((161, 72), (164, 72))
    for x, height in ((112, 53.4), (138, 59)):
        text(x, height, "residual", fontsize=7.5, color=GREY)
    return figure


if __name__ == "__main__":
    run(figures)
