"""Reconstruction errors and the reconstruction-based input perturbation (paper III-D, eq. 2)."""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from vadlib.engine.engine import Engine
from vadlib.models.objective import cube_errors, median_errors, target_of
from vadlib.settings import Branch

Errors = dict[str, Tensor]
"""By branch S_r and S_m of III-E, float32 (B,), one error for each cube; by `<branch>_median` the error of
`median_errors`, of the same reconstruction."""


def reconstruction_errors(
    networks: Mapping[Branch, nn.Module], cubes: Tensor, flows: Tensor | None, p: float, engine: Engine
) -> Errors:
    """Each network's errors on a batch: raw against the cubes themselves, flow against their flow."""
    errors: Errors = {}
    for branch, network in networks.items():
        with engine.autocast():
            output = network(cubes)
        target = target_of(branch, cubes, flows)
        errors[branch] = cube_errors(output, target, p)
        errors[f"{branch}_median"] = median_errors(output.detach(), target.detach())
    return errors


def input_gradient(
    networks: Mapping[Branch, nn.Module],
    cubes: Tensor,
    flows: Tensor | None,
    p: float,
    reduction: Literal["sum", "mean"],
    engine: Engine,
) -> tuple[Tensor, Errors]:
    """The gradient of L_p with respect to the cubes, and the unperturbed errors, in one forward and backward pass.

    L_p is left without its 1/M, and every cube has a term of its own: neither changes a gradient's sign, so cubes of
    many frames share a batch. The raw target is the cube itself, and takes gradient too (eq. 2 as written).

    Args:
        cubes: float32 (B, L, 3, H, W) in [0, 1].
        flows: float32 (B, L, 2, H, W), px per frame; None without a flow branch.
        reduction: "sum" over elements as the paper; "mean" over each branch's elements as the authors' code, which
            weighs flow 1.5 times as much against raw (3 channels against 2).
    """
    with torch.enable_grad():
        y = cubes.detach().requires_grad_(True)
        errors = reconstruction_errors(networks, y, flows, p, engine)
        scale = {"raw": cubes[0].numel(), "flow": 1 if flows is None else flows[0].numel()}
        losses = [errors[b].sum() / (scale[b] if reduction == "mean" else 1) for b in networks]
        (gradient,) = torch.autograd.grad(torch.stack(losses).sum(), y)
    return gradient, {name: error.detach() for name, error in errors.items()}


def perturb(cubes: Tensor, gradient: Tensor, eta: float) -> Tensor:
    """Eq. (2): one step of eta down the gradient's sign. It may leave [0, 1]: the paper has no clip."""
    return cubes - eta * gradient.sign()


def perturbed_errors(
    networks: Mapping[Branch, nn.Module],
    cubes: Tensor,
    flows: Tensor | None,
    etas: Sequence[float],
    p: float,
    reduction: Literal["sum", "mean"],
    engine: Engine,
) -> dict[float, Errors]:
    """The errors of eq. (2)'s perturbed cubes for each eta: one gradient for all, one more forward pass for each.

    The gradient does not depend on eta, and eta = 0 is the gradient's own forward pass. The raw error is against the
    perturbed cube, the flow error against the unchanged flow. Perturbed cubes may leave [0, 1]: the paper has no clip.

    `networks` must be frozen (`Engine.for_scoring`): weights take no gradient.
    """
    if any(etas):
        gradient, unperturbed = input_gradient(networks, cubes, flows, p, reduction, engine)
    else:
        with torch.inference_mode():
            unperturbed = reconstruction_errors(networks, cubes, flows, p, engine)
    results = {}
    with torch.inference_mode():
        for eta in etas:
            results[eta] = unperturbed
            if eta:
                results[eta] = reconstruction_errors(networks, perturb(cubes, gradient, eta), flows, p, engine)
    return results
