"""The embedded data set: footage of a street, rendered from a seed, with exact labels, masks and tracks.

Normal footage is people walking along the pavement from left to right at their own pace, some pausing, now and then
a crowd of them; in some clips a shop's lights go on or off, and in some the wind shakes the camera. Test clips add
anomalies of appearance at ordinary walking speed (a cyclist, a cart, a large animal), of motion in ordinary looks
(running, falling, throwing, the wrong way) and of situation, where looks and motion may be ordinary, but not here or
not for so long (loitering, a bag left behind, walking on the road, running amid a crowd).
"""

import csv
import io
import multiprocessing
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import av
import cv2
import h5py
import numpy as np

from vadlib.datasets.regions import COLUMNS, KIND
from vadlib.datasets.synthetic import figures
from vadlib.datasets.synthetic.street import Canvas, Scene, View, cast, lay, scene
from vadlib.io.files import write_text, written_aside, written_hdf5
from vadlib.settings import SPLITS, StreetSettings

APPEARANCE = ("cyclist", "cart", "animal")
MOTION = ("running", "falling", "throwing", "wrong_way")
SITUATION = ("loitering", "left_behind", "rare_place", "crowd_runner")
TRACK_COLUMNS = ("split", "clip", "track", "kind", "frame", "x1", "y1", "x2", "y2", "anomalous")

# Less of an object than this share of its own silhouette, inside the frame and not hidden, is not yet seen.
SEEN = 0.25

# Whoever has stood still for so many frames is loitering: no normal walker's pause is so long.
LINGER = 60

_WALK = 0.034  # ordinary walking speed, heights per frame: 1.4 m/s at 1.7 m and 25 frames/s
_GRAVITY = 0.0092  # heights per frame², in the same measures
_ABSENT = -1e9  # x of an actor who is not there, px
_CROWD = 6  # people


@dataclass(frozen=True)
class Object:
    """One object in one frame."""

    track: int  # from 1, constant through a clip
    kind: str  # walker, or what its track is there for: an anomaly's kind; or thrown, a thing in the air
    box: tuple[int, int, int, int]  # xyxy of its visible pixels, px; x2 and y2 are just outside
    anomalous: bool  # in this frame


@dataclass(frozen=True)
class Rendered:
    """One frame and its exact truth."""

    image: np.ndarray  # uint8 (H, W, 3), RGB
    ids: np.ndarray  # uint16 (H, W): track of the object seen at each pixel, 0 where there is none
    objects: tuple[Object, ...]  # those seen, by track

    @property
    def anomalous(self) -> bool:
        return any(o.anomalous for o in self.objects)


@dataclass(frozen=True)
class _Actor:
    """One figure's way through a clip; an array entry for each frame."""

    kind: str
    x: np.ndarray  # of the ground point, px
    y: np.ndarray
    anomalous: np.ndarray  # bool
    draw: Callable[[View, int], Canvas]


@dataclass(frozen=True)
class _Lights:
    glow: np.ndarray  # float32 (H, W, 3): by what share they make each pixel brighter
    on: np.ndarray  # float32 (frames,): 0 or 1


def clip_name(index: int) -> str:
    """Clips are named from "01"."""
    return f"{index + 1:02d}"


def render_clip(street: StreetSettings, split: str, index: int) -> Iterator[Rendered]:
    """Yield the frames of one clip of a street; `index` counts from 0 in its split.

    The clip depends on nothing but the settings, the split and the index.
    """
    rng = np.random.default_rng([street.seed, 1 + SPLITS.index(split), index])
    place = scene(street.seed, street.size)
    frames = street.clip_frames
    actors = _normal_actors(rng, street, place.view)
    if split == "testing":
        actors += _anomalous_actors(rng, street, place.view, index)
    elif index % 4 == 2:
        when = round(frames * float(rng.uniform(0.3, 0.7)))
        actors += _crowd(rng, place.view, frames, when, float(rng.uniform(0.4, 0.6)) * place.view.width)
    # What disturbs, and is normal, comes by turns that have each of them in some clips of either split.
    light = _light(rng, frames)
    shop = _shop_lights(rng, place.view, frames) if index % 3 == 1 else None
    sway = _sway(rng, place.view, frames) if index % 2 else np.zeros((frames, 2))
    for t in range(frames):
        lit = light[t] if shop is None else light[t] * (1 + shop.on[t] * shop.glow)
        yield _render(rng, place, actors, t, lit, sway[t])


