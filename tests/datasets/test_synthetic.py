"""The embedded street: same bytes from the same seed, and truth that matches what is drawn."""

import csv
import hashlib
from pathlib import Path

import av
import h5py
import numpy as np
import pytest

from vadlib.datasets.synthetic import figures
from vadlib.datasets.synthetic.footage import APPEARANCE, MOTION, Rendered, clip_name, render_clip, write_footage
from vadlib.datasets.synthetic.street import Canvas, View, lay, scene
from vadlib.io.ownership import LEDGER
from vadlib.settings import StreetSettings

SMALL = StreetSettings(size=(192, 128), training_clips=2, testing_clips=3, clip_frames=40, walkers=3)


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("street")
    write_footage(SMALL, folder)
    return folder


@pytest.fixture(scope="module")
def testing_clips() -> list[list[Rendered]]:
    return [list(render_clip(SMALL, "testing", index)) for index in range(SMALL.testing_clips)]


def digests(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != LEDGER)
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_same_settings_give_the_same_bytes_whatever_the_workers(footage: Path, tmp_path: Path) -> None:
    write_footage(SMALL, tmp_path, workers=2)
    assert digests(tmp_path) == digests(footage)


def test_footage_is_named_clips_masks_labels_and_tracks(footage: Path) -> None:
    assert sorted(digests(footage)) == [
        "labels.csv",
        *(f"masks/0{n}.h5" for n in (1, 2, 3)),
        "regions.csv",
        *(f"testing/0{n}.mp4" for n in (1, 2, 3)),
        "tracks.csv",
        *(f"training/0{n}.mp4" for n in (1, 2)),
    ]


def test_another_seed_gives_another_street() -> None:
    one, other = (next(render_clip(SMALL.model_copy(update={"seed": seed}), "training", 0)) for seed in (1, 2))
    assert np.abs(one.image.astype(int) - other.image).mean() > 10


def test_clips_and_splits_differ_on_the_same_street() -> None:
    first = next(render_clip(SMALL, "training", 0))
    for split, index in (("training", 1), ("testing", 0)):
        other = next(render_clip(SMALL, split, index))
        assert not np.array_equal(first.ids, other.ids)
        nobody = (first.ids == 0) & (other.ids == 0)
        # what differs where nobody is: light, grain and shadows
        assert np.median(np.abs(first.image.astype(int) - other.image)[nobody]) < 25


def test_training_clips_hold_no_anomaly_and_nobody_going_left() -> None:
    middles: dict[int, list[float]] = {}
    for rendered in render_clip(SMALL, "training", 0):
        assert not rendered.anomalous
        assert {o.kind for o in rendered.objects} <= {"walker"}
        for o in rendered.objects:
            middles.setdefault(o.track, []).append((o.box[0] + o.box[2]) / 2)
    assert all(x[-1] > x[0] - 8 for x in middles.values())  # hidden parts move a box's middle a little
    assert max(x[-1] - x[0] for x in middles.values()) > 20


def test_boxes_are_the_extent_of_visible_ids(testing_clips: list[list[Rendered]]) -> None:
    for rendered in testing_clips[0][::10]:
        assert rendered.objects
        for o in rendered.objects:
            y, x = np.nonzero(rendered.ids == o.track)
            assert o.box == (x.min(), y.min(), x.max() + 1, y.max() + 1)


def test_each_test_clip_has_anomalous_and_normal_frames(testing_clips: list[list[Rendered]]) -> None:
    for clip in testing_clips:
        assert 0.2 < np.mean([rendered.anomalous for rendered in clip]) < 0.8


def test_both_sorts_of_anomaly_come_in_every_long_clip_and_every_kind_several_times() -> None:
    street = StreetSettings(size=(96, 64), clip_frames=100, walkers=1)
    seen: dict[str, int] = {}
    for index in range(street.testing_clips):
        kinds = {o.kind for r in render_clip(street, "testing", index) for o in r.objects if o.anomalous}
        assert kinds & set(APPEARANCE)
        assert kinds & set(MOTION)
        for kind in kinds - {"thrown"}:
            seen[kind] = seen.get(kind, 0) + 1
    assert sorted(seen) == sorted((*APPEARANCE, *MOTION))
    assert min(seen.values()) >= 2


