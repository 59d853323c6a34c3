"""What moves in the embedded street: people on foot, and the cyclist, the cart and the cow that do not.

All are drawn side-on, facing +x, in heights of an ordinary person; see `street.Canvas`.
"""

import copy
from dataclasses import dataclass

import numpy as np

from vadlib.datasets.synthetic.street import Canvas, Colour, Point, shade

_SKINS: tuple[Colour, ...] = ((240, 204, 178), (222, 176, 142), (186, 134, 98), (140, 96, 68), (96, 66, 48))
_HAIRS: tuple[Colour, ...] = (
    (36, 30, 28),
    (74, 50, 34),
    (126, 84, 48),
    (196, 160, 96),
    (150, 148, 146),
    (134, 62, 38),
)
_CLOTHES: tuple[Colour, ...] = (
    (44, 52, 76), (150, 48, 50), (66, 104, 84), (196, 188, 174), (92, 92, 98), (184, 138, 66), (64, 92, 138),
    (118, 74, 104), (42, 42, 46), (206, 116, 96), (120, 146, 160), (96, 80, 62), (216, 206, 120), (88, 58, 48),
)  # fmt: skip
_LEGWEAR: tuple[Colour, ...] = (
    (40, 46, 66), (58, 70, 98), (44, 42, 42), (110, 100, 84), (86, 84, 88), (74, 58, 48), (140, 134, 120),
)  # fmt: skip

HIP, TORSO, THIGH, SHIN, UPPER_ARM, FOREARM = 0.49, 0.32, 0.245, 0.225, 0.165, 0.15
SHOULDER = HIP + TORSO


@dataclass(frozen=True)
class Look:
    """What one person looks like."""

    height: float  # in ordinary heights
    build: float  # 1 is ordinary, more is stouter
    skin: Colour
    hair: Colour
    haircut: str  # short, long, bun, hat, hood
    top: Colour
    legs: Colour
    shoes: Colour
    wear: str  # trousers, shorts, skirt, coat
    bag: str  # none, backpack, tote, satchel
    bag_colour: Colour
    striped: bool


@dataclass(frozen=True)
class Pose:
    """How a person stands at one moment."""

    phase: float  # of the gait, in cycles
    swing: float  # of the legs, radians: 0 is standing
    run: float = 0.0  # 0 walking .. 1 running: lean, bent arms, high knees
    fall: float = 0.0  # 0 upright .. 1 flat on the ground, face down
    reach: float | None = None  # both arms at this angle forward of straight down, radians; None: they swing
    crouch: float = 0.0  # 0 upright .. 1 down to the ground with bent knees
    empty: float = 0.0  # 1: what the look has in its hand has been put down


def random_look(rng: np.random.Generator) -> Look:
    def pick(options):
        return options[rng.integers(len(options))]

    return Look(
        height=float(rng.uniform(0.62, 0.72) if rng.random() < 0.1 else rng.uniform(0.9, 1.1)),
        build=float(rng.uniform(0.85, 1.3)),
        skin=pick(_SKINS),
        hair=pick(_HAIRS),
        haircut=pick(("short", "short", "short", "long", "bun", "hat", "hood")),
        top=pick(_CLOTHES),
        legs=pick(_LEGWEAR),
        shoes=pick(((40, 36, 34), (226, 222, 214), (96, 62, 42), (150, 50, 50))),
        wear=pick(("trousers", "trousers", "trousers", "shorts", "skirt", "coat")),
        bag=pick(("none", "none", "backpack", "tote", "satchel")),
        bag_colour=pick(_CLOTHES),
        striped=bool(rng.random() < 0.15),
    )


def _along(start: Point, angle: float, length: float) -> Point:
    """The end of a limb hanging from `start`, `angle` radians forward of straight down."""
    return start[0] + length * float(np.sin(angle)), start[1] - length * float(np.cos(angle))


def hand(reach: float) -> Point:
    """Where an ordinary person's hands are when the arms reach at an angle."""
    return _along((0.02, SHOULDER - 0.02), reach, UPPER_ARM + FOREARM)


