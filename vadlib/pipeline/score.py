"""Stage score: perturbed scores of the testing clips."""

import json
import math
from collections import Counter
from contextlib import closing
from functools import lru_cache, partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from vadlib.cubes.shards import BLOCK, CubeSet
from vadlib.engine.engine import Engine, make_engine
from vadlib.engine.provenance import made_with
from vadlib.io.files import sha256
from vadlib.io.ownership import publish, remove_own
from vadlib.io.tables import read_table, write_table
from vadlib.manifest import Clip
from vadlib.models.checkpoint import model_made_with
from vadlib.pipeline.mapping import Span, Split, fingerprint, map_clips
from vadlib.pipeline.places import BOX, Places
from vadlib.pipeline.scorers import calibrated_scorer
from vadlib.pipeline.sets import open_shard
from vadlib.scoring.frames import frame_scores
from vadlib.scoring.scorer import Scorer, Values, score_clip, value_names, with_dwell
from vadlib.settings import ComputeSettings, DatasetSettings


def score_clips(places: Places, settings: DatasetSettings, compute: ComputeSettings) -> Counter[str]:
    """Perturbed scores of the testing clips, a table of cubes and one of frames for each eta."""
    engine = make_engine(compute)
    if compute.executor == "local":
        compute = compute.model_copy(update={"workers": 1})  # whose networks use every core
    clips = places.load_manifest().split("testing")
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
    mark = fingerprint(__name__, identity, str(engine), *files)
    _scorer(mark, places, settings, compute)  # what is wrong with it is said before anything is begun
    return map_clips(
        partial(_score_clip, mark, places, settings, compute),
        clips,
        places.scores,
        suffix=".parquet",
        fingerprint=mark,
        compute=compute,
        label=f"score {places.name}",
        split=Split(
            partial(_spans, places, compute.score_batch),
            partial(_measure_part, mark, places, settings, compute),
            partial(_score_merged, mark, places, settings, compute),
        ),
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
    remove_own(tables)  # of a run that was stopped
    for eta in settings.eta:
        for table, make in (("cubes", _cubes_of), ("frames", partial(_frames_of, settings))):
            path = tables / places.scores_of(eta, table).relative_to(places.scores)
            write_table(path, (make(made / f"{clip.key}.parquet", clip, eta) for clip in clips), about)
    publish(tables, output)


@lru_cache(maxsize=1)
def _scorer(mark: str, places: Places, settings: DatasetSettings, compute: ComputeSettings) -> Scorer:
    """Loaded once for all clips; `mark` tells it from one of other files."""
    return calibrated_scorer(places, settings, make_engine(compute))


def _score_clip(
    mark: str, places: Places, settings: DatasetSettings, compute: ComputeSettings, clip: Clip, path: Path
) -> dict[str, int]:
    scorer = _scorer(mark, places, settings, compute)
    cubes = CubeSet([(open_shard(places, clip, "raw"), open_shard(places, clip, "flow"))])
    return _write_scores(scorer, places, clip, scorer.measure_all(cubes, settings.eta, compute.score_batch), path)


def _spans(places: Places, size: int, clip: Clip, window: int) -> list[Span]:
    """Parts of a clip's cubes, cut where batches and blocks begin, so that they are scored in the very same batches."""
    with closing(open_shard(places, clip, "raw")) as shard:
        frame = shard.read("frame")
    step = math.lcm(size, BLOCK)
    rows = np.searchsorted(frame, np.arange(window, clip.frames - window // 2, window)) // step * step
    return [Span(a, b) for a, b in pairwise(sorted({0, *rows.tolist(), len(frame)}))]


def _measure_part(
    mark: str, places: Places, settings: DatasetSettings, compute: ComputeSettings, clip: Clip, span: Span, path: Path
) -> dict[str, int]:
    blocks = [(0, start, min(start + BLOCK, span.stop)) for start in range(span.first, span.stop, BLOCK)]
    cubes = CubeSet([(open_shard(places, clip, "raw"), open_shard(places, clip, "flow"))], blocks=blocks)
    measured = _scorer(mark, places, settings, compute).measure_all(cubes, settings.eta, compute.score_batch)
    write_table(path, (pd.DataFrame(values).assign(eta=eta) for eta, values in measured.items()))
    return {"cubes": len(cubes)}


def _score_merged(
    mark: str,
    places: Places,
    settings: DatasetSettings,
    compute: ComputeSettings,
    clip: Clip,
    parts: list[Path],
    path: Path,
) -> dict[str, int]:
    measured = {}
    for eta in settings.eta:
        table = pd.concat([read_table(part, "the same command", eta=eta).drop(columns="eta") for part in parts])
        measured[eta] = {name: table[name].to_numpy() for name in table}
    return _write_scores(_scorer(mark, places, settings, compute), places, clip, measured, path)


def _write_scores(
    scorer: Scorer, places: Places, clip: Clip, measured: dict[float, Values], path: Path
) -> dict[str, int]:
    """A clip's cubes with what was measured of all of them: tracks run over the whole clip."""
    raw, flow = open_shard(places, clip, "raw"), open_shard(places, clip, "flow")
    settings = scorer.settings
    frame, xyxy = raw.read("frame"), raw.read("boxes")
    measured = with_dwell(measured, frame, xyxy)
    boxes = pd.DataFrame(xyxy, columns=BOX)
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
        of_best = score_clip(best, frame, xyxy, along_best, clip.frames)
        of_paper = score_clip(paper, frame, xyxy, {"paper": scorer.scores(paper, values, eta)}, clip.frames)
        parts.append(boxes.assign(eta=eta, track=of_best.tracks, **values, **of_paper.columns, **of_best.columns))
    write_table(path, parts)
    return {"clips": 1, "frames": clip.frames, "cubes": len(boxes)}


def _cubes_of(part: Path, clip: Clip, eta: float) -> pd.DataFrame:
    table = read_table(part, "the same command", eta=eta).drop(columns="eta")
    table.insert(0, "clip", clip.name)
    return table


def _frames_of(settings: DatasetSettings, part: Path, clip: Clip, eta: float) -> pd.DataFrame:
    """A row for each frame: each configuration's score, and the largest of each evidence's part, NaN without boxes."""
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
    columns |= {column: largest(column) for column in table if column.endswith("_part")}
    return pd.DataFrame(columns)
