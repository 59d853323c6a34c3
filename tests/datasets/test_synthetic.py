"""The embedded street: same bytes from the same seed, and truth that matches what is drawn."""

import csv
import hashlib
from pathlib import Path

import av
import cv2
import h5py
import numpy as np
import pytest

from vadlib.datasets.synthetic import figures
from vadlib.datasets.synthetic import footage as street_footage
from vadlib.datasets.synthetic.footage import (
    APPEARANCE,
    LINGER,
    MOTION,
    SITUATION,
    Rendered,
    clip_name,
    render_clip,
    write_footage,
)
from vadlib.datasets.synthetic.street import Canvas, Sprite, View, lay, scene
from vadlib.io.ownership import LEDGER
from vadlib.settings import StreetSettings

SMALL = StreetSettings(size=(192, 128), training_clips=2, testing_clips=3, clip_frames=40, walkers=3)
LONG = StreetSettings(size=(192, 128), clip_frames=120, walkers=2)  # long enough for situations


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
    for split, index in (("training", 2), ("testing", 0)):  # of neither are lights switched
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


def test_two_kinds_of_anomaly_come_in_every_long_clip_and_every_kind_several_times() -> None:
    street = StreetSettings(size=(96, 64), clip_frames=100, walkers=1)
    seen: dict[str, int] = {}
    for index in range(street.testing_clips):
        kinds = {o.kind for r in render_clip(street, "testing", index) for o in r.objects if o.anomalous}
        sorts = [len(kinds & set(sort)) for sort in (APPEARANCE, MOTION, SITUATION)]
        assert sorts == ([0, 0, 2] if index >= 8 else [1, 1, 0])
        for kind in kinds - {"thrown"}:
            seen[kind] = seen.get(kind, 0) + 1
    assert sorted(seen) == sorted((*APPEARANCE, *MOTION, *SITUATION))
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
        kinds = {(t, o.track): o.kind for t, rendered in enumerate(clip) for o in rendered.objects}
        for r in found:
            assert r["kind"] == kinds[int(r["frame"]), int(r["track"])].replace("thrown", "throwing")
        columns = ("frame", "track", "x1", "y1", "x2", "y2")
        assert sorted(tuple(int(r[c]) for c in columns) for r in found) == sorted(expected)
        assert {int(r["frame"]) for r in found} == {t for t, rendered in enumerate(clip) if rendered.anomalous}
        assert all(0 <= x1 < x2 <= 192 and 0 <= y1 < y2 <= 128 for _, _, x1, y1, x2, y2 in expected)


def test_a_thing_in_the_air_is_a_region_of_the_kind_of_who_threw_it(tmp_path: Path) -> None:
    street = StreetSettings(size=(96, 64), training_clips=1, testing_clips=6, clip_frames=40, walkers=1)
    write_footage(street, tmp_path)
    tracks = [r for r in rows(tmp_path / "tracks.csv") if (r["clip"], r["anomalous"]) == ("06", "1")]
    regions = [r for r in rows(tmp_path / "regions.csv") if r["clip"] == "06"]
    assert {r["kind"] for r in tracks} == {"throwing", "thrown"}
    assert {r["kind"] for r in regions} == {"throwing"}
    assert len({r["track"] for r in regions}) == 2


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


@pytest.fixture(scope="module")
def situations() -> list[list[Rendered]]:
    """Clips 8 and 9: a walker on the road and one who loiters; a runner in a crowd and a bag left behind."""
    return [list(render_clip(LONG, "testing", index)) for index in (8, 9)]


def boxes_of(clip: list[Rendered], kind: str) -> dict[int, dict[int, tuple[bool, tuple[int, int, int, int]]]]:
    """Of each track of a kind: by frame, whether it is anomalous there, and its box."""
    found: dict[int, dict] = {}
    for t, rendered in enumerate(clip):
        for o in rendered.objects:
            if o.kind == kind:
                found.setdefault(o.track, {})[t] = (o.anomalous, o.box)
    return found


def test_situations_repeat_to_the_pixel(situations: list[list[Rendered]]) -> None:
    again = render_clip(LONG, "testing", 9)
    for one, other in zip(situations[1], again, strict=True):
        assert np.array_equal(one.image, other.image)
        assert np.array_equal(one.ids, other.ids)
        assert one.objects == other.objects


def test_who_stays_is_anomalous_once_no_one_else_would_still_be_there(situations: list[list[Rendered]]) -> None:
    [track] = boxes_of(situations[0], "loitering").values()
    labelled = [t for t, (anomalous, _) in track.items() if anomalous]
    assert len(labelled) > 20
    before = {t: (box[0] + box[2]) / 2 for t, (_, box) in track.items() if labelled[0] - LINGER + 8 <= t < labelled[0]}
    assert len(before) > LINGER / 2
    assert np.ptp(list(before.values())) < 4  # stands
    view = View(*LONG.size)
    during = [(box[0] + box[2]) / 2 for t, (_, box) in track.items() if t in labelled]
    assert np.ptp(during) < view.person(track[labelled[0]][1][3])  # stays, if with a few steps


def test_no_walker_pauses_for_so_long() -> None:
    longest = 0
    view = View(*LONG.size)
    for seed in range(40):
        street = LONG.model_copy(update={"clip_frames": 300, "walkers": 4})
        for actor in street_footage._normal_actors(np.random.default_rng(seed), street, view):
            still = 0
            for step in np.diff(actor.x[actor.x > -1e8]):
                still = still + 1 if abs(step) < 1e-6 else 0
                longest = max(longest, still)
    assert LINGER / 2 < longest < LINGER


