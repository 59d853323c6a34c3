"""What networks minimise and are scored by: reconstruction errors and the loss (paper III-C, III-E)."""

from torch import Tensor

from vadlib.settings import Branch


def target_of(branch: Branch, cubes: Tensor, flows: Tensor | None) -> Tensor:
    """What a branch reconstructs: the cubes themselves (raw), or their flow. Raises ValueError where that is None."""
    if branch == "raw":
        return cubes
    if flows is None:
        raise ValueError("the flow branch needs flow")
    return flows


def cube_errors(output: Tensor, target: Tensor, p: float) -> Tensor:
    """|output - target|_p^p of each cube, summed over its frames, channels and pixels: (B, L, C, H, W) to (B,).

    Always in float32, whatever precision the network ran in. At p = 1 the derivative at 0 is taken as 0.
    """
    return error_powers(output, target, p).flatten(1).sum(1)


def error_powers(output: Tensor, target: Tensor, p: float) -> Tensor:
    """|output - target|^p of each element, in float32: what `cube_errors` sums."""
    difference = output.float() - target
    return difference.square() if p == 2 else difference.abs().pow(p)


def median_errors(output: Tensor, target: Tensor) -> Tensor:
    """How far off a network is in the middle one of a cube's frames: (B, L, C, H, W) to float32 (B,).

    Of each frame the mean over pixels of the length of the difference, over channels: for flow the end-point error. Of
    those the median. Unlike a sum of squares it is not decided by one blurred frame, or by a leg that swings.
    """
    return (output.float() - target).norm(dim=2).mean((2, 3)).median(1).values


def reconstruction_loss(output: Tensor, target: Tensor, p: float) -> Tensor:
    """L_r or L_m of III-C: the mean over the batch of each cube's error, |output - target|_p^p.

    The authors take the mean over elements instead: the same up to a constant, but for Adam's epsilon.
    """
    return cube_errors(output, target, p).mean()