def test_labels_masks_and_tracks_tell_of_the_same_frames(footage: Path, testing_clips: list[list[Rendered]]) -> None:
    tracks, spans = rows(footage / "tracks.csv"), rows(footage / "labels.csv")
    for index, clip in enumerate(testing_clips):
        name = clip_name(index)
        truth = [t for t, rendered in enumerate(clip) if rendered.anomalous]
        labelled = [t for s in spans if s["clip"] == name for t in range(int(s["first"]), int(s["last"]) + 1)]
        tracked = {int(r["frame"]) for r in tracks if (r["split"], r["clip"], r["anomalous"]) == ("testing", name, "1")}
        with h5py.File(footage / "masks" / f"{name}.h5") as file:
            ids = file["ids"][:]
        assert ids.dtype == np.uint16
        assert ids.shape == (40, 128, 192)
        assert labelled == truth == sorted(tracked) == np.flatnonzero(ids.any((1, 2))).tolist()
        t = truth[len(truth) // 2]
        anomalous = [o.track for o in clip[t].objects if o.anomalous]
        assert np.array_equal(ids[t] > 0, np.isin(clip[t].ids, anomalous))


def test_a_frame_has_regions_just_where_it_is_labelled(footage: Path, testing_clips: list[list[Rendered]]) -> None:
    """The file is that of users' own footage; every region is the box of an anomalous object, inside the frame."""
    regions = rows(footage / "regions.csv")
    for index, clip in enumerate(testing_clips):
        found = [r for r in regions if r["clip"] == clip_name(index)]
        expected = [(t, o.track, *o.box) for t, rendered in enumerate(clip) for o in rendered.objects if o.anomalous]
        columns = ("frame", "track", "x1", "y1", "x2", "y2")
        assert sorted(tuple(int(r[c]) for c in columns) for r in found) == sorted(expected)
        assert {int(r["frame"]) for r in found} == {t for t, rendered in enumerate(clip) if rendered.anomalous}
        assert all(0 <= x1 < x2 <= 192 and 0 <= y1 < y2 <= 128 for _, _, x1, y1, x2, y2 in expected)


def test_video_files_show_the_rendered_frames(footage: Path, testing_clips: list[list[Rendered]]) -> None:
    with av.open(str(footage / "testing" / "02.mp4")) as container:
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(decoded) == 40
    for t in (0, 20, 39):
        assert np.abs(decoded[t].astype(int) - testing_clips[1][t].image).mean() < 5


def test_a_nearer_thing_hides_a_farther_one(testing_clips: list[list[Rendered]]) -> None:
    """The static things take their pixels from walkers behind them: no id shines through the tree's trunk."""
    place = scene(SMALL.seed, SMALL.size)
    nearest = place.standing[-1]
    part = lay(place.background.copy(), nearest)
    assert part is not None
    where, covered = part
    behind = View(*SMALL.size).row(1.0)
    for rendered in testing_clips[0]:
        assert nearest.y > behind
        assert not rendered.ids[where][covered].any()


def test_size_follows_the_perspective() -> None:
    view = View(320, 224)
    assert view.person(view.row(1.0)) > 1.8 * view.person(view.row(0.0)) > 0


def test_feet_stand_still_on_the_ground_while_a_walker_passes() -> None:
    """A gait that matches its speed: a foot stays under the same pixels while its owner moves past its length."""
    street = StreetSettings(training_clips=1, clip_frames=60, walkers=1, seed=3)
    held = longest = np.zeros(street.size[0], int)
    middles: list[float] = []
    for rendered in render_clip(street, "training", 0):
        for o in rendered.objects:
            if o.track == 1:
                x1, y1, x2, y2 = o.box
                held = np.where((rendered.ids[y2 - 3 : y2] == 1).any(0), held + 1, 0)
                longest = np.maximum(longest, held)
                middles.append((x1 + x2) / 2)
                height = y2 - y1
    speed = (middles[-1] - middles[0]) / (len(middles) - 1)
    foot = 0.13 * height
    assert longest.max() * speed > 3.6 * foot


@pytest.mark.parametrize("fall", [0.0, 0.5, 1.0])
def test_a_fall_turns_a_tall_figure_into_a_wide_one(fall: float) -> None:
    canvas = Canvas(60, 100, 80, (1.15, 1.2))
    look = figures.random_look(np.random.default_rng(0))
    figures.draw_person(canvas, look, figures.Pose(phase=0.1, swing=0.1, fall=fall))
    y, x = np.nonzero(canvas.sprite().pixels[..., 3] > 127)
    tall, wide = np.ptp(y), np.ptp(x)
    assert (tall > 2 * wide) if fall == 0 else (wide > tall / 2 if fall == 0.5 else wide > 2 * tall)