def test_who_walks_on_the_road_is_anomalous_just_there_and_no_one_else_goes_there(
    situations: list[list[Rendered]],
) -> None:
    kerb = View(*LONG.size).kerb
    [track] = boxes_of(situations[0], "rare_place").values()
    # the ground point is between the feet, of which the nearer reaches below it
    assert all(box[3] > kerb - 2 for anomalous, box in track.values() if anomalous)
    assert all(box[3] < kerb + 6 for anomalous, box in track.values() if not anomalous)
    assert {anomalous for anomalous, _ in track.values()} == {True, False}
    others = [o for clip in situations for r in clip for o in r.objects if o.kind == "walker"]
    assert others
    assert all(o.box[3] < kerb + 3 for o in others)


def test_a_runner_overtakes_a_crowd_that_is_normal(situations: list[list[Rendered]]) -> None:
    [runner] = boxes_of(situations[1], "crowd_runner").values()
    run = [t for t, (anomalous, _) in runner.items() if anomalous]
    middle = situations[1][run[len(run) // 2]]
    walkers = [o for o in middle.objects if o.kind == "walker"]
    assert len(walkers) > LONG.walkers + 2
    assert not any(o.anomalous for o in walkers)

    def pace(boxes: dict[int, tuple[bool, tuple[int, int, int, int]]]) -> float:
        """Heights per frame, while the run lasts."""
        shown = [t for t in run if t in boxes]
        a, b = (boxes[t][1] for t in (shown[0], shown[-1]))
        return (a[0] + a[2] - b[0] - b[2]) / -2 / (shown[-1] - shown[0]) / (a[3] - a[1])

    tracks = boxes_of(situations[1], "walker")
    assert pace(runner) > 1.4 * max(pace(tracks[o.track]) for o in walkers if run[0] in tracks[o.track])


def test_a_bag_stays_where_it_was_put_after_its_owner_has_gone_on(situations: list[list[Rendered]]) -> None:
    owner, bag = boxes_of(situations[1], "left_behind").values()  # in the order in which they come into view
    doing = [t for t, (anomalous, _) in owner.items() if anomalous]
    assert all(anomalous for anomalous, _ in bag.values())
    assert min(bag) == doing[0]
    last = len(situations[1]) - 1
    assert last not in doing
    assert set(range(doing[-1], last)) <= set(bag)
    resting = np.array([bag[t][1] for t in range(doing[-1] + 1, last)])
    assert np.ptp((resting[:, 0] + resting[:, 2]) / 2) <= 4  # but for the shaken camera, and who passes before it
    assert owner[last][1][0] > bag[last][1][0] + 5


def brightness(index: int) -> np.ndarray:
    return np.array([r.image[:20].mean() for r in render_clip(LONG, "training", index)])


def test_lights_are_switched_in_some_training_clips_and_nothing_is_anomalous() -> None:
    steps = [np.abs(np.diff(np.log(brightness(index)))).max() for index in (0, 1)]
    assert steps[0] < 0.02
    assert steps[1] > 0.05
    assert not any(r.anomalous for r in render_clip(LONG, "training", 1))


def test_the_camera_shakes_in_some_clips_by_less_than_two_pixels_of_the_drawing() -> None:
    shifts = []
    for index in (0, 3):
        frames = [r.image[:40].mean(2) for r in render_clip(LONG, "training", index)]  # fronts, above the walkers
        shifts.append(max(np.hypot(*cv2.phaseCorrelate(frames[0], f)[0]) for f in frames))
    assert shifts[0] < 0.1
    assert 0.4 < shifts[1] < 2 * View(*LONG.size).unit


def test_a_shaken_picture_and_its_truth_move_together() -> None:
    """Whole pixels move a sprite unchanged; half of one moves its middle by half."""
    canvas = Canvas(30, 50, 40, (0.75, 1.2))
    figures.draw_person(canvas, figures.random_look(np.random.default_rng(0)), figures.Pose(phase=0.1, swing=0.3))
    sprite = canvas.sprite()

    def seen(sprite: Sprite) -> tuple[float, float, float]:
        frame = np.zeros((64, 64, 3), np.float32)
        part = lay(frame, sprite)
        assert part is not None
        weight = sprite.pixels[..., 3]
        y, x = np.mgrid[: weight.shape[0], : weight.shape[1]]
        inside = int(part[1].sum())
        return sprite.left + (x * weight).sum() / weight.sum(), sprite.top + (y * weight).sum() / weight.sum(), inside

    still, whole, half = (
        seen(sprite),
        seen(sprite.moved(np.array((2.0, -1.0)))),
        seen(sprite.moved(np.array((0.5, -0.5)))),
    )
    assert whole == pytest.approx((still[0] + 2, still[1] - 1, still[2]), abs=1e-3)
    assert half[:2] == pytest.approx((still[0] + 0.5, still[1] - 0.5), abs=0.02)


def test_a_crowd_passes_in_some_training_clips() -> None:
    most = [max(len(r.objects) for r in render_clip(LONG, "training", index)) for index in (0, 2)]
    assert most[1] >= most[0] + 3


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
