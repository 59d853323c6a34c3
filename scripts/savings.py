"""What each saving of `vad watch` costs: AUROC of a scored data set's test frames where less is looked at.

    python scripts/savings.py --dataset synthetic                      # n and k, from what stage `score` left
    python scripts/savings.py --dataset synthetic --eta 0              # the same of another eta that was scored
    python scripts/savings.py --dataset synthetic --flow fast --flow medium:160x112

n and k: only every n-th frame is looked at, and of these an object is measured by the networks in every k-th. A frame
that is passed by has the score of the one before. Nothing is measured again for that. With --flow clips are gone over
once more with a coarser flow, by the model as it is: networks and calibration know the flow that they learned, so that
the loss is the most that there can be. Prints Markdown.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import torch
import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.live import changed_model
from vadlib.cli.commands import run
from vadlib.clips import read_frames
from vadlib.engine.engine import Engine
from vadlib.errors import VadError
from vadlib.evaluation.frames import macro_auroc, micro_auroc, rank_empty_frames_last
from vadlib.footage.kept import DEAR, Followed, Kept
from vadlib.footage.stream import make_scorer, score_frames
from vadlib.io.files import read_json
from vadlib.io.tables import read_table
from vadlib.manifest import Clip
from vadlib.pipeline.calibrated import load_calibration
from vadlib.pipeline.places import BOX, Places
from vadlib.scoring.evidence.dwell import Dwell
from vadlib.scoring.frames import frame_scores
from vadlib.scoring.kept import statistics_from
from vadlib.scoring.model_folder import read_package
from vadlib.scoring.scorer import Scorer, score_clip
from vadlib.settings import BRANCHES, DatasetSettings, load_dataset
from vadlib.watch.intake import levels

PATTERNS = sorted({(1, 1), (1, 2), (1, 3), (2, 1), (3, 1), (4, 1), (6, 1), *levels(1)})
NETWORKS = (*BRANCHES, *(f"{branch}_median" for branch in BRANCHES), DEAR)


def savings(
    dataset: Annotated[str, typer.Option(help="A data set that has been scored.")],
    eta: Annotated[float | None, typer.Option(help="Of those scored; the headline's if not given.")] = None,
    flow: Annotated[list[str] | None, typer.Option(help="DIS otherwise: fast, medium:160x112.")] = None,
) -> None:
    """Print AUROC, micro / macro, raw, of each saving."""
    places, (settings, compute) = Places.of(dataset), load_dataset(dataset)
    chosen = settings.eta[0] if eta is None else eta
    clips = places.load_manifest().split("testing")
    if not places.scores_of(chosen, "cubes").exists():
        raise VadError(f"{places.scores_of(chosen, 'cubes')}: not scored; run {places.made_by('score')}")
    print("| saving | micro | macro |\n| --- | --- | --- |")
    if not flow:
        for n, k in PATTERNS:
            tell(f"n = {n}, k = {k}", clips, [spared(places, settings, chosen, clip, n, k) for clip in clips])
        return
    package = Path("models") / dataset
    with TemporaryDirectory() as folder:
        for number, text in enumerate(("as it is", *flow)):
            made = changed_model(package, Path(folder) / str(number), None, None if text == "as it is" else text)
            scorer = make_scorer(read_package(made), compute)
            own = []
            for clip in clips:
                frames = ((t / 25, image) for t, image in enumerate(read_frames(clip)))
                own.append(np.array([frame.score for frame in score_frames(scorer, clip, frames)]))
            tell(f"flow: {text}", clips, own)


def tell(name: str, clips: list[Clip], scores: list[np.ndarray]) -> None:
    """Print one row."""
    labels, ranked = [clip.labels() for clip in clips], rank_empty_frames_last(scores)
    micro, macro = micro_auroc(labels, ranked), macro_auroc(labels, ranked)
    print(f"| {name} | {100 * micro:.2f} | {100 * macro:.2f} |", flush=True)


def spared(places: Places, settings: DatasetSettings, eta: float, clip: Clip, n: int, k: int) -> np.ndarray:
    """A clip's frame scores where only so much is looked at."""
    made_by = places.made_by("fit_scores")
    statistics = statistics_from(read_json(places.statistics, made_by), settings.branches, places.statistics, made_by)
    engine = Engine(torch.device("cpu"), torch.float32)  # nothing is run on it
    scorer = Scorer(settings, {}, {}, engine, statistics, load_calibration(places))
    table = read_table(places.scores_of(eta, "cubes"), places.made_by("score"), clip=clip.name)
    table = table[table["frame"] % n == 0].reset_index(drop=True)
    frame, boxes = table["frame"].to_numpy(), table[BOX].to_numpy()
    values = {name: table[name].to_numpy().copy() for name in table if table[name].dtype == np.float32}
    dwell, kept, last = Dwell(), Kept(), dict[Followed, int]()
    for number in np.unique(frame):
        rows = np.flatnonzero(frame == number)
        values["dwell"][rows] = dwell.measure(int(number), boxes[rows], n)
        due = kept.due(int(number), boxes[rows], k)
        for row, is_fresh, known in zip(rows, due.fresh, due.objects, strict=True):
            if is_fresh:
                last[known] = row
            for name in NETWORKS:
                values[name][row] = values[name][last[known]]
    how = settings.best
    own = score_clip(how, frame, boxes, {"": scorer.scores(how, values, eta)}, clip.frames).columns[""]
    scores = frame_scores(frame, own, clip.frames, how.top)[0]
    return scores[np.arange(clip.frames) // n * n]


if __name__ == "__main__":
    run(savings)
