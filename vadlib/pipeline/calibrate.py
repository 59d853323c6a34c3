"""Stage calibrate: what is normal on footage that nothing was trained on, and the thresholds."""

from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace

import numpy as np

from vadlib.cubes.holdout import MOST_FRAMES, Piece
from vadlib.engine.engine import make_engine
from vadlib.errors import VadError
from vadlib.io.files import write_json
from vadlib.io.ownership import check
from vadlib.io.progress import progress
from vadlib.pipeline.places import Places
from vadlib.pipeline.scorers import fitted_scorer
from vadlib.pipeline.sets import footage_pieces, open_shard, piece_cubes
from vadlib.scoring.calibration import LEAST, Calibration, fit_normal
from vadlib.scoring.evidence.dwell import dwell_of_clip
from vadlib.scoring.frames import frame_scores
from vadlib.scoring.kept import calibration_json
from vadlib.scoring.scorer import Scorer, Values, score_clip
from vadlib.scoring.thresholds import Threshold, set_threshold
from vadlib.scoring.tracks import horizon_of
from vadlib.settings import CONFIGURATIONS, ComputeSettings, Configuration, DatasetSettings

MOST_WAITED = 100_000
"""Frames whose boxes say at most how long waiting is normal."""


def calibrate(places: Places, settings: DatasetSettings, compute: ComputeSettings) -> Counter[str]:
    """Score the held-out footage as test footage is scored, and keep what is normal of each measurement, and where each
    configuration's threshold lies. Where nothing is held out, training footage has to do."""
    check(places.calibration)
    scorer = fitted_scorer(places, settings, make_engine(compute))
    clips = places.load_manifest().split("training")
    pieces = chosen_pieces(footage_pieces(places, settings))
    measured: list[dict[float, Values]] = []
    boxes: list[tuple[np.ndarray, np.ndarray]] = []
    with progress(len(pieces), "calibrate", "piece") as bar:
        for piece in pieces:
            cubes, frame, of_frame = piece_cubes(places, piece)
            measured.append(
                scorer.measure_clip(cubes, frame, of_frame, settings.eta, compute.score_batch, seen=not piece.held_out)
            )
            boxes.append((frame - piece.first, of_frame))
            bar.update()
    # Few people wait, and nothing is trained on how long: all of the footage says how long is normal.
    waited = _dwell(places)
    normal = {}
    for eta in settings.eta:
        names = sorted({name for of_piece in measured for name in of_piece[eta]})
        try:
            normal[eta] = {
                name: fit_normal(
                    waited if name == "dwell" else np.concatenate([m[eta][name] for m in measured if name in m[eta]]),
                    LEAST.get(name, 0.0),
                )
                for name in names
            }
        except ValueError as error:
            raise VadError(f"calibrating data set {places.name}: {error}; is the footage still?") from None
        if not names:
            raise VadError(f"{places.cubes('raw')}: no held-out training frame has a box, so there is no threshold")
    calibrated = replace(scorer, calibration=Calibration(normal, {}))
    rates = [clips[piece.clip].fps for piece in pieces]
    thresholds = {name: _threshold(calibrated, name, measured, boxes, pieces, rates) for name in CONFIGURATIONS}
    write_json(places.calibration, calibration_json(Calibration(normal, thresholds)))
    return Counter(
        {
            "held-out frames": sum(piece.stop - piece.first for piece in pieces),
            "cubes": sum(len(frame) for frame, _ in boxes),
        }
    )


def chosen_pieces(pieces: Sequence[Piece]) -> list[Piece]:
    """The pieces to calibrate on: those held out, or all; of much footage the beginning of each."""
    chosen = [piece for piece in pieces if piece.held_out] or list(pieces)
    most = max(1, MOST_FRAMES // max(len(chosen), 1))
    return [replace(piece, stop=min(piece.stop, piece.first + most)) for piece in chosen]


def _dwell(places: Places) -> np.ndarray:
    """`dwell` of the boxes of the training clips, of many frames of the first of each clip: float32 (N,)."""
    clips, found = places.load_manifest().split("training"), []
    for clip in clips:
        with closing(open_shard(places, clip, "raw")) as shard:
            frame = shard.read("frame")
            rows = slice(0, int(np.searchsorted(frame, MOST_WAITED // len(clips))))
            found.append(dwell_of_clip(frame[rows], shard.read("boxes", rows)))
    return np.concatenate(found)


def _threshold(
    scorer: Scorer,
    name: Configuration,
    measured: Sequence[dict[float, Values]],
    boxes: Sequence[tuple[np.ndarray, np.ndarray]],
    pieces: Sequence[Piece],
    rates: Sequence[float | None],
) -> Threshold:
    how, eta = scorer.settings.configurations[name], scorer.settings.eta[0]
    scores = []
    for of_piece, (frame, of_frame), piece in zip(measured, boxes, pieces, strict=True):
        frames = piece.stop - piece.first
        raw = scorer.scores(how, of_piece[eta], eta) if len(frame) else np.empty(0)
        scored = score_clip(how, frame, of_frame, {"": raw}, frames).columns[""]
        scores.append(frame_scores(frame, scored, frames, how.top)[0])
    return set_threshold(scores, scorer.settings.false_alarms, rates, horizon_of(how))
