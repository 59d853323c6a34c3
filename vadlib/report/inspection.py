"""What a network makes of single cubes, to be looked at; and which moments of the footage are worth a look."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from vadlib.engine.engine import Engine
from vadlib.models.objective import error_powers, target_of
from vadlib.scoring.perturbation import input_gradient, perturb
from vadlib.settings import Branch

TOP = 12
"""Moments that are kept to be shown."""

GAP = 25
"""Frames: a moment scores higher than this many frames before and after it. About a second."""


@dataclass(frozen=True)
class Reconstruction:
    """One network's output for one cube, of the frame that the cube is of."""

    output: np.ndarray  # float32 (H, W, 3), RGB around [0, 1] (raw), or (H, W, 2), px per frame (flow)
    error_map: np.ndarray  # float32 (H, W): |output - target|^p, summed over channels
    error: float  # S_r or S_m of III-E: the sum over all frames of the cube


@dataclass(frozen=True)
class BranchView:
    """One branch before and after the perturbation. The raw target is perturbed too, the flow target is not."""

    target: np.ndarray  # float32 (H, W, 3) in [0, 1], or (H, W, 2), px per frame; unperturbed
    before: Reconstruction
    after: Reconstruction


@dataclass(frozen=True)
class CubeView:
    """One cube, of the frame that it is of, as each branch sees it."""

    original: np.ndarray  # float32 (H, W, 3), RGB in [0, 1]
    perturbed: np.ndarray  # float32 (H, W, 3), at most eta away from `original`, which may be outside of [0, 1]
    branches: dict[Branch, BranchView]


def inspect_cubes(
    networks: Mapping[Branch, nn.Module],
    cubes: Tensor,
    flows: Tensor | None,
    centres: Sequence[int],
    eta: float,
    p: float,
    reduction: Literal["sum", "mean"],
    engine: Engine,
) -> list[CubeView]:
    """Run the networks on cubes as they are and perturbed by eq. (2), and keep what is worth seeing.

    Args:
        networks: frozen (`Engine.for_scoring`), by branch.
        cubes: float32 (B, L, 3, H, W) in [0, 1].
        flows: float32 (B, L, 2, H, W), px per frame; None without a flow branch.
        centres: for each cube, which of its L frames it is of (`FrameCubes.centre`).
        eta, p, reduction: as in `perturbed_errors`.

    Returns one view for each cube.
    """
    gradient, _ = input_gradient(networks, cubes, flows, p, reduction, engine)
    moved = perturb(cubes, gradient, eta)
    rows = torch.arange(len(cubes))

    def of_frame(maps: Tensor) -> np.ndarray:
        """(B, L, C, H, W) to the frames the cubes are of, channels last."""
        return maps[rows, torch.as_tensor(centres)].permute(0, 2, 3, 1).float().cpu().numpy()

    of_branch: dict[Branch, list[BranchView]] = {}
    with torch.inference_mode():
        for branch, network in networks.items():
            runs = []
            for inputs in (cubes, moved):
                with engine.autocast():
                    output = network(inputs)
                powers = error_powers(output, target_of(branch, inputs, flows), p)
                errors = powers.flatten(1).sum(1).cpu().numpy()
                maps = of_frame(powers).sum(-1)
                runs.append(
                    [Reconstruction(*view) for view in zip(of_frame(output), maps, map(float, errors), strict=True)]
                )
            targets = of_frame(target_of(branch, cubes, flows))
            of_branch[branch] = [BranchView(*view) for view in zip(targets, *runs, strict=True)]
    pairs = zip(of_frame(cubes), of_frame(moved), strict=True)
    return [
        CubeView(original, perturbed, {branch: views[row] for branch, views in of_branch.items()})
        for row, (original, perturbed) in enumerate(pairs)
    ]


T = TypeVar("T")


@dataclass(frozen=True)
class Moment(Generic[T]):
    """A peak of a clip's score."""

    clip: str
    frame: int
    score: float
    held: T  # what the caller keeps of it


class TopMoments(Generic[T]):
    """The highest peaks of the footage, taken in one pass: a few are held at a time, however long the footage.

    A peak scores higher than the GAP frames before it and than those after it, so that the neighbours of one event
    do not fill the list. A clip's second peak comes after every clip's first.
    """

    def __init__(self, top: int = TOP, gap: int = GAP) -> None:
        self._top, self._gap = top, gap
        self._best: list[tuple[int, Moment[T]]] = []  # with each peak's rank in its clip
        self._begin_clip()

    def _begin_clip(self) -> None:
        self._recent: deque[tuple[int, float]] = deque()
        self._candidate: Moment[T] | None = None
        self._of_clip: list[Moment[T]] = []

    def offer(self, clip: str, frame: int, score: float, hold: Callable[[], T]) -> None:
        """Show the next frame of a clip; its score is NaN without boxes. What `hold` makes is kept for a peak."""
        if not np.isfinite(score):
            return
        if self._candidate is not None and frame - self._candidate.frame > self._gap:
            self._keep()
        while self._recent and frame - self._recent[0][0] > self._gap:
            self._recent.popleft()
        if all(score > before for _, before in self._recent):
            self._candidate = Moment(clip, frame, score, hold())
        self._recent.append((frame, score))

    def _keep(self) -> None:
        if self._candidate is not None:
            self._of_clip.append(self._candidate)
            self._of_clip = sorted(self._of_clip, key=lambda m: (-m.score, m.frame))[: self._top]
            self._candidate = None

    def end_clip(self) -> None:
        """No more frames of this clip."""
        self._keep()
        self._best += enumerate(self._of_clip)
        self._best = sorted(self._best, key=lambda b: (b[0], -b[1].score))[: self._top]
        self._begin_clip()

    def moments(self) -> list[Moment[T]]:
        """The best of the clips that ended, the highest score first."""
        return sorted((moment for _, moment in self._best), key=lambda m: -m.score)
