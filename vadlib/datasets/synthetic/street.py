"""The embedded street as it stands: its perspective, its pavement and fronts, and what stands on it.

Nothing here moves. Lengths without a unit are in heights of an ordinary person, who is as tall as
`View.person(y)` pixels where the feet touch the ground at row y.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

OVERSAMPLE = 4  # drawn this much larger, then averaged down: smooth edges, sub-pixel motion
_SHIFT = 4  # OpenCV's fixed point: coordinates in 1/16 of an oversampled pixel

Colour = tuple[int, int, int]
Point = tuple[float, float]


@dataclass(frozen=True)
class View:
    """The camera: a level one, so that size on the image is linear in the row of the feet."""

    width: int  # px
    height: int  # px

    @property
    def unit(self) -> float:
        """Pixels of the drawing's own 224-row grid."""
        return self.height / 224

    @property
    def horizon(self) -> float:
        return 44 * self.unit

    @property
    def wall(self) -> float:
        """Row where the fronts meet the pavement."""
        return 98 * self.unit

    @property
    def kerb(self) -> float:
        """Row where the pavement meets the road."""
        return 196 * self.unit

    def person(self, y: float) -> float:
        """Height in px of an ordinary person whose feet are at row y."""
        return 0.5 * (y - self.horizon)

    def row(self, depth: float) -> float:
        """Row of the feet at a depth of the pavement: 0 along the fronts, 1 at the kerb."""
        far = self.wall + 10 * self.unit
        return far + depth * (self.kerb - 4 * self.unit - far)


@dataclass(frozen=True)
class Sprite:
    """A drawing to lay over a frame: float32 (h, w, 4), RGB premultiplied by alpha, all 0..255."""

    pixels: np.ndarray
    left: int  # px, may be outside the frame
    top: int
    x: float  # where it stands on the ground, px
    y: float

    def moved(self, by: np.ndarray) -> "Sprite":
        """The sprite `by` (x, y) px further; parts of a pixel count too."""
        (right, down), (dx, dy) = np.floor(by).astype(int).tolist(), (by % 1).tolist()
        h, w = self.pixels.shape[:2]
        matrix = np.array([[1, 0, dx], [0, 1, dy]])
        pixels = cv2.warpAffine(self.pixels, matrix, (w + 1, h + 1), flags=cv2.INTER_LINEAR)
        return Sprite(pixels, self.left + right, self.top + down, self.x + by[0], self.y + by[1])


def shade(colour: Sequence[float], factor: float) -> Colour:
    """A colour made darker (below 1) or lighter (above 1)."""
    r, g, b = (int(min(255, max(0, round(c * factor)))) for c in colour)
    return r, g, b


