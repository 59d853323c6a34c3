"""Which cubes are trained on and which are held out, row by row."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from vadlib.clips import Clip, Manifest, save_manifest
from vadlib.cubes.shards import ShardWriter
from vadlib.pipeline.places import Places
from vadlib.pipeline.sets import footage_pieces, piece_cubes, training_cubes
from vadlib.settings import BRANCHES, CubeSettings, DatasetSettings, TrainingSettings

FRAMES = {"a": 120, "b": 7, "c": 200}
SETTINGS = DatasetSettings(cube=CubeSettings(context=1))


@pytest.fixture
def places(tmp_path, monkeypatch) -> Places:
    """Cubes of three clips, none to three a frame; each box says which clip and frame it is of, and which of them."""
    monkeypatch.chdir(tmp_path)
    made = Places.of("mini")
    clips = [Clip(name, "training", name, frames, 9, 9) for name, frames in FRAMES.items()]
    save_manifest(Manifest("mini", "frames", tuple(clips)), made.manifest)
    for number, clip in enumerate(clips):
        for branch, channels, kind in (("raw", 3, np.uint8), ("flow", 2, np.int16)):
            with ShardWriter(Path(f"work/mini/cubes/{branch}/training/{clip.name}.h5"), branch, 3, 4) as shard:
                for t in range(clip.frames):
                    boxes = np.array([[number, t, i, 0] for i in range((t * 7 + number) % 4)], np.float32)
                    cubes = np.zeros((len(boxes), 3, 4, 4, channels), kind)
                    magnitude = np.zeros(len(boxes)) if branch == "flow" else None
                    shard.add(t, boxes.reshape(-1, 4), cubes, magnitude)
    return made


def boxes_in(cubes) -> list[tuple[float, ...]]:
    return [tuple(box[:3]) for batch in cubes.in_order(13) for box in batch.boxes.tolist()]


def boxes_of(clip: int, first: int, stop: int) -> list[tuple[int, int, int]]:
    return [(clip, t, i) for t in range(first, stop) for i in range((t * 7 + clip) % 4)]


def test_training_cubes_are_those_of_the_pieces_that_are_not_held_out(places):
    kept = [piece for piece in footage_pieces(places, SETTINGS) if not piece.held_out]
    assert len(kept) < len(footage_pieces(places, SETTINGS))
    for branches in (("raw",), BRANCHES):
        found = boxes_in(training_cubes(places, branches, SETTINGS, drawn=False))
        assert found == [box for piece in kept for box in boxes_of(piece.clip, piece.first, piece.stop)]


def test_a_pieces_cubes_are_its_own_with_frame_and_box(places):
    for piece in footage_pieces(places, SETTINGS):
        cubes, frame, boxes = piece_cubes(places, piece)
        expected = boxes_of(piece.clip, piece.first, piece.stop)
        assert boxes_in(cubes) == [tuple(box[:3]) for box in boxes.tolist()] == expected
        assert frame.tolist() == [t for _, t, _ in expected]


def test_nothing_held_out_is_everything(places):
    whole = SETTINGS.model_copy(update={"training": TrainingSettings(hold_out_every=0)})
    found = boxes_in(training_cubes(places, BRANCHES, whole, drawn=True))
    assert found == [box for clip, frames in enumerate(FRAMES.values()) for box in boxes_of(clip, 0, frames)]


def test_the_cubes_that_are_drawn_are_some_of_those_that_are_not_held_out(places):
    some = SETTINGS.model_copy(update={"training": TrainingSettings(max_cubes=100)})
    drawn, every = (boxes_in(training_cubes(places, BRANCHES, some, drawn=d)) for d in (True, False))
    assert len(drawn) == 100
    assert Counter(drawn) <= Counter(every)


def test_other_held_out_footage_is_other_data_to_a_resumed_training(places):
    other = SETTINGS.model_copy(update={"training": TrainingSettings(hold_out_every=4)})
    one, two = (training_cubes(places, BRANCHES, s, drawn=True).digest for s in (SETTINGS, other))
    assert one != two
