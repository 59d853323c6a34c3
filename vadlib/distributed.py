"""Training one branch by several processes, each on its rows of every batch: those of one process, in their order.

Gradients are averaged over the batch by torch's DistributedDataParallel. Statistics of BatchNorm are those of the whole
batch: local ones would be of half as many cubes with every doubling of processes, and the loss another. torch's own
SyncBatchNorm runs on GPUs alone, hence `SyncedBatchNorm`.
"""

import warnings
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.parallel import DistributedDataParallel

from vadlib.cubes.shards import Batch, CubeSet, take
from vadlib.engine.engine import Engine
from vadlib.models.objective import reconstruction_loss
from vadlib.settings import Branch, TrainingSettings
from vadlib.training import Progress, make_optimiser, run_steps, state_of


def train_branch_together(
    network: nn.Module,
    branch: Branch,
    cubes: CubeSet,
    settings: TrainingSettings,
    p: float,
    engine: Engine,
    *,
    resume: dict[str, Any] | None = None,
    keep: Callable[[dict[str, Any]], None] | None = None,
    after_step: Callable[[Progress], None] | None = None,
) -> Progress:
    """`train_branch`, called by every process of torch's default group, each with the same arguments.

    The order of the data is that of one process, and the loss curve as well, but for rounding: sums are made in another
    order. `resume` and what `keep` is given are those of `train_branch`, whatever the number of processes. `keep` and
    `after_step` are called in the first process alone, and `keep` once more at the end.
    """
    rank, world = dist.get_rank(), dist.get_world_size()
    network = synchronised(engine.for_training(network))
    optimiser = make_optimiser(network, settings.lr, settings.adam_eps)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Grad strides")  # weights are channels last, the sums are not
        together = DistributedDataParallel(network)

        def step(batch: Batch) -> float:
            return _step(together, optimiser, branch, *share_of(batch, rank, world), p, engine)

        if rank:
            keep = after_step = None
        progress = run_steps(
            step, network, optimiser, branch, cubes, settings, resume=resume, keep=keep, after_step=after_step
        )
    if keep:
        keep(state_of(network, optimiser, progress))
    return progress


def share_of(batch: Batch, rank: int, world: int) -> tuple[Batch, float]:
    """A process' rows of a batch, and which share of its loss they are.

    Of a batch with fewer cubes than processes, the last of an epoch, each has all.
    """
    count = len(batch.raw)
    if count < world:
        return batch, 1 / world
    first, stop = count * rank // world, count * (rank + 1) // world
    return take(batch, slice(first, stop)), (stop - first) / count


def _step(
    network: DistributedDataParallel,
    optimiser: torch.optim.Optimizer,
    branch: Branch,
    own: Batch,
    share: float,
    p: float,
    engine: Engine,
) -> float:
    """One step on one batch, by all processes. Returns the whole batch's loss per element."""
    raw = engine.cubes(own.raw)
    target = raw if branch == "raw" else engine.flows(own.flow)
    with engine.autocast():
        output = network(raw)
    loss = reconstruction_loss(output, target, p) * share
    optimiser.zero_grad(set_to_none=True)
    (loss * dist.get_world_size()).backward()  # since gradients are averaged over processes
    optimiser.step()
    whole = loss.detach().clone()
    dist.all_reduce(whole)
    return whole.item() / target[0].numel()


class _Sum(torch.autograd.Function):
    """The sum over processes; its gradient is that of all of them."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x = x.clone()
        dist.all_reduce(x)
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> Tensor:
        g = g.clone()
        dist.all_reduce(g)
        return g


class SyncedBatchNorm(nn.BatchNorm2d):
    """BatchNorm whose statistics are those of the maps of all processes together."""

    @classmethod
    def of(cls, norm: nn.BatchNorm2d) -> "SyncedBatchNorm":
        """The same layer, its parameters and statistics shared."""
        with torch.device("meta"):
            synced = cls(norm.num_features, norm.eps, norm.momentum, norm.affine)
        synced.weight, synced.bias = norm.weight, norm.bias
        for name, buffer in norm.named_buffers():
            setattr(synced, name, buffer)
        return synced.train(norm.training)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape and dtype; sums in float32."""
        if not self.training:
            return super().forward(x)
        with torch.autocast(x.device.type, enabled=False):
            y = x.float()
            sums = torch.cat([y.sum((0, 2, 3)), y.new_tensor([y.numel() / y.shape[1]])])
            *_, count = sums = _Sum.apply(sums)
            mean = sums[:-1] / count
            y = y - mean[:, None, None]
            variance = _Sum.apply(y.square().sum((0, 2, 3))) / count
            with torch.no_grad():
                self.num_batches_tracked.add_(1)  # type: ignore[union-attr]
                self.running_mean.lerp_(mean, self.momentum)  # type: ignore[union-attr,arg-type]
                self.running_var.lerp_(variance * count / (count - 1), self.momentum)  # type: ignore[union-attr,arg-type]
            scale = self.weight * torch.rsqrt(variance + self.eps)
            return (y * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)


def synchronised(model: nn.Module) -> nn.Module:
    """Put synchronised BatchNorm in the place of a network's own, in place. Parameters and their names stay."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm2d) and not isinstance(child, SyncedBatchNorm):
                setattr(parent, name, SyncedBatchNorm.of(child))
    return model
