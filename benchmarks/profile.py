"""`python -m benchmarks.profile`: where the time of a training or scoring step goes, operator by operator."""

import functools
import re
import time
from collections import Counter
from typing import Annotated, Any, Literal

import torch
import typer
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.networks import ETAS, product_scoring, product_training
from vadlib.cli.main import print_table
from vadlib.cli.memory import keep_freed_memory
from vadlib.engine.engine import make_engine
from vadlib.settings import ComputeSettings

KINDS = {
    "convolutions, backward": r"convolution_backward",
    "convolutions": r"convolution",
    "BatchNorm": r"batch_norm",
    "GroupNorm": r"group_norm",
    "activations": r"relu|threshold",
    "pooling": r"max_pool",
    "attention's products and softmax": r"bmm|softmax",
    "copies": r"copy|clone|cat|fill|zero|repeat",
    "sums and products": r"add|sub|mul|div|pow|sum|sign|mean|neg",
}  # the first that is found in an operator's name


@functools.cache
def kind_of(operator: Any) -> str:
    """The kind an operator is counted under."""
    return next((kind for kind, names in KINDS.items() if re.search(names, str(operator))), "the rest")


class Clock(TorchDispatchMode):
    """Adds up what every operator takes and how often it is called, by its kind."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        start = time.perf_counter()
        result = func(*args, **(kwargs or {}))
        self.seconds[kind_of(func)] += time.perf_counter() - start
        self.calls[kind_of(func)] += 1
        return result


def profile(
    row: Annotated[Literal["train", "score"], typer.Option(help="Which step.")] = "score",
    precision: Annotated[Literal["bf16", "fp32"], typer.Option(help="Of the networks.")] = "bf16",
    batch: Annotated[int, typer.Option(help="Cubes.")] = 32,
    steps: Annotated[int, typer.Option(help="Whose mean is printed, after three that are not.")] = 5,
) -> None:
    """Print milliseconds of a step of both branches at the paper's sizes, by kind of operator. CPU only."""
    keep_freed_memory()
    engine = make_engine(ComputeSettings(precision=precision, device="cpu"))
    step = product_training(engine, batch) if row == "train" else product_scoring(engine, ETAS[1:2], batch)
    with Clock():
        for _ in range(3):
            step()
    clock = Clock()
    start = time.perf_counter()
    with clock:
        for _ in range(steps):
            step()
    whole = time.perf_counter() - start
    clock.seconds["between operators"] = whole - sum(clock.seconds.values())
    print(f"{row} {precision}, {batch} cubes: {1000 * whole / steps:,.0f} ms a step, {torch.get_num_threads()} threads")
    print_table(
        [
            {
                "kind": kind,
                "ms": f"{1000 * seconds / steps:.0f}",
                "share": f"{seconds / whole:.0%}",
                "calls": clock.calls[kind] // steps,
            }
            for kind, seconds in clock.seconds.most_common()
        ]
    )


if __name__ == "__main__":
    typer.run(profile)