class Canvas:
    """A drawing around a point on the ground: x ahead, y up, in units of `scale` pixels.

    `turn` squeezes and mirrors x (1 faces right, -1 left); `roll` turns everything forward around the
    ground point, in radians.
    """

    def __init__(self, x: float, y: float, scale: float, reach: tuple[float, float], turn: float = 1.0):
        across, up = reach  # how far the drawing goes to either side, and up, in units
        self.x, self.y, self.scale, self.turn, self.roll, self.lift = x, y, scale, turn, 0.0, 0.0
        self.left = int(np.floor(x - across * scale)) - 1
        self.top = int(np.floor(y - up * scale)) - 1
        width = int(np.ceil(x + across * scale)) + 2 - self.left
        height = int(np.ceil(y + 0.12 * scale)) + 2 - self.top
        self.image = np.zeros((height * OVERSAMPLE, width * OVERSAMPLE, 4), np.uint8)

    def _place(self, points: Sequence[Point]) -> np.ndarray:
        p = np.asarray(points, np.float64).reshape(-1, 2)
        if self.roll:
            c, s = np.cos(self.roll), np.sin(self.roll)
            p = np.stack((c * p[:, 0] + s * p[:, 1], c * p[:, 1] - s * p[:, 0]), 1)
        px = self.x + p[:, 0] * self.turn * self.scale - self.left
        py = self.y - (p[:, 1] + self.lift) * self.scale - self.top
        return np.rint(np.stack((px, py), 1) * (OVERSAMPLE << _SHIFT)).astype(np.int32)

    def _length(self, length: float) -> int:
        return max(1, round(length * self.scale * (OVERSAMPLE << _SHIFT)))

    def poly(self, points: Sequence[Point], colour: Colour) -> None:
        cv2.fillPoly(self.image, [self._place(points)], (*colour, 255), shift=_SHIFT)

    def disc(self, centre: Point, radius: float, colour: Colour) -> None:
        cx, cy = self._place([centre])[0].tolist()
        cv2.circle(self.image, (cx, cy), self._length(radius), (*colour, 255), -1, shift=_SHIFT)

    def oval(self, centre: Point, radii: Point, colour: Colour, tilt: float = 0.0) -> None:
        a = np.linspace(0, 2 * np.pi, 28, endpoint=False)
        u, v = radii[0] * np.cos(a), radii[1] * np.sin(a)
        c, s = np.cos(tilt), np.sin(tilt)
        self.poly(np.stack((centre[0] + c * u - s * v, centre[1] + s * u + c * v), 1), colour)

    def limb(self, start: Point, end: Point, r0: float, r1: float, colour: Colour) -> None:
        """A rounded stroke from `start` to `end`, its radius going from r0 to r1."""
        a, b = np.asarray(start, float), np.asarray(end, float)
        length = float(np.hypot(*(b - a)))
        if length > 1e-6:
            n = np.array((a[1] - b[1], b[0] - a[0])) / length
            self.poly((a + r0 * n, b + r1 * n, b - r1 * n, a - r0 * n), colour)
        self.disc(start, r0, colour)
        self.disc(end, r1, colour)

    def line(self, start: Point, end: Point, width: float, colour: Colour) -> None:
        a, b = self._place([start, end]).tolist()
        thick = max(1, round(width * self.scale * OVERSAMPLE))
        cv2.line(self.image, a, b, (*colour, 255), thick, shift=_SHIFT)

    def ring(self, centre: Point, radius: float, width: float, colour: Colour) -> None:
        cx, cy = self._place([centre])[0].tolist()
        thick = max(1, round(width * self.scale * OVERSAMPLE))
        cv2.circle(self.image, (cx, cy), self._length(radius), (*colour, 255), thick, shift=_SHIFT)

    def sprite(self) -> Sprite:
        h, w = self.image.shape[0] // OVERSAMPLE, self.image.shape[1] // OVERSAMPLE
        small = cv2.resize(self.image, (w, h), interpolation=cv2.INTER_AREA).astype(np.float32)
        return Sprite(small, self.left, self.top, self.x, self.y)


def lay(frame: np.ndarray, sprite: Sprite) -> tuple[tuple[slice, slice], np.ndarray] | None:
    """Lay a sprite over a float32 (H, W, 3) frame, in place.

    Returns the part of the frame it lies on and, bool, where it is the thing seen; None where it is outside.
    """
    height, width = frame.shape[:2]
    h, w = sprite.pixels.shape[:2]
    x1, y1 = max(0, sprite.left), max(0, sprite.top)
    x2, y2 = min(width, sprite.left + w), min(height, sprite.top + h)
    if x1 >= x2 or y1 >= y2:
        return None
    part = sprite.pixels[y1 - sprite.top : y2 - sprite.top, x1 - sprite.left : x2 - sprite.left]
    alpha = part[..., 3:]
    under = frame[y1:y2, x1:x2]
    under *= 1 - alpha / 255
    under += part[..., :3]
    return (slice(y1, y2), slice(x1, x2)), alpha[..., 0] > 127.5


