"""Training and perturbed scoring at the paper's sizes: the product against the literal reading of the paper.

A cube counts once it went through both branches. A side's batch is the fastest of 8 to 128 for it.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.literal import LiteralState, copy_weights, loss, perturbed_scores
from benchmarks.measure import Peak, Work, alternate, best_batch
from vadlib.cli.memory import keep_freed_memory
from vadlib.cubes.shards import Batch
from vadlib.engine.engine import Engine, make_engine
from vadlib.models.registry import build_model
from vadlib.scoring.perturbation import perturbed_errors
from vadlib.settings import BRANCHES, Branch, ComputeSettings, CubeSettings, StateSettings
from vadlib.training import make_optimiser, training_step

ETAS = (0.001, 0.002, 0.005, 0.01, 0.02)
LENGTH, PATCH = CubeSettings().length, CubeSettings().patch
FIGURES = ("rate", "batch", "ratio", "against", "gemm_share", "peak_mb")


def random_batch(size: int) -> Batch:
    """Cubes as they come from shards, of noise: no layer's time depends on what it sees."""
    rng = np.random.default_rng(size)
    raw = rng.integers(0, 256, (size, LENGTH, PATCH, PATCH, 3), dtype=np.uint8)
    flow = rng.integers(-64, 65, (size, LENGTH, PATCH, PATCH, 2)).astype(np.int16)
    return Batch(raw, flow, np.zeros((size, 4), np.float32))


def networks() -> dict[Branch, nn.Module]:
    """Both branches at the paper's sizes, untrained."""
    torch.manual_seed(0)
    return {branch: build_model(StateSettings(), branch, LENGTH) for branch in BRANCHES}


def literal_networks() -> dict[Branch, LiteralState]:
    """The same two networks, as the paper writes them."""
    both = {branch: LiteralState(StateSettings(), branch, LENGTH) for branch in BRANCHES}
    for branch, network in networks().items():
        copy_weights(network, both[branch])
    return both


def forward_gflop() -> float:
    """GFLOP of one cube's forward pass through both branches.

    In float64: the counter does not know the fused convolutions of the other precisions.
    """
    x = torch.zeros(1, LENGTH, 3, PATCH, PATCH, dtype=torch.float64)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        for network in networks().values():
            network.eval().double()(x)
    return counter.get_total_flops() / 1e9


def product_training(engine: Engine, size: int) -> Work:
    """One step of both branches by the code that stage `train` runs."""
    batch = random_batch(size)
    trained = {branch: engine.for_training(network) for branch, network in networks().items()}
    optimisers = {branch: make_optimiser(network, 1e-3, 1e-7) for branch, network in trained.items()}

    def step() -> int:
        for branch, network in trained.items():
            training_step(network, optimisers[branch], branch, batch, StateSettings().p, engine)
        return size

    return step


def literal_training(size: int) -> Work:
    """One step of both branches as the paper writes it: float32, pairs concatenated, heads one by one."""
    batch = random_batch(size)
    both = {branch: network.train() for branch, network in literal_networks().items()}
    optimisers = {branch: torch.optim.Adam(network.parameters(), lr=1e-3, eps=1e-7) for branch, network in both.items()}
    engine = make_engine(ComputeSettings(precision="fp32"))

    def step() -> int:
        cubes, flows = (x.contiguous() for x in (engine.cubes(batch.raw), engine.flows(batch.flow)))
        for branch, network in both.items():
            error = loss(network(cubes), cubes if branch == "raw" else flows, StateSettings().p)
            optimisers[branch].zero_grad()
            error.backward()
            optimisers[branch].step()
        return size

    return step


def product_scoring(engine: Engine, etas: tuple[float, ...], size: int) -> Work:
    """Perturbed errors of one batch by the code that stage `score` runs."""
    batch = random_batch(size)
    frozen = {branch: engine.for_scoring(network) for branch, network in networks().items()}

    def score() -> int:
        cubes, flows = engine.cubes(batch.raw), engine.flows(batch.flow)
        found = perturbed_errors(frozen, cubes, flows, etas, StateSettings().p, "sum", engine)
        for errors in found.values():
            for error in errors.values():
                error.cpu()
        return size

    return score


def literal_scoring(size: int) -> Work:
    """Perturbed errors of a frame of `size` cubes for one eta, as the paper writes it."""
    batch = random_batch(size)
    both = {branch: network.eval() for branch, network in literal_networks().items()}
    engine = make_engine(ComputeSettings(precision="fp32"))

    def score() -> int:
        cubes, flows = (x.contiguous() for x in (engine.cubes(batch.raw), engine.flows(batch.flow)))
        perturbed_scores(both["raw"], both["flow"], cubes, flows, ETAS[0], StateSettings().p)
        return size

    return score


def rows(wanted: set[str], rounds: int, gemm: dict[str, float | None]) -> Iterator[dict[str, object]]:
    """The rows of training and scoring among those wanted; without figures in a precision that has no GEMM rate."""
    keep_freed_memory()  # as every command does: both sides have it
    forward = forward_gflop()
    for literal_of, variants in (
        (literal_training, [("train", None, 3 * forward)]),
        (literal_scoring, [("score", (ETAS[1],), 3 * forward),
                                    ("score_sweep5", ETAS, (2 + len(ETAS)) * forward)]),
    ):  # fmt: skip
        chosen = [
            (f"{name}_{precision}", precision, etas, gflop)
            for name, etas, gflop in variants
            for precision in ("bf16", "fp32")
            if f"{name}_{precision}" in wanted
        ]
        for name, precision, *_ in chosen:
            if gemm[precision] is None:
                yield dict.fromkeys(FIGURES) | {"name": name, "unit": "cubes/s"}
        chosen = [entry for entry in chosen if gemm[entry[1]] is not None]
        if not chosen:
            continue
        literal_batch, literal = best_batch(literal_of)
        sides, batches = [literal], []
        for _, precision, etas, _ in chosen:
            engine = make_engine(ComputeSettings(precision=precision))

            def make(size: int, engine: Engine = engine, etas: tuple[float, ...] | None = etas) -> Work:
                return product_training(engine, size) if etas is None else product_scoring(engine, etas, size)

            batch, work = best_batch(make)
            sides.append(work)
            batches.append(batch)
        peaks = []
        for work in sides[1:]:
            with Peak() as peak:
                work()
            peaks.append(peak.mb)
        rates = alternate(sides, rounds)
        for (name, precision, etas, gflop), batch, peak, found in zip(chosen, batches, peaks, rates[1:], strict=True):
            # The literal way shares nothing between values of eta: a sweep of five takes it five times as long.
            values = len(etas) if etas else 1
            ratios = [a / (b / values) for a, b in zip(found, rates[0], strict=True)]
            per_second = float(np.median(found))
            yield {
                "name": name,
                "rate": per_second,
                "unit": "cubes/s",
                "batch": batch,
                "ratio": float(np.median(ratios)),
                "against": f"literal, batch {literal_batch}",
                "gemm_share": per_second * gflop / gemm[precision],
                "peak_mb": peak,
            }
