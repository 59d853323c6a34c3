"""Stage score: perturbed scores of the testing clips."""

import json
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from vadlib.cubes.shards import CubeSet
from vadlib.engine.engine import Engine, make_engine
from vadlib.engine.provenance import made_with
from vadlib.io.files import sha256
from vadlib.io.ownership import publish
from vadlib.io.tables import read_table, write_table
from vadlib.manifest import Clip
from vadlib.models.checkpoint import model_made_with
from vadlib.pipeline.mapping import fingerprint, map_clips
from vadlib.pipeline.places import BOX, Places
from vadlib.pipeline.scorers import calibrated_scorer
from vadlib.pipeline.sets import open_shard
from vadlib.scoring.frames import frame_scores
from vadlib.scoring.scorer import Scorer, score_clip, value_names
from vadlib.settings import ComputeSettings, DatasetSettings

FLOORS = {
    "box": "magnitude",
    "cube": "cube_flow",
    "cube along its track": "cube_flow_track",
    "trunk along its track": "trunk_flow_track",
}
"""What reaches a score with nothing learned: a frame's largest of these columns of the cubes. The mean length of the
flow in the box, in the whole cube, its mean along the track; and that of where a trunk is."""


def score_clips(places: Places, settings: DatasetSettings, compute: ComputeSettings) -> Counter[str]:
    """Perturbed scores of the testing clips, a table of cubes and one of frames for each eta."""
    engine = make_engine(compute)
    clips = places.load_manifest().split("testing")
    scorer = calibrated_scorer(places, settings, engine)
    identity = {
        "eta": settings.eta,
        "loss": settings.perturbation_loss,
        "configurations": {name: how.model_dump() for name, how in settings.configurations.items()},
        "p": settings.model.p,
    }
    files = [
        places.statistics,
        places.evidence,
        places.calibration,
        *(places.model(b) for b in settings.branches),
        places.cubes("raw"),
        places.cubes("flow"),
    ]
    return map_clips(
        partial(_score_clip, scorer, compute.score_batch, places),
        clips,
        places.scores,
        suffix=".parquet",
        fingerprint=fingerprint(__name__, identity, str(engine), *files),
        workers=1,
        label=f"score {places.name}",
        finish=partial(_tables_of_etas, places, clips, settings, _made_with(places, settings, engine)),
    )


def _made_with(places: Places, settings: DatasetSettings, engine: Engine) -> list[dict[str, str | int]]:
    """What the networks were trained with, and what they score with: a row for each, the networks' with their hash."""
    rows: list[dict[str, str | int]] = []
    for branch in settings.branches:
        path, made_by = places.model(branch), places.made_by(f"train_{branch}")
        rows.append({"step": f"train_{branch}", "sha256": sha256(path), **model_made_with(path, made_by)})
    return [*rows, {"step": "score", **made_with(engine)}]


def _tables_of_etas(
    places: Places,
    clips: tuple[Clip, ...],
    settings: DatasetSettings,
    made_with: list[dict[str, str | int]],
    made: Path,
    output: Path,
) -> None:
    about = {"made_with": json.dumps(made_with)}
    tables = made.with_name("tables")
    for eta in settings.eta:
        for table, make in (("cubes", _cubes_of), ("frames", partial(_frames_of, settings))):
            path = tables / places.scores_of(eta, table).relative_to(places.scores)
            write_table(path, (make(made / f"{clip.key}.parquet", clip, eta) for clip in clips), about)
    publish(tables, output)


def _score_clip(scorer: Scorer, size: int, places: Places, clip: Clip, path: Path) -> dict[str, int]:
    raw, flow = open_shard(places, clip, "raw"), open_shard(places, clip, "flow")
    settings = scorer.settings
    frame, found = raw.read("frame"), raw.read("boxes")
    measured = scorer.measure_clip(CubeSet([(raw, flow)]), frame, found, settings.eta, size)
    boxes = pd.DataFrame(found, columns=BOX)
    boxes.insert(0, "frame", frame)
    boxes["magnitude"] = flow.read("magnitude")
    raw.close()
    flow.close()
    parts = []
    for eta, values in measured.items():
        values = {name: values.get(name, np.empty(0, np.float32)) for name in value_names(scorer)}
        best, paper = settings.best, settings.paper
        along_best = {"best": scorer.scores(best, values, eta)}
        along_best |= {f"{name}_part": part for name, part in scorer.best_parts(values, eta).items()}
        along_best |= {f"{name}_track": values[name] for name in ("cube_flow", "trunk_flow")}
        of_best = score_clip(best, frame, found, along_best, clip.frames)
        of_paper = score_clip(paper, frame, found, {"paper": scorer.scores(paper, values, eta)}, clip.frames)
        parts.append(boxes.assign(eta=eta, track=of_best.tracks, **values, **of_paper.columns, **of_best.columns))
    write_table(path, parts)
    return {"clips": 1, "frames": clip.frames, "cubes": len(boxes)}


def _cubes_of(part: Path, clip: Clip, eta: float) -> pd.DataFrame:
    table = read_table(part, "the same command", eta=eta).drop(columns="eta")
    table.insert(0, "clip", clip.name)
    return table


def _frames_of(settings: DatasetSettings, part: Path, clip: Clip, eta: float) -> pd.DataFrame:
    """A row for each frame: each configuration's score, and the largest of each floor's column and of each evidence's
    part, NaN without boxes."""
    table = _cubes_of(part, clip, eta)
    frame = table["frame"].to_numpy()

    def largest(column: str, top: int = 1) -> np.ndarray:
        return frame_scores(frame, table[column].to_numpy(), clip.frames, top)[0]

    columns = {
        "clip": clip.name,
        "frame": np.arange(clip.frames, dtype=np.int32),
        "boxes": np.bincount(frame, minlength=clip.frames),
    }
    columns |= {name: largest(name, how.top) for name, how in settings.configurations.items()}
    columns |= {f"floor {name}": largest(column) for name, column in FLOORS.items()}
    columns |= {column: largest(column) for column in table if column.endswith("_part")}
    return pd.DataFrame(columns)