def _light(rng: np.random.Generator, frames: int) -> np.ndarray:
    """Slow drift of the light: float32 (frames, 3), a factor for each of RGB."""
    t = np.arange(frames)[:, None]
    clouds = sum(a * np.sin(2 * np.pi * (t / rng.uniform(180, 420) + rng.uniform())) for a in (0.035, 0.02))
    warmth = rng.normal(0, 0.012) * np.array((1, 0, -1.2))
    return (rng.uniform(0.94, 1.04) * (1 + clouds) * (1 + warmth)).astype(np.float32)


def _shop_lights(rng: np.random.Generator, view: View, frames: int) -> _Lights:
    """A shop's lights that are switched on or off, once or twice."""
    yy, xx = np.mgrid[0 : view.height, 0 : view.width]
    across = (xx - float(rng.uniform(0.25, 0.75)) * view.width) / (0.4 * view.width)
    down = (yy - view.wall) / (0.6 * view.height)
    pool = 0.25 + 0.75 * np.exp(-(across**2) - down**2)
    glow = float(rng.uniform(0.25, 0.4)) * pool[..., None] * np.array((1.0, 0.93, 0.8))
    first = round(frames * float(rng.uniform(0.2, 0.6)))
    again = first + round(frames * float(rng.uniform(0.15, 0.35))) if rng.random() < 0.5 else frames
    t = np.arange(frames)
    switched = (t >= first) & (t < again)
    return _Lights(glow.astype(np.float32), (switched ^ (rng.random() < 0.5)).astype(np.float32))


def _sway(rng: np.random.Generator, view: View, frames: int) -> np.ndarray:
    """A gust that shakes the camera: float64 (frames, 2), how far the picture is moved right and down, px; below 2
    in the drawing's own grid."""
    t = np.arange(frames)[:, None]
    length = frames * float(rng.uniform(0.25, 0.4))
    middle = frames * float(rng.uniform(0.2, 0.8))
    gust = np.clip(1.5 * np.cos(np.clip((t - middle) / length, -0.5, 0.5) * np.pi), 0, 1)
    waves = sum(a * np.sin(2 * np.pi * (t / rng.uniform(5, 13, 2) + rng.uniform(size=2))) for a in (1.1, 0.7))
    return view.unit * gust * waves * (1.0, 0.6)


def _render(
    rng: np.random.Generator, place: Scene, actors: list[_Actor], t: int, light: np.ndarray, sway: np.ndarray
) -> Rendered:
    view = place.view
    frame, standing = place.background.copy(), place.standing
    if sway.any():
        # the drawing itself is moved, so that what is seen at each pixel is as exact as in a still picture
        matrix = np.column_stack((np.eye(2), sway))
        cv2.warpAffine(
            place.background, matrix, (view.width, view.height), frame, cv2.INTER_LINEAR, cv2.BORDER_REPLICATE
        )
        standing = tuple(sprite.moved(sway) for sprite in standing)
    ids = np.zeros(frame.shape[:2], np.uint16)
    drawn = []
    for number, actor in enumerate(actors, start=1):
        if -1.2 * view.height < actor.x[t] < view.width + 1.2 * view.height:
            sprite = actor.draw(view, t).sprite()
            drawn.append((number, sprite.moved(sway) if sway.any() else sprite))
    for _, sprite in drawn:
        cast(frame, sprite, 0.38, view.unit)
    whole = {}
    for number, sprite in sorted([*drawn, *((0, s) for s in standing)], key=lambda d: d[1].y):
        part = lay(frame, sprite)
        if part is not None:
            ids[part[0]][part[1]] = number
            whole[number] = int((sprite.pixels[..., 3] > 127.5).sum())
    objects = []
    for number, _ in drawn:
        if number not in whole:
            continue
        mine = ids == number
        seen = int(mine.sum())
        if seen and seen >= SEEN * whole[number]:
            rows, columns = np.flatnonzero(mine.any(1)), np.flatnonzero(mine.any(0))
            box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
            actor = actors[number - 1]
            objects.append(Object(number, actor.kind, box, bool(actor.anomalous[t])))
    grain = rng.standard_normal(frame.shape[:2], dtype=np.float32)[..., None]
    image = np.clip(frame * light + 2.2 * grain, 0, 255).round().astype(np.uint8)
    return Rendered(image, ids, tuple(objects))


