"""What each part of `best` is worth: a scored data set's test frames under one change at a time.

    python scripts/ablation.py --dataset synthetic --dataset ped2

Nothing is measured again: the tables of stage `score` hold all that was measured of each cube. Every line looks at the
test labels once; how often that was done for a data set is for its user to count. Prints Markdown.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from vadlib.cli.commands import run
from vadlib.engine.engine import Engine
from vadlib.evaluation.frames import macro_auroc, micro_auroc, rank_empty_frames_last
from vadlib.io.files import read_json
from vadlib.io.tables import read_table
from vadlib.pipeline.calibrated import load_calibration
from vadlib.pipeline.places import BOX, Places
from vadlib.scoring.frames import frame_scores
from vadlib.scoring.kept import statistics_from
from vadlib.scoring.scorer import Scorer, score_clip
from vadlib.settings import DatasetSettings, ScoreSettings, load_dataset


def variants(settings: DatasetSettings) -> dict[str, ScoreSettings]:
    """Each by what it changes of `best`, or of `paper`."""
    best, paper = settings.best, settings.paper
    found = {"best": best}
    for name in best.evidence:
        found[f"without {name}"] = best.model_copy(update={"evidence": tuple(e for e in best.evidence if e != name)})
    found["with place"] = best.model_copy(update={"evidence": (*best.evidence, "place")})
    for name in (*best.evidence, "place"):
        found[f"{name} alone"] = best.model_copy(update={"evidence": (name,)})
    found["calibration: log_z"] = best.model_copy(update={"calibration": "log_z"})
    found["calibration: z"] = best.model_copy(update={"calibration": "z"})
    found["error: norm"] = best.model_copy(update={"error": "norm"})
    found["no tracks"] = best.model_copy(update={"track_half_life": 0})
    for half_life in (2, 4, 8, 16):
        found[f"half-life {half_life}"] = best.model_copy(update={"track_half_life": half_life})
    found["tracks both ways"] = best.model_copy(update={"track_after": 8})
    found["mean of the two highest"] = best.model_copy(update={"top": 2})
    found["paper"] = paper
    for name in paper.evidence:
        found[f"paper, {name} alone"] = paper.model_copy(update={"evidence": (name,)})
    found["paper, tracks"] = paper.model_copy(update={"track_half_life": best.track_half_life})
    found["paper, error: median"] = paper.model_copy(update={"error": "median"})
    found["paper, calibration: log_z"] = paper.model_copy(update={"calibration": "log_z"})
    found["paper, calibration: tail"] = paper.model_copy(update={"calibration": "tail"})
    return found


def scored(places: Places, settings: DatasetSettings, eta: float, how: ScoreSettings) -> tuple[float, float]:
    """AUROC, micro and macro, raw, of the test frames."""
    made_by = places.made_by("fit_scores")
    statistics = statistics_from(read_json(places.statistics, made_by), settings.branches, places.statistics, made_by)
    engine = Engine(torch.device("cpu"), torch.float32)  # nothing is run on it
    scorer = Scorer(settings, {}, {}, engine, statistics, load_calibration(places))
    labels, scores = [], []
    for clip in places.load_manifest().split("testing"):
        table = read_table(places.scores_of(eta, "cubes"), places.made_by("score"), clip=clip.name)
        frame, boxes = table["frame"].to_numpy(), table[BOX].to_numpy()
        values = {name: table[name].to_numpy() for name in table if table[name].dtype == np.float32}
        own = score_clip(how, frame, boxes, {"": scorer.scores(how, values, eta)}, clip.frames).columns[""]
        scores.append(frame_scores(frame, own, clip.frames, how.top)[0])
        labels.append(clip.labels())
    ranked = rank_empty_frames_last(scores)
    return micro_auroc(labels, ranked), macro_auroc(labels, ranked)


def ablation(
    dataset: Annotated[list[str], typer.Option(help="A data set that has been scored.")],
    eta: Annotated[float | None, typer.Option(help="Of those scored; the headline's if not given.")] = None,
) -> None:
    """Print AUROC, micro / macro, raw, of each variant."""
    known = {name: (Places.of(name), load_dataset(name)[0]) for name in dataset}
    for name, (places, _) in known.items():
        if not Path(places.scores).exists():
            raise typer.BadParameter(f"{name}: not scored; run {places.made_by('score')}")
    print("| variant | " + " | ".join(known) + " |\n" + "| --- " * (1 + len(known)) + "|")
    for variant in variants(known[dataset[0]][1]):
        cells = []
        for places, settings in known.values():
            micro, macro = scored(
                places, settings, settings.eta[0] if eta is None else eta, variants(settings)[variant]
            )
            cells.append(f"{100 * micro:.2f} / {100 * macro:.2f}")
        print(f"| {variant} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    run(ablation)