def draw_person(c: Canvas, look: Look, pose: Pose) -> None:
    """A person on foot. The canvas's scale is this person's own height over an ordinary one's."""
    tau = 2 * np.pi
    joints = []
    for offset in (0.5, 0.0):  # the far leg first
        turn = tau * (pose.phase + offset)
        forward = max(0.0, float(np.cos(turn)))  # a leg bends while it comes forward
        thigh = pose.swing * float(np.sin(turn)) + 0.35 * pose.run * forward
        knee = pose.swing * (0.12 + 1.5 * forward) + 0.55 * pose.run * forward + 0.9 * pose.fall * (1 - pose.fall)
        joints.append((thigh + 1.05 * pose.crouch, knee + 1.75 * pose.crouch))
    drop = max(THIGH * np.cos(t) + SHIN * np.cos(t - k) for t, k in joints)
    hop = 0.05 * pose.run * abs(float(np.sin(tau * pose.phase * 2 + 0.6)))
    hip = (0.0, float(drop) + 0.03 + hop)
    lean = 0.03 + 0.06 * pose.swing + 0.26 * pose.run + 0.75 * pose.crouch
    if pose.reach is not None:
        lean -= 0.07 * pose.reach
    neck = (hip[0] + TORSO * float(np.sin(lean)), hip[1] + TORSO * float(np.cos(lean)))
    shoulder = (neck[0], neck[1] - 0.02)
    head = (neck[0] + 0.115 * float(np.sin(lean * 1.1)) + 0.012, neck[1] + 0.115)
    c.roll, c.lift = 1.5 * pose.fall, 0.07 * pose.fall
    wide = 0.075 * look.build

    def leg(thigh: float, knee: float, dark: float) -> None:
        at_knee = _along(hip, thigh, THIGH)
        ankle = _along(at_knee, thigh - knee, SHIN)
        bare = look.wear in ("shorts", "skirt")
        lower = shade(look.skin if bare else look.legs, dark)
        c.limb(at_knee, ankle, 0.04 * look.build, 0.026, lower)
        c.limb(hip, at_knee, 0.062 * look.build, 0.044 * look.build, shade(look.legs, dark))
        sole = thigh - knee + 0.1
        toe = _along(ankle, sole + 1.35, 0.075)
        c.limb((ankle[0] - 0.012, ankle[1] - 0.004), toe, 0.03, 0.02, shade(look.shoes, dark))

    def arm(side: float, dark: float) -> None:
        if pose.reach is not None:
            upper, bend = pose.reach - 0.1 * side, 0.15
        else:
            upper = -side * 0.85 * pose.swing * float(np.sin(tau * pose.phase)) + 1.9 * pose.fall
            bend = 0.18 + 0.3 * pose.swing + 1.15 * pose.run
        elbow = _along(shoulder, upper, UPPER_ARM)
        wrist = _along(elbow, upper + bend, FOREARM)
        sleeve = shade(look.top, dark)
        c.limb(
            elbow,
            wrist,
            0.03,
            0.023,
            sleeve if look.wear == "coat" or look.build > 1.05 else shade(look.skin, dark),
        )
        c.limb(shoulder, elbow, 0.04 * look.build, 0.033, sleeve)
        c.disc(_along(wrist, upper + bend, 0.02), 0.026, shade(look.skin, dark))
        if side > 0 and look.bag == "tote" and pose.reach is None and pose.fall == 0 and not pose.empty:
            x, y = wrist
            c.line((x, y), (x - 0.03, y - 0.09), 0.012, shade(look.bag_colour, 0.6))
            c.line((x, y), (x + 0.03, y - 0.09), 0.012, shade(look.bag_colour, 0.6))
            c.poly(
                [(x - 0.075, y - 0.08), (x + 0.075, y - 0.08), (x + 0.06, y - 0.25), (x - 0.06, y - 0.25)],
                look.bag_colour,
            )

    def lerp(t: float) -> Point:
        return hip[0] + t * (neck[0] - hip[0]), hip[1] + t * (neck[1] - hip[1])

    arm(-1, 0.68)
    leg(*joints[0], 0.68)
    leg(*joints[1], 1.0)
    if look.bag == "backpack":
        a, b = lerp(0.28), lerp(0.88)
        c.limb((a[0] - wide - 0.015, a[1]), (b[0] - wide - 0.005, b[1]), 0.065, 0.055, look.bag_colour)
        c.limb(
            (a[0] - wide - 0.04, a[1] + 0.02),
            (a[0] - wide - 0.04, a[1] + 0.06),
            0.03,
            0.03,
            shade(look.bag_colour, 0.75),
        )
    if look.wear == "skirt":
        hem, spread = hip[1] - 0.19 - 0.08 * pose.swing, wide + 0.045 + 0.08 * pose.swing
        top = hip[1] + 0.06
        corners = [(hip[0] - wide, top), (hip[0] + wide, top), (hip[0] + spread, hem), (hip[0] - spread, hem)]
        c.poly(corners, look.legs)
    c.limb(lerp(0.03), lerp(0.9), wide * 0.92, wide * 0.95, look.top)
    if look.wear == "coat":
        flare = wide + 0.03 + 0.09 * pose.swing
        c.poly([(lerp(0.3)[0] - wide, lerp(0.3)[1]), (lerp(0.3)[0] + wide, lerp(0.3)[1]),
                (hip[0] + flare, hip[1] - 0.2), (hip[0] - flare, hip[1] - 0.2)], look.top)  # fmt: skip
    if look.striped:
        for t in (0.2, 0.45, 0.7):
            x, y = lerp(t)
            c.limb((x - wide * 0.75, y), (x + wide * 0.75, y), 0.017, 0.017, shade(look.top, 1.5))
    light = lerp(0.8)  # the sun comes from behind the shoulder
    c.limb(
        (lerp(0.25)[0] - wide * 0.55, lerp(0.25)[1]),
        (light[0] - wide * 0.5, light[1]),
        0.022,
        0.024,
        shade(look.top, 1.2),
    )
    if look.bag == "satchel":
        c.line(lerp(0.97), (hip[0] + wide * 0.7, hip[1] + 0.02), 0.018, shade(look.bag_colour, 0.7))
        x, y = hip[0] + 0.055, hip[1] - 0.01
        corners = [(x - 0.06, y + 0.06), (x + 0.06, y + 0.06), (x + 0.05, y - 0.06), (x - 0.05, y - 0.06)]
        c.poly(corners, look.bag_colour)
    c.limb(neck, head, 0.032, 0.032, shade(look.skin, 0.85))
    if look.haircut == "long":
        c.limb((head[0] - 0.035, head[1] + 0.01), (neck[0] - 0.055, neck[1] - 0.05), 0.05, 0.035, look.hair)
    c.oval(head, (0.058, 0.07), look.skin)
    c.disc((head[0] + 0.058, head[1] - 0.008), 0.013, look.skin)
    if look.haircut == "hood":
        c.oval((head[0] - 0.022, head[1] + 0.004), (0.062, 0.078), look.top)
        c.oval((head[0] + 0.018, head[1] - 0.006), (0.04, 0.058), look.skin)
    else:
        c.oval((head[0] - 0.02, head[1] + 0.026), (0.056, 0.055), look.hair, 0.4)
    if look.haircut == "bun":
        c.disc((head[0] - 0.075, head[1] + 0.045), 0.032, look.hair)
    if look.haircut == "hat":
        c.oval((head[0] - 0.005, head[1] + 0.05), (0.064, 0.04), shade(look.top, 0.7))
        c.limb(
            (head[0] - 0.06, head[1] + 0.035),
            (head[0] + 0.095, head[1] + 0.03),
            0.012,
            0.01,
            shade(look.top, 0.55),
        )
    arm(1, 1.0)