def _swing(speed: np.ndarray) -> np.ndarray:
    """How far the legs swing at a walking speed in heights per frame, radians."""
    return 0.55 * (1 - np.exp(-np.abs(speed) / 0.02))


def _advance(view: View, y: np.ndarray, speed: np.ndarray) -> np.ndarray:
    """x in px from signed speeds in heights per frame, from 0 on."""
    step = speed * np.array([view.person(v) for v in y])
    return np.concatenate(([0.0], np.cumsum(step)[:-1]))


def _smooth(values: np.ndarray, width: int) -> np.ndarray:
    """Running mean, so that no pace changes at once."""
    padded = np.pad(values, (width // 2, width - 1 - width // 2), mode="edge")
    return np.convolve(padded, np.ones(width) / width, mode="valid")


def _person(rng: np.random.Generator, view: View, kind: str, speed: np.ndarray, y: np.ndarray, x: np.ndarray,
            anomalous: np.ndarray, look: figures.Look | None = None, **pose: np.ndarray) -> _Actor:  # fmt: skip
    """Someone on foot: `speed` is signed, heights per frame; `pose` overrides fields of figures.Pose."""
    look = look or figures.random_look(rng)
    run = pose.get("run", np.zeros(len(speed)))
    swing = np.maximum(_swing(speed) + 0.3 * run, 0.4 * pose.get("fall", run))  # the fallen kick to get up
    # Feet stay where they touch the ground: a cycle is two steps, each twice the reach of a leg.
    cycle = 4 * 0.47 * np.sin(np.maximum(swing, 0.05)) * look.height * (1 + 0.35 * run)
    pace = np.maximum(np.abs(speed), 0.05 * pose.get("fall", np.zeros(len(speed))))
    phase = rng.uniform() + np.cumsum(pace / cycle)
    turn = _smooth(np.where(speed < 0, -1.0, 1.0), 7)
    turn = np.where(np.abs(turn) < 0.25, np.where(turn < 0, -0.25, 0.25), turn)

    def draw(view: View, t: int) -> Canvas:
        scale = view.person(float(y[t])) * look.height
        canvas = Canvas(float(x[t]), float(y[t]), scale, (1.15 if "fall" in pose else 0.75, 1.2), float(turn[t]))
        chosen = {k: float(v[t]) for k, v in pose.items() if not np.isnan(v[t])}
        figures.draw_person(canvas, look, figures.Pose(float(phase[t]), float(swing[t]), **chosen))
        return canvas

    return _Actor(kind, x, y, anomalous, draw)


def _normal_actors(rng: np.random.Generator, street: StreetSettings, view: View) -> list[_Actor]:
    """Walkers from left to right. Each keeps to its lane, and is followed by another once it is gone."""
    frames, actors = street.clip_frames, []
    for lane in range(street.walkers):
        start, first = 0, True
        while start < frames:
            y0 = view.row((lane + float(rng.uniform(0.1, 0.9))) / street.walkers)
            person = view.person(y0)
            y = y0 + float(rng.uniform(-0.05, 0.05)) * view.unit * np.arange(frames)
            y = np.clip(y, view.row(0.0), view.row(1.0))
            pace = _WALK * float(rng.uniform(0.6, 1.35))
            speed = pace * (1 + _smooth(rng.normal(0, 0.35, frames), 25))
            if rng.random() < 0.2:  # a pause to look at a window
                stop = int(rng.integers(0, frames))
                speed[stop : stop + int(rng.integers(20, 60))] = 0
                speed = _smooth(speed, 9)
            x = _advance(view, y, speed)
            if first:
                x += float(rng.uniform(-0.1, 0.95)) * view.width
            else:
                x += -0.4 * person - x[start]
            gone = np.flatnonzero((x > view.width + 0.5 * person) & (np.arange(frames) >= start))
            x[:start] = _ABSENT
            actors.append(_person(rng, view, "walker", speed, y, x, np.zeros(frames, bool)))
            start = int(gone[0]) + int(rng.integers(1, 25)) if len(gone) else frames
            first = False
    return actors


def _crowd(rng: np.random.Generator, view: View, frames: int, when: int, where: float) -> list[_Actor]:
    """People who walk together, from left to right; in frame `when` their middle is at x = `where`, px."""
    pace = _WALK * float(rng.uniform(0.85, 1.1))
    actors = []
    for number, place in enumerate(rng.permutation(_CROWD)):
        y = np.full(frames, view.row((number + float(rng.uniform(0.1, 0.9))) / _CROWD))
        speed = pace * float(rng.uniform(0.93, 1.07)) * (1 + _smooth(rng.normal(0, 0.25, frames), 25))
        x = _advance(view, y, speed)
        # side by side as well as behind each other, so that most of each is seen
        x += where + 0.6 * ((place + float(rng.uniform(0.2, 0.8))) / _CROWD - 0.5) * view.width - x[when]
        actors.append(_person(rng, view, "walker", speed, y, x, np.zeros(frames, bool)))
    return actors


def _anomalous_actors(rng: np.random.Generator, street: StreetSettings, view: View, index: int) -> list[_Actor]:
    """The anomalies of a test clip: two of different sorts, or only one where the clip is short.

    Kinds follow each other from clip to clip, so that each has its turn. Situations, which take their time, have four
    clips after every eight, of long ones only.
    """
    frames = street.clip_frames
    slots = 2 if frames >= 100 else 1
    room = frames // slots
    if slots == 2 and index % 12 >= 8:
        length = round(room * float(rng.uniform(0.6, 0.75)))
        start = round((room - length) * float(rng.uniform(0.4, 0.8)))
        if index % 2 == 0:
            return [*_rare_place(rng, view, frames, start, length), *_loitering(rng, view, frames)]
        length = round(0.75 * length)
        [runner] = _behaviour(rng, view, frames, "crowd_runner", start, length)
        when = start + length // 2
        crowd = _crowd(rng, view, frames, when, float(runner.x[when]))
        put_down = room + round(room * float(rng.uniform(0.2, 0.35)))
        return [runner, *crowd, *_left_behind(rng, view, frames, put_down)]
    turn = index if slots == 2 else index // 2
    actors: list[_Actor] = []
    for slot in range(slots):
        if (index + slot) % 2 == 0:
            kind = APPEARANCE[turn % len(APPEARANCE)]
            length = round(room * float(rng.uniform(0.6, 0.75)))
            actors.append(_intruder(rng, view, frames, kind, length, leaves=slot == 0))
        else:
            kind = MOTION[turn % len(MOTION)]
            length = max(12, round(room * float(rng.uniform(0.42, 0.56))))
            start = slot * room + round((room - length) * float(rng.uniform(0.3, 0.7)))
            actors += _behaviour(rng, view, frames, kind, start, length)
    return actors


def _intruder(rng: np.random.Generator, view: View, frames: int, kind: str, length: int, leaves: bool) -> _Actor:
    """A cyclist, a cart or a cow at walking pace: there from the start and leaving, or coming in at the end."""
    y0 = view.row(float(rng.uniform(0.45, 0.95)))
    person = view.person(y0)
    y = np.full(frames, y0)
    speed = _WALK * float(rng.uniform(0.8, 1.2)) * (1 + _smooth(rng.normal(0, 0.2, frames), 25))
    x = _advance(view, y, speed)
    half = 0.75 * person
    x += view.width + half - x[length] if leaves else -half - x[frames - 1 - length]
    travelled = np.cumsum(speed)
    swing = _swing(speed)
    phase = rng.uniform() + np.cumsum(speed / (4 * 0.47 * np.sin(swing)))
    look = figures.random_look(rng)

    def draw(view: View, t: int) -> Canvas:
        canvas = Canvas(float(x[t]), y0, person, (1.1, 1.5))
        if kind == "cyclist":
            figures.draw_cyclist(canvas, look, float(travelled[t]))
        elif kind == "cart":
            pose = figures.Pose(float(phase[t]), float(swing[t]))
            figures.draw_cart(canvas, look, pose, float(travelled[t]))
        else:
            figures.draw_cow(canvas, float(phase[t]))
        return canvas

    return _Actor(kind, x, y, np.ones(frames, bool), draw)


def _behaviour(rng: np.random.Generator, view: View, frames: int, kind: str, start: int, length: int) -> list[_Actor]:
    """A walker who runs, falls, throws or turns back for `length` frames from `start`, and then walks on."""
    stop = start + length
    during = np.zeros(frames, bool)
    during[start:stop] = True
    y0 = view.row(float(rng.uniform(0.5, 0.95)))
    y = np.full(frames, y0)
    person = view.person(y0)
    speed = np.full(frames, _WALK * float(rng.uniform(0.8, 1.2)))
    t = np.arange(frames)
    pose: dict[str, np.ndarray] = {}
    others: list[_Actor] = []
    middle = float(rng.uniform(0.4, 0.6)) * view.width
    if kind in ("running", "crowd_runner"):
        run = _smooth(during.astype(float), 5)
        speed = speed * (1 - run) + _WALK * float(rng.uniform(2.2, 2.7)) * run
        pose["run"] = run
    elif kind == "wrong_way":
        speed[start:stop] *= -1
    elif kind == "falling":
        down = np.clip((t - start) / (0.3 * length), 0, 1) ** 1.5
        up = np.clip((stop - t) / (0.4 * length), 0, 1)
        pose["fall"] = np.minimum(down, up)
        speed = speed * np.clip(1 - 4 * pose["fall"], 0, 1)
        speed[round(start + 0.3 * length) : stop] = 0
    else:  # throwing: a bag into the air, and catching it
        speed = _smooth(np.where((t > start - 8) & (t < stop + 4), 0.0, speed), 7)
        swing_back = max(3, round(0.25 * length))
        flight = length - swing_back - max(2, round(0.15 * length))
        up = start + swing_back
        reach = np.interp(
            t,
            (start - 6, start, start + 0.6 * swing_back, up, up + flight, stop, stop + 4),
            (0.3, 0.5, -0.5, 2.3, 2.3, 0.6, 0.3),
        )
        pose["reach"] = np.where((t < start - 6) | (t > stop + 4), np.nan, reach)
    x = _advance(view, y, speed)
    x += middle - x[(start + stop) // 2]
    look = figures.random_look(rng)
    actor = _person(rng, view, kind, speed, y, x, during, look, **pose)
    if kind == "throwing":
        hands = np.array([figures.hand(v) for v in reach])
        since = np.clip(t - up, 0, flight)
        height = hands[:, 1] + np.where(during, 0.5 * _GRAVITY * since * (flight - since), 0)
        spin = np.where(t < up, 0.0, 0.35 * since)
        colour = figures.random_look(rng).bag_colour

        def draw(view: View, t: int) -> Canvas:
            across = float(x[t]) + hands[t, 0] * person * look.height
            # a hair nearer than who throws it, so that it is not hidden behind the arm
            canvas = Canvas(across, y0 + 0.01, person * look.height, (0.4, 2.2))
            canvas.lift = float(height[t])
            figures.draw_bag(canvas, colour, float(spin[t]))
            return canvas

        # The bag comes out to be thrown, and is put away: before and after, its owner is a walker like any other.
        others.append(_Actor("thrown", np.where(during, x, _ABSENT), y, during, draw))
    return [actor, *others]


def _rare_place(rng: np.random.Generator, view: View, frames: int, start: int, length: int) -> list[_Actor]:
    """A walker who steps off the kerb and goes along the road, where nobody else goes, and back: anomalous while the
    feet are on the road."""
    t = np.arange(frames)
    step = 0.3 * length
    aside = np.clip(np.minimum(t - start, start + length - t) / step, 0, 1)
    pavement, road = view.row(float(rng.uniform(0.85, 0.95))), view.kerb + float(rng.uniform(12, 20)) * view.unit
    y = pavement + (road - pavement) * (3 - 2 * aside) * aside**2
    speed = np.full(frames, _WALK * float(rng.uniform(0.8, 1.1)))
    x = _advance(view, y, speed)
    x += float(rng.uniform(0.4, 0.6)) * view.width - x[start + length // 2]
    return [_person(rng, view, "rare_place", speed, y, x, y > view.kerb)]


def _loitering(rng: np.random.Generator, view: View, frames: int) -> list[_Actor]:
    """A walker who stops and stays, after a while with a few steps to and fro: anomalous from when no one else would
    still be there until the walk goes on."""
    came = round(frames * float(rng.uniform(0.02, 0.08)))
    left = frames - round(frames * float(rng.uniform(0.05, 0.1)))
    y = np.full(frames, view.row(float(rng.uniform(0.55, 0.95))))
    speed = np.full(frames, _WALK * float(rng.uniform(0.8, 1.2)))
    speed[came:left] = 0
    t, way = came + LINGER, -1.0
    while t < left:
        steps, rest = int(rng.integers(8, 14)), int(rng.integers(10, 22))
        speed[t : min(left, t + steps)] = way * 0.4 * _WALK
        speed[t + steps : min(left, t + steps + rest)] = way * 1e-6  # looking that way
        t, way = t + steps + rest, -way
    speed = _smooth(speed, 5)
    x = _advance(view, y, speed)
    x += float(rng.uniform(0.3, 0.7)) * view.width - x[came]
    t = np.arange(frames)
    return [_person(rng, view, "loitering", speed, y, x, (t >= came + LINGER) & (t < left))]


def _left_behind(rng: np.random.Generator, view: View, frames: int, start: int) -> list[_Actor]:
    """A walker who turns round, puts a bag down from frame `start` on, and walks on without it.

    Two tracks: who puts it down is anomalous while doing so, the bag from then to the clip's end.
    """
    t = np.arange(frames)
    down, up = start + 14, start + 24  # it stands; its owner does
    y0 = view.row(float(rng.uniform(0.55, 0.9)))
    y = np.full(frames, y0)
    during = (t >= start) & (t < up)
    # the sign of no speed at all says which way they face: away from where they are going
    speed = _smooth(np.where((t >= start - 4) & (t < up), -1e-6, _WALK * float(rng.uniform(1.0, 1.3))), 7)
    crouch = np.interp(t, (start, down - 2, down + 1, up), (0.0, 1.0, 1.0, 0.0))
    reach = np.where(during, np.interp(t, (start, down, up), (0.3, 0.75, 0.1)), np.nan)
    x = _advance(view, y, speed)
    x += float(rng.uniform(0.35, 0.6)) * view.width - x[start]
    look = replace(figures.random_look(rng), bag="tote")
    empty = (t >= down).astype(float)
    owner = _person(rng, view, "left_behind", speed, y, x, during, look, crouch=crouch, reach=reach, empty=empty)
    person = view.person(y0) * look.height
    aside = np.interp(t, (start, down), (0.1, 0.38)) * person
    across, height = x[np.minimum(t, down)] - aside, np.interp(t, (start, down), (0.38, 0.12))

    def draw(view: View, t: int) -> Canvas:
        # a hair nearer than its owner, so that it is not hidden behind the arm
        canvas = Canvas(float(across[t]), y0 + 0.01, person, (0.4, 0.8))
        canvas.lift = float(height[t])
        figures.draw_bag(canvas, look.bag_colour, 0.0)
        return canvas

    there = t >= start
    return [owner, _Actor("left_behind", np.where(there, across, _ABSENT), y, there, draw)]


def write_footage(street: StreetSettings, folder: Path, workers: int = 1) -> None:
    """Render a street's data set into a folder, `workers` clips at a time.

    Leaves `training/01.mp4`, `testing/01.mp4` and so on; `labels.csv` (clip, first, last: spans of anomalous
    frames of the testing clips, from 0, both ends included); `regions.csv` (the boxes of what is anomalous, in exactly
    those frames, and which kind of anomaly each is of); `tracks.csv` (TRACK_COLUMNS; boxes as in Object);
    and `masks/01.h5` for each testing clip, whose `ids` is uint16 (frames, H, W): the track of the anomalous
    object seen at each pixel, else 0. Same settings, same bytes, whatever `workers` is.
    Raises VadError where the disk is full.
    """
    counts = {"training": street.training_clips, "testing": street.testing_clips}
    jobs = [(street, folder, split, i) for split in SPLITS for i in range(counts[split])]
    if workers > 1:
        with multiprocessing.get_context("spawn").Pool(min(workers, len(jobs))) as pool:
            clips = pool.starmap(_write_clip, jobs, chunksize=1)
    else:
        clips = [_write_clip(*job) for job in jobs]
    tracks, labels, anomalous = [], [], []
    for (_, _, split, index), (rows, spans) in zip(jobs, clips, strict=True):
        tracks += [(split, clip_name(index), *row) for row in rows]
        if split == "testing":
            labels += [(clip_name(index), first, last) for first, last in spans]
            anomalous += [
                (clip_name(index), t, track, *box, "throwing" if kind == "thrown" else kind)
                for track, kind, t, *box, odd in rows
                if odd
            ]
    write_text(folder / "tracks.csv", _csv(TRACK_COLUMNS, tracks))
    write_text(folder / "regions.csv", _csv((*COLUMNS, KIND), anomalous))
    write_text(folder / "labels.csv", _csv(("clip", "first", "last"), labels))


def _csv(columns: tuple[str, ...], rows: list[tuple]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()


def _write_clip(
    street: StreetSettings, folder: Path, split: str, index: int
) -> tuple[list[tuple], list[tuple[int, int]]]:
    """Write one clip's video and masks; return its rows of the track table and its anomalous spans."""
    cv2.setNumThreads(1)  # clips are the unit of parallel work
    rows: list[tuple] = []
    flags: list[bool] = []
    width, height = street.size

    def frames() -> Iterator[Rendered]:
        for t, rendered in enumerate(render_clip(street, split, index)):
            rows.extend((o.track, o.kind, t, *o.box, int(o.anomalous)) for o in rendered.objects)
            flags.append(rendered.anomalous)
            yield rendered

    name = clip_name(index)
    with written_aside(folder / split / f"{name}.mp4") as aside:
        if split == "testing":
            with written_hdf5(folder / "masks" / f"{name}.h5") as file:
                shape = (street.clip_frames, height, width)
                ids = file.create_dataset("ids", shape, np.uint16, chunks=(1, height, width), compression="gzip")
                _encode(aside, street, _with_masks(frames(), ids))
        else:
            _encode(aside, street, frames())
    edges = np.flatnonzero(np.diff(np.concatenate(([0], np.array(flags, int), [0]))))
    spans = [(int(a), int(b) - 1) for a, b in zip(edges[::2], edges[1::2], strict=True)]
    return rows, spans


def _with_masks(frames: Iterator[Rendered], ids: h5py.Dataset) -> Iterator[Rendered]:
    for t, rendered in enumerate(frames):
        anomalous = [o.track for o in rendered.objects if o.anomalous]
        if anomalous:  # chunks never written read as 0
            ids[t] = np.where(np.isin(rendered.ids, anomalous), rendered.ids, 0)
        yield rendered


def _encode(path: Path, street: StreetSettings, frames: Iterator[Rendered]) -> None:
    """H.264 in an MP4 file that holds no date and no version, so that its bytes repeat."""
    with av.open(str(path), "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libx264", rate=street.fps)
        stream.width, stream.height = street.size
        stream.pix_fmt = "yuv420p"
        # One thread: x264 decides otherwise with more. And nothing decided by looking ahead (`zerolatency`): with
        # B-frames its macroblock tree is not the same from run to run, even with one thread.
        stream.options = {"crf": "14", "preset": "veryfast", "tune": "zerolatency", "threads": "1"}
        for rendered in frames:
            frame = av.VideoFrame.from_ndarray(rendered.image, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