def cast(frame: np.ndarray, sprite: Sprite, strength: float, unit: float) -> None:
    """Darken the ground of a float32 (H, W, 3) frame, in place, by a sprite's soft shadow.

    The sun stands behind the fronts to the left: a point at height h above the ground falls 0.6 h to the
    right and 0.22 h towards the camera.
    """
    height, width = frame.shape[:2]
    alpha = sprite.pixels[..., 3]
    h, w = alpha.shape
    right, down = 0.6, 0.22
    foot = sprite.y - sprite.top  # the ground's row inside the sprite
    margin = 3
    out_w, out_h = int(w + right * h) + 2 * margin, int(down * h) + 2 * margin + 2
    left, top = sprite.left - margin - int(right * max(0.0, h - foot)), int(np.floor(sprite.y)) - margin
    matrix = np.array(
        [[1, -right, right * foot + sprite.left - left], [0, -down, sprite.y - top + down * foot]], np.float64
    )
    soft = cv2.warpAffine(alpha, matrix, (out_w, out_h), flags=cv2.INTER_LINEAR)
    soft = cv2.GaussianBlur(soft, (0, 0), max(0.6, 1.3 * unit))
    x1, y1, x2, y2 = max(0, left), max(0, top), min(width, left + out_w), min(height, top + out_h)
    if x1 < x2 and y1 < y2:
        frame[y1:y2, x1:x2] *= 1 - (strength / 255) * soft[y1 - top : y2 - top, x1 - left : x2 - left, None]


@dataclass(frozen=True)
class Scene:
    """A street without anyone in it."""

    view: View
    background: np.ndarray  # float32 (H, W, 3), RGB 0..255
    standing: tuple[Sprite, ...]  # what can hide a walker, far to near