def _bent(start: Point, end: Point, a: float, b: float, side: float) -> Point:
    """The joint of a two-part limb between two points; `side` says which way it bends."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    d = min(float(np.hypot(dx, dy)), a + b - 1e-6)
    along = (a * a - b * b + d * d) / (2 * d)
    out = float(np.sqrt(max(0.0, a * a - along * along))) * side
    return start[0] + (along * dx - out * dy) / d, start[1] + (along * dy + out * dx) / d


def _wheel(c: Canvas, centre: Point, radius: float, angle: float, spokes: int, rim: Colour, spoke: Colour) -> None:
    for i in range(spokes):
        a = angle + 2 * np.pi * i / spokes
        c.line(centre, (centre[0] + radius * np.sin(a), centre[1] + radius * np.cos(a)), 0.016, spoke)
    c.ring(centre, radius, 0.034, rim)
    c.ring(centre, radius - 0.028, 0.016, spoke)
    c.disc(centre, 0.028, rim)


def draw_cyclist(c: Canvas, look: Look, travelled: float) -> None:
    """A cyclist in a striped jersey; `travelled` is the way behind, which turns wheels and pedals."""
    radius = 0.205
    back, front = (-0.34, radius), (0.36, radius)
    crank, saddle, bars = (-0.03, 0.2), (-0.16, 0.53), (0.25, 0.6)
    frame, steel = (232, 62, 40), (232, 232, 226)
    hip, shoulder = (-0.15, 0.6), (0.06, 0.88)
    pedal = travelled * 5.0
    for side in (1, 0):
        a = pedal + np.pi * side
        foot = (crank[0] + 0.095 * float(np.sin(a)), crank[1] + 0.095 * float(np.cos(a)))
        knee = _bent(hip, foot, THIGH, SHIN, 1.0)
        dark = 0.7 if side else 1.0
        c.limb(hip, knee, 0.06, 0.046, shade((30, 30, 36), dark))
        c.limb(knee, foot, 0.042, 0.03, shade(look.skin, dark))
        c.limb(foot, (foot[0] + 0.07, foot[1] - 0.01), 0.028, 0.02, shade((240, 240, 236), dark))
        if side:
            _wheel(c, back, radius, -travelled / radius, 10, (24, 24, 26), steel)
            _wheel(c, front, radius, -travelled / radius, 10, (24, 24, 26), steel)
            for p, q in ((back, crank), (back, saddle), (crank, saddle), (crank, (0.22, 0.5)), (saddle, (0.22, 0.5)),
                         (front, bars)):  # fmt: skip
                c.line(p, q, 0.034, frame)
            c.limb(
                (saddle[0] - 0.06, saddle[1] + 0.02),
                (saddle[0] + 0.06, saddle[1] + 0.02),
                0.02,
                0.014,
                (30, 28, 28),
            )
            c.line((bars[0] - 0.02, bars[1]), (bars[0] + 0.08, bars[1] + 0.02), 0.03, (30, 28, 28))
            for i in range(3):  # a chequered pannier
                for j in range(3):
                    x, y = -0.47 + 0.07 * i, 0.28 + 0.06 * j
                    tone = (250, 214, 40) if (i + j) % 2 else (24, 24, 30)
                    c.poly([(x, y), (x + 0.07, y), (x + 0.07, y + 0.06), (x, y + 0.06)], tone)
    c.limb(hip, shoulder, 0.085, 0.08, (246, 226, 60))
    for t in (0.1, 0.4, 0.7, 1.0):
        x, y = hip[0] + t * (shoulder[0] - hip[0]), hip[1] + t * (shoulder[1] - hip[1])
        c.line((x - 0.062, y + 0.046), (x + 0.062, y - 0.046), 0.034, (28, 40, 120))
    elbow = _bent(shoulder, bars, UPPER_ARM, FOREARM + 0.05, -1.0)
    c.limb(shoulder, elbow, 0.04, 0.034, (246, 226, 60))
    c.limb(elbow, (bars[0] + 0.06, bars[1] + 0.02), 0.03, 0.024, look.skin)
    head = (0.15, 0.99)
    c.limb(shoulder, head, 0.034, 0.034, shade(look.skin, 0.85))
    c.oval(head, (0.06, 0.07), look.skin)
    c.oval((head[0] - 0.01, head[1] + 0.05), (0.085, 0.05), (240, 240, 240), -0.2)
    c.line((head[0] - 0.07, head[1] + 0.05), (head[0] + 0.06, head[1] + 0.06), 0.022, (200, 40, 40))


def draw_cart(c: Canvas, look: Look, pose: Pose, travelled: float) -> None:
    """A market cart of slats under a striped awning, and who pushes it."""
    pusher_x = -0.72
    pushed = copy.copy(c)  # the same drawing around another ground point
    pushed.x += pusher_x * c.turn * c.scale
    draw_person(pushed, look, Pose(pose.phase, pose.swing, reach=1.15))
    wood, dark = (206, 160, 96), (84, 52, 30)
    for x in (-0.3, 0.62):
        c.line((x, 0.5), (x, 1.16), 0.03, dark)
    fruits = ((220, 60, 40), (244, 170, 40), (120, 180, 60), (240, 220, 70))
    for row in range(2):
        for i in range(9):
            c.disc((-0.24 + 0.1 * i + 0.05 * row, 0.6 + 0.07 * row), 0.055, fruits[(i * 3 + row) % 4])
    c.poly([(-0.36, 0.26), (0.68, 0.26), (0.72, 0.6), (-0.4, 0.6)], dark)
    for i in range(9):  # slats
        x = -0.36 + 0.12 * i
        c.poly([(x, 0.27), (x + 0.065, 0.27), (x + 0.065, 0.59), (x, 0.59)], wood)
    c.line((-0.4, 0.6), (0.72, 0.6), 0.035, shade(wood, 0.7))
    c.limb((-0.4, 0.54), (-0.66, 0.66), 0.02, 0.02, dark)
    stripes = 8
    for i in range(stripes):
        a, b = -0.46 + 1.24 * i / stripes, -0.46 + 1.24 * (i + 1) / stripes
        tone = (222, 40, 44) if i % 2 else (250, 246, 236)
        c.poly([(a * 0.9 + 0.02, 1.34), (b * 0.9 + 0.02, 1.34), (b, 1.12), (a, 1.12)], tone)
        c.disc(((a + b) / 2, 1.12), (b - a) / 2, tone)
    for x in (-0.12, 0.44):
        _wheel(c, (x, 0.2), 0.19, -travelled / 0.19, 8, (36, 28, 24), (240, 226, 190))


def draw_cow(c: Canvas, phase: float) -> None:
    """A spotted cow at a walk."""
    tau = 2 * np.pi
    white, black, pink = (244, 242, 236), (26, 24, 26), (226, 160, 150)
    for x, offset, dark in ((0.33, 0.25, 0.7), (-0.4, 0.75, 0.7), (0.42, 0.75, 1.0), (-0.32, 0.25, 1.0)):
        turn = tau * (phase + offset)
        swing = 0.38 * float(np.sin(turn))
        bend = 0.55 * max(0.0, float(np.cos(turn)))
        knee = _along((x, 0.5), swing, 0.24)
        foot = _along(knee, swing - bend, 0.24)
        c.limb((x, 0.52), knee, 0.095, 0.055, shade(white, dark))
        c.limb(knee, foot, 0.05, 0.038, shade(white if x > 0 else (90, 86, 84), dark))
        c.limb(foot, (foot[0] + 0.03, foot[1] - 0.01), 0.042, 0.036, (40, 34, 32))
    sway = 0.12 * float(np.sin(tau * phase))
    c.limb((-0.58, 0.82), (-0.66 + sway, 0.42), 0.022, 0.016, white)
    c.disc((-0.67 + sway, 0.38), 0.05, black)
    c.limb((-0.42, 0.68), (0.36, 0.68), 0.2, 0.2, white)
    c.limb((-0.3, 0.58), (0.2, 0.54), 0.14, 0.13, white)
    c.limb((-0.18, 0.46), (-0.12, 0.44), 0.075, 0.06, pink)
    for x, y, a, b, tilt in (
        (-0.42, 0.76, 0.13, 0.1, 0.4),
        (-0.12, 0.66, 0.12, 0.15, -0.5),
        (0.2, 0.76, 0.14, 0.09, 0.2),
        (0.38, 0.58, 0.08, 0.11, 0.7),
        (-0.46, 0.56, 0.07, 0.06, 0.0),
        (0.06, 0.5, 0.09, 0.05, 0.3),
    ):
        c.oval((x, y), (a, b), black, tilt)
    nod = 0.02 * float(np.sin(2 * tau * phase))
    c.limb((0.42, 0.76), (0.66, 0.9 + nod), 0.15, 0.1, white)
    c.oval((0.52, 0.8 + nod), (0.07, 0.1), black, 0.6)
    c.limb((0.68, 0.93 + nod), (0.88, 0.78 + nod), 0.095, 0.07, black)
    c.line((0.7, 0.98 + nod), (0.88, 0.83 + nod), 0.05, white)
    c.limb((0.88, 0.77 + nod), (0.92, 0.75 + nod), 0.062, 0.058, pink)
    c.limb((0.64, 0.97 + nod), (0.53, 0.99 + nod), 0.034, 0.014, black)
    c.limb((0.68, 1.0 + nod), (0.72, 1.1 + nod), 0.02, 0.01, (222, 210, 180))
    c.disc((0.74, 0.93 + nod), 0.018, white)


def draw_bag(c: Canvas, colour: Colour, spin: float) -> None:
    """A shopping bag, around the ground point lifted by the canvas's `lift`."""
    a = 0.19
    corners = [(a * np.cos(spin + t), a * np.sin(spin + t)) for t in (0.7, 2.44, 3.84, 5.58)]
    c.poly(corners, colour)
    c.line(corners[0], corners[2], 0.05, (250, 250, 246))
    c.line(corners[1], corners[3], 0.05, (40, 36, 60))
