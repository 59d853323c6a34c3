"""`python -m benchmarks.precision`: what bfloat16 changes. Needs a data set whose cubes are built.

Trains each branch for some steps in both precisions and compares the loss curves; scores the testing clips in both
with the networks trained in float32 and compares frame scores and AUROC. Leaves nothing behind.

A processor without bf16 instructions gives the same figures, in about the time of float32: see `Bf16InFloat32`.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Annotated, Any

import numpy as np
import torch
import typer
from scipy.stats import spearmanr
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from vadlib.cli.main import print_table
from vadlib.cli.memory import keep_freed_memory
from vadlib.cubes.shards import CubeSet
from vadlib.engine.engine import make_engine, multiplies_bf16
from vadlib.evaluation.frames import micro_auroc, rank_empty_frames_last
from vadlib.io.progress import progress
from vadlib.models.registry import build_model
from vadlib.pipeline.fit_scores import fit
from vadlib.pipeline.places import Places
from vadlib.pipeline.sets import open_shard, training_cubes
from vadlib.scoring.frames import frame_scores
from vadlib.scoring.scorer import Scorer
from vadlib.settings import BRANCHES, Branch, ComputeSettings, DatasetSettings, load_dataset
from vadlib.training import make_optimiser, training_step

PRECISIONS = ("fp32", "bf16")
NUDGE = 1e-6
aten = torch.ops.aten
PRODUCTS = {
    aten.convolution.default, aten.convolution_backward.default, aten.conv2d.default, aten.conv_transpose2d.input,
    aten.matmul.default, aten.mm.default, aten.bmm.default, aten.baddbmm.default, aten.addmm.default,
}  # fmt: skip


class Bf16InFloat32(TorchDispatchMode):
    """Compute products of bfloat16 tensors as processors with bf16 instructions do, on one without.

    Those multiply bfloat16 operands exactly, sum in float32 and round the sum to bfloat16; so does this, by float32
    instructions. Without it torch takes a scalar loop, thousands of times slower. Sums differ in their order alone.
    """

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func not in PRODUCTS or not any(isinstance(a, torch.Tensor) and a.dtype == torch.bfloat16 for a in args):
            return func(*args, **kwargs)
        full = tree_map_only(torch.Tensor, lambda x: x.float(), (args, kwargs))
        return tree_map_only(torch.Tensor, lambda x: x.bfloat16(), func(*full[0], **full[1]))


def arithmetic(precision: str) -> AbstractContextManager[object]:
    """What networks of this precision run under on this machine's processor."""
    emulated = precision == "bf16" and not multiplies_bf16(torch.device("cpu"))
    return Bf16InFloat32() if emulated else nullcontext()


def trained(
    places: Places, branch: Branch, settings: DatasetSettings, precision: str, steps: int, nudge: float = 0.0
) -> tuple[nn.Module, np.ndarray]:
    """A network after `steps` steps, at a constant rate, and the loss of each, (steps,).

    `nudge` is the share by which its first weights are made larger.
    """
    engine = make_engine(ComputeSettings(precision=precision, device="cpu"))
    torch.manual_seed(settings.training.seed)
    network = engine.for_training(build_model(settings.model, branch, settings.cube.length))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1 + nudge)
    optimiser = make_optimiser(network, settings.training.lr, settings.training.adam_eps)
    cubes = training_cubes(places, (branch,), settings, drawn=True)
    found: list[float] = []
    epoch = 0
    with progress(steps, f"train {branch} {precision}", "step") as bar, arithmetic(precision):
        while len(found) < steps:
            for batch in cubes.shuffled(settings.training.batch, epoch):
                found.append(training_step(network, optimiser, branch, batch, settings.model.p, engine))
                bar.update()
                if len(found) == steps:
                    break
            epoch += 1
    return network, np.array(found)


def scores(
    places: Places, settings: DatasetSettings, networks: Mapping[Branch, nn.Module], precision: str, size: int
) -> list[np.ndarray]:
    """The testing clips' frame scores of the paper for the first eta, by the cubes the networks were trained on."""
    engine = make_engine(ComputeSettings(precision=precision, device="cpu"))
    how, eta = settings.paper.model_copy(update={"error": "norm", "calibration": "z"}), settings.eta[0]
    frozen = {branch: engine.for_scoring(networks[branch]) for branch in BRANCHES if branch in how.evidence}
    scorer = Scorer(settings, frozen, {}, engine)
    with arithmetic(precision):
        scorer = replace(scorer, statistics=fit(scorer, training_cubes(places, BRANCHES, settings, drawn=True), size))
    found = []
    clips = places.load_manifest().split("testing")
    with progress(len(clips), f"score {precision}", "clip") as bar, arithmetic(precision):
        for clip in clips:
            raw, flow = open_shard(places, clip, "raw"), open_shard(places, clip, "flow")
            values = scorer.measure_all(CubeSet([(raw, flow)]), [eta], size)[eta]
            of_cubes = scorer.scores(how, values, eta) if values else np.empty(0)
            found.append(frame_scores(raw.read("frame"), of_cubes, clip.frames)[0])
            bar.update()
    return found


def precision(
    dataset: Annotated[str, typer.Option(help="A data set of params.yaml whose cubes are built.")] = "ped2",
    steps: Annotated[int, typer.Option(help="Of training, in each precision and branch.")] = 500,
    last: Annotated[int, typer.Option(help="Steps at the end whose mean losses are compared.")] = 50,
) -> None:
    """Compare bfloat16 with float32: the loss after some steps of training, frame scores and their AUROC."""
    keep_freed_memory()
    settings, compute = load_dataset(dataset)
    places = Places.of(dataset)
    by = (
        "instructions" if isinstance(arithmetic("bf16"), nullcontext) else "float32 instructions, as Bf16InFloat32 does"
    )
    print(f"{dataset}, {steps} steps of {settings.training.batch} cubes; means of {last} steps; bf16 {by}")
    networks: dict[Branch, nn.Module] = {}
    for branch in BRANCHES:
        networks[branch], full = trained(places, branch, settings, "fp32", steps)
        _, low = trained(places, branch, settings, "bf16", steps)
        # Trainings that begin almost alike go apart: how far says how much of a difference is the precision's.
        _, again = trained(places, branch, settings, "fp32", steps, nudge=NUDGE)
        # Curves of single batches jump about: means of runs of `last` steps are what a plot shows.
        first, *others = (curve[: steps // last * last].reshape(-1, last).mean(1) for curve in (full, low, again))
        print_table(
            [
                {
                    "branch": branch,
                    "beside fp32": name,
                    "losses": f"{first[-1]:.6f}, {other[-1]:.6f}",
                    "difference": f"{other[-1] / first[-1] - 1:+.2%}",
                    "largest of any run": f"{np.abs(other / first - 1).max():.2%}",
                }
                for name, other in zip(("bf16", f"fp32, first weights {NUDGE:g} larger"), others, strict=True)
            ]
        )
    labels = [clip.labels() for clip in places.load_manifest().split("testing")]
    both = [
        rank_empty_frames_last(scores(places, settings, networks, kind, compute.score_batch)) for kind in PRECISIONS
    ]
    correlation = spearmanr(*(np.concatenate(found) for found in both)).statistic
    full, low = (micro_auroc(labels, found) for found in both)
    print(f"frame scores: rank correlation {correlation:.5f}; AUROC fp32 {full:.5f}, bf16 {low:.5f}, {low - full:+.5f}")


if __name__ == "__main__":
    typer.run(precision)