def scene(seed: int, size: tuple[int, int]) -> Scene:
    """The street of a seed, the same in all clips of a data set. `size` is width and height, px."""
    rng = np.random.default_rng([seed, 0])
    view = View(*size)
    large = _ground(rng, view, OVERSAMPLE)
    _fronts(rng, view, large, OVERSAMPLE)
    background = cv2.resize(large, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    background += 5 * _texture(rng, view.height, view.width)[..., None]
    yy, xx = np.mgrid[0 : view.height, 0 : view.width]
    off = ((xx / view.width - 0.5) ** 2 + (yy / view.height - 0.55) ** 2)[..., None]
    background *= (1.05 - 0.28 * off).astype(np.float32)  # the lens is darker towards its corners
    standing = tuple(sorted(_standing(rng, view), key=lambda s: s.y))
    for sprite in standing:
        cast(background, sprite, 0.38, view.unit)
    return Scene(view, background, standing)


def _texture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Grain and stains: float32 (height, width), zero mean, about unit variance."""
    total = np.zeros((height, width), np.float32)
    for cell, weight in ((1, 0.55), (3, 0.5), (9, 0.45), (30, 0.5)):
        coarse = rng.standard_normal((height // cell + 2, width // cell + 2), dtype=np.float32)
        total += weight * cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return total


def _ground(rng: np.random.Generator, view: View, k: int) -> np.ndarray:
    """Pavement slabs, kerb and road in perspective: uint8 (k H, k W, 3)."""
    rows = (np.arange(view.height * k, dtype=np.float32) + 0.5) / k
    columns = (np.arange(view.width * k, dtype=np.float32) + 0.5) / k
    below = np.maximum(rows - view.horizon, 1.0) / view.unit
    depth = 1500.0 / below[:, None]  # in slabs
    across = (columns[None] - view.width / 2) / view.unit / below[:, None] * 6.0
    course = np.floor(depth).astype(int)
    shifted = across + 0.5 * (course % 2)
    tint = rng.normal(0, 6, (64, 64)).astype(np.float32)[course % 64, np.floor(shifted).astype(int) % 64]
    # a joint is as wide on the ground everywhere, so its width in slabs follows the perspective
    edge_x = np.minimum(shifted % 1, 1 - shifted % 1)
    edge_y = np.minimum(depth % 1, 1 - depth % 1)
    joint = np.clip(1 - edge_x / 0.035, 0, 1) + np.clip(1 - edge_y / 0.06, 0, 1) * np.clip(below / 80, 0, 1)[:, None]
    base = np.array(((186, 176, 160), (176, 174, 170), (190, 170, 152))[rng.integers(3)], np.float32)
    image = base[None, None] + tint[..., None] - 30 * np.clip(joint, 0, 1)[..., None]
    road = rows > view.kerb + 4 * view.unit
    asphalt = np.array((104, 105, 110), np.float32) + rng.normal(0, 7, (*rows.shape, *columns.shape, 1))
    image[road] = asphalt[road].astype(np.float32)
    kerb = (rows > view.kerb) & ~road
    image[kerb] = np.where((across[kerb] * 0.5 % 1 < 0.04)[..., None], 130, 205)
    gutter = (rows > view.kerb + 4 * view.unit) & (rows < view.kerb + 6 * view.unit)
    image[gutter] *= 0.72
    line = (rows > view.kerb + 13 * view.unit) & (rows < view.kerb + 15.5 * view.unit)
    image[line] = np.where((across[line] * 0.3 % 1 < 0.6)[..., None], (206, 196, 150), image[line])
    # the fronts keep the light off the pavement right at their foot
    near_wall = np.clip((rows - view.wall) / (9 * view.unit), 0, 1)[:, None, None]
    image *= 0.72 + 0.28 * near_wall
    return np.clip(image, 0, 255).astype(np.uint8)


_WALLS: tuple[Colour, ...] = (
    (168, 96, 78), (214, 196, 160), (132, 150, 150), (196, 148, 104), (158, 164, 138), (204, 178, 172),
)  # fmt: skip
_FASCIAS: tuple[Colour, ...] = ((44, 74, 66), (120, 42, 44), (38, 54, 92), (70, 56, 46), (166, 120, 40))


def _fronts(rng: np.random.Generator, view: View, image: np.ndarray, k: int) -> None:
    """House fronts with shops, drawn into the top of an image `k` times as large as the frame."""
    u = view.unit

    def box(x1: float, y1: float, x2: float, y2: float, colour: Sequence[float]) -> None:
        corners = [round(v * u * k) for v in (x1, y1, x2, y2)]
        cv2.rectangle(image, corners[:2], (corners[2] - 1, corners[3] - 1), shade(colour, 1.0), -1)

    order = rng.permutation(len(_WALLS))
    x, house = -float(rng.uniform(0, 30)), 0
    while x < view.width / u:
        width = float(rng.uniform(74, 108))
        wall = _WALLS[order[house % len(_WALLS)]]
        trim = shade(wall, 1.28)
        box(x, 0, x + width, 98, wall)
        if house % 2 == 0:  # brick courses
            for row in np.arange(0, 50, 3.0):
                box(x, row, x + width, row + 0.7, shade(wall, 0.88))
        windows = 3 if width > 88 else 2
        for i in range(windows):
            cx = x + width * (i + 0.5) / windows
            box(cx - 9, 4, cx + 9, 35, trim)
            box(cx - 7.5, 5, cx + 7.5, 33, (74, 92, 108))
            box(cx - 7.5, 5, cx + 7.5, 14, (112, 134, 150))
            if rng.random() < 0.6:  # curtains
                box(cx - 7.5, 5, cx - 4, 33, (222, 214, 200))
                box(cx + 4, 5, cx + 7.5, 33, (222, 214, 200))
            box(cx - 0.7, 5, cx + 0.7, 33, trim)
            box(cx - 7.5, 18.4, cx + 7.5, 19.6, trim)
            box(cx - 10.5, 34, cx + 10.5, 36.5, shade(trim, 0.85))
            if rng.random() < 0.45:  # flowers
                for j in range(9):
                    bloom = ((206, 70, 84), (236, 190, 90), (96, 130, 70))[rng.integers(3)]
                    centre = (round((cx - 8 + 2 * j) * u * k), round((33.4 - rng.uniform(0, 2)) * u * k))
                    cv2.circle(image, centre, round(1.5 * u * k), bloom, -1, cv2.LINE_AA)
        fascia = _FASCIAS[rng.integers(len(_FASCIAS))]
        box(x, 42, x + width, 45, shade(trim, 0.8))
        box(x + 3, 45, x + width - 3, 54, fascia)
        start = x + width * 0.3
        for _ in range(int(rng.integers(5, 9))):  # a shop's name, too far off to read
            w = float(rng.uniform(2, 4.4))
            box(start, 47.4, start + w, 51.8, (232, 220, 186))
            start += w + 1.3
        box(x + 3, 54, x + width - 3, 95, shade(fascia, 0.8))
        door = x + width * (0.12 if rng.random() < 0.5 else 0.7)
        for left, right in ((x + 6, door - 2), (door + 17, x + width - 6)):
            if right - left < 8:
                continue
            box(left, 57, right, 88, (58, 70, 80))
            for j in range(14):  # the street mirrored in the glass
                box(left, 57 + j, right, 58 + j, (118 - 4 * j, 132 - 4 * j, 140 - 4 * j))
            for j in range(int((right - left) / 6)):
                goods = rng.integers(70, 210, 3)
                gx, gh = left + 2 + 6 * j, float(rng.uniform(3, 9))
                box(gx, 87 - gh, gx + 4, 87, goods)
            for post in np.arange(left, right + 1, (right - left) / 2):
                box(post - 0.8, 57, post + 0.8, 88, fascia)
        box(door, 57, door + 15, 97, shade(fascia, 0.55))
        box(door + 2, 60, door + 13, 82, (86, 98, 104))
        box(door + 11.5, 80, door + 13, 84, (220, 190, 110))
        if rng.random() < 0.6:  # an awning
            stripe = ((196, 72, 62), (70, 112, 96), (60, 84, 132))[rng.integers(3)]
            a, b, parts = x + 4, x + width - 4, 12
            for j in range(parts):
                l0, l1 = a + (b - a) * j / parts, a + (b - a) * (j + 1) / parts
                spread = [
                    (l0, 53),
                    (l1, 53),
                    (l1 + (j + 1 - parts / 2) * 0.4, 64),
                    (l0 + (j - parts / 2) * 0.4, 64),
                ]
                points = np.rint(np.array(spread) * u * k).astype(np.int32)
                cv2.fillPoly(image, [points], stripe if j % 2 else (226, 216, 200), cv2.LINE_AA)
            box(a - 2, 64, b + 2, 67, shade(fascia, 0.5))
        box(x, 95, x + width, 98, (120, 114, 106))
        box(x - 0.8, 0, x + 0.8, 98, shade(wall, 0.55))
        x, house = x + width, house + 1


def _standing(rng: np.random.Generator, view: View) -> list[Sprite]:
    """A tree and a lamp at the kerb, a bench at the fronts, a tub of flowers between."""
    places = view.width * (np.array((0.12, 0.4, 0.63, 0.87)) + rng.uniform(-0.04, 0.04, 4))
    tree, far_end = places[[0, 3]] if rng.random() < 0.5 else places[[3, 0]]  # the middle is left open to the sky
    bench, lamp, tub = rng.permutation((far_end, *places[1:3]))
    return [
        _tree(rng, view, tree, view.row(1.0) + 1.5 * view.unit),
        _lamp(view, lamp, view.row(1.0) + 2 * view.unit),
        _bench(view, bench, view.row(0.06)),
        _tub(rng, view, tub, view.row(float(rng.uniform(0.35, 0.5)))),
    ]


def _tree(rng: np.random.Generator, view: View, x: float, y: float) -> Sprite:
    c = Canvas(x, y, view.person(y), (1.05, 2.6))
    c.oval((0, 0.0), (0.2, 0.05), (92, 78, 62))
    bark = (94, 76, 60)
    c.limb((0, 0), (0.02, 1.3), 0.075, 0.05, bark)
    c.limb((-0.025, 0.02), (-0.01, 1.3), 0.022, 0.016, shade(bark, 1.25))
    for _ in range(9):
        h, side = rng.uniform(0.1, 1.2), rng.uniform(-0.05, 0.05)
        c.line((side, h), (side + 0.012, h + 0.09), 0.012, shade(bark, 0.72))
    c.limb((0.01, 1.2), (-0.4, 1.75), 0.035, 0.02, bark)
    c.limb((0.02, 1.2), (0.42, 1.8), 0.035, 0.02, bark)
    leaves = (78, 112, 58)
    for layer in range(3):  # dark below and behind, light above and towards the sun
        for _ in range(150):
            a, r = rng.uniform(0, 2 * np.pi), np.sqrt(rng.uniform())
            p = (0.74 * r * np.cos(a) - 0.07 * layer, 2.0 + 0.46 * r * np.sin(a) + 0.07 * layer)
            light = 0.62 + 0.22 * layer + 0.18 * np.sin(a) * r + rng.uniform(-0.1, 0.1)
            c.disc(p, float(rng.uniform(0.03, 0.085) - 0.012 * layer), shade(leaves, light))
    return c.sprite()


def _lamp(view: View, x: float, y: float) -> Sprite:
    c = Canvas(x, y, view.person(y), (0.4, 2.4))
    iron = (46, 54, 56)
    c.limb((0, 0), (0, 0.14), 0.075, 0.06, iron)
    c.limb((0, 0.14), (0, 0.3), 0.045, 0.035, iron)
    c.limb((0, 0.3), (0, 2.0), 0.026, 0.022, iron)
    c.line((-0.012, 0.3), (-0.012, 2.0), 0.012, shade(iron, 1.9))
    c.limb((-0.18, 1.72), (0.18, 1.72), 0.014, 0.014, iron)
    c.poly([(-0.09, 2.0), (0.09, 2.0), (0.13, 2.24), (-0.13, 2.24)], (226, 220, 196))
    c.poly([(-0.15, 2.24), (0.15, 2.24), (0, 2.36)], iron)
    c.line((0, 2.0), (0, 2.24), 0.014, iron)
    return c.sprite()


def _bench(view: View, x: float, y: float) -> Sprite:
    c = Canvas(x, y, view.person(y), (0.7, 0.65))
    wood, iron = (140, 94, 58), (50, 52, 54)
    for side in (-0.5, 0.5):
        c.limb((side, 0), (side, 0.5), 0.024, 0.02, iron)
        c.limb((side, 0.24), (side * 1.04, 0.22), 0.03, 0.03, iron)
    for i, h in enumerate((0.5, 0.43, 0.36)):
        c.poly([(-0.6, h), (0.6, h), (0.6, h + 0.05), (-0.6, h + 0.05)], shade(wood, 1.1 - 0.08 * i))
    c.poly([(-0.62, 0.2), (0.62, 0.2), (0.6, 0.29), (-0.6, 0.29)], shade(wood, 1.25))
    c.line((-0.61, 0.245), (0.61, 0.245), 0.014, shade(wood, 0.7))
    return c.sprite()


def _tub(rng: np.random.Generator, view: View, x: float, y: float) -> Sprite:
    c = Canvas(x, y, view.person(y), (0.45, 0.75))
    c.poly([(-0.2, 0), (0.2, 0), (0.27, 0.3), (-0.27, 0.3)], (128, 122, 116))
    c.poly([(-0.2, 0), (-0.08, 0), (-0.12, 0.3), (-0.27, 0.3)], (154, 148, 140))
    c.poly([(-0.29, 0.28), (0.29, 0.28), (0.29, 0.34), (-0.29, 0.34)], (146, 140, 132))
    for _ in range(70):
        a, r = rng.uniform(0, 2 * np.pi), np.sqrt(rng.uniform())
        p = (0.28 * r * np.cos(a), 0.45 + 0.14 * r * np.sin(a))
        c.disc(p, float(rng.uniform(0.025, 0.06)), shade((74, 108, 62), rng.uniform(0.65, 1.25)))
    for _ in range(14):
        a, r = rng.uniform(0, 2 * np.pi), np.sqrt(rng.uniform())
        c.disc(
            (0.25 * r * np.cos(a), 0.48 + 0.12 * r * np.sin(a)),
            0.024,
            ((208, 92, 108), (228, 184, 96))[rng.integers(2)],
        )
    return c.sprite()
