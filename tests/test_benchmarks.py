"""What the benchmarks choose and print; nothing here is timed."""

import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

import benchmarks.measure
from benchmarks.__main__ import shown
from benchmarks.footage import untrained_scorer
from benchmarks.measure import best_batch
from benchmarks.networks import (
    literal_scoring,
    literal_training,
    networks,
    product_scoring,
    product_training,
    random_batch,
    rows,
)
from benchmarks.precision import Bf16InFloat32
from vadlib.engine.engine import make_engine
from vadlib.models.registry import build_model
from vadlib.settings import ComputeSettings, DatasetSettings, StateSettings


def test_rows_without_a_gemm_rate_are_empty_and_say_so():
    found = list(rows({"train_bf16", "score_sweep5_bf16"}, 1, {"bf16": None, "fp32": 100.0}))
    assert [row["name"] for row in found] == ["train_bf16", "score_sweep5_bf16"]
    for row in found:
        assert row["rate"] is row["ratio"] is row["gemm_share"] is row["peak_mb"] is None
        assert shown(row)["rate"] == "no bf16 here"


def test_both_sides_of_training_and_scoring_do_as_many_cubes_as_they_are_given():
    engine = make_engine(ComputeSettings(precision="fp32", device="cpu"))
    works = [product_training(engine, 2), product_scoring(engine, (0.001, 0.002), 2)]
    assert [work() for work in [*works, literal_training(2), literal_scoring(2)]] == [2] * 4


def test_the_scorer_of_noise_measures_all_that_a_trained_one_does():
    engine, settings = make_engine(ComputeSettings(precision="fp32", device="cpu")), DatasetSettings()
    frozen = {branch: engine.for_scoring(network) for branch, network in networks().items()}
    scorer = untrained_scorer(settings, frozen, engine)
    measured = scorer.measure(random_batch(2), settings.eta)[settings.eta[0]]
    assert {"raw", "flow", *scorer.evidence} < set(measured)


def test_the_fastest_batch_is_chosen_by_its_better_run(monkeypatch):
    rates = {8: [3.0, 5.0], 16: [1.0, 9.0], 32: [6.0, 6.0]}  # each batch's first and second run
    monkeypatch.setattr(benchmarks.measure, "rate", lambda work: rates[work()].pop(0))
    batch, work = best_batch(lambda size: lambda: size, (8, 16, 32))
    assert batch == work() == 16


def test_emulated_bf16_rounds_the_exact_products_once():
    torch.manual_seed(0)
    x, w = torch.randn(3, 8, 9, 9).bfloat16().requires_grad_(), torch.randn(5, 8, 3, 3).bfloat16().requires_grad_()
    with Bf16InFloat32():
        y = F.conv2d(x, w, padding=1)
        seed = torch.randn(y.shape).bfloat16()
        found = y, *torch.autograd.grad(y, (x, w), seed)
    wide_x, wide_w = (a.detach().double().requires_grad_() for a in (x, w))
    wide_y = F.conv2d(wide_x, wide_w, padding=1)
    exact = wide_y, *torch.autograd.grad(wide_y, (wide_x, wide_w), seed.double())
    for got, wanted in zip(found, exact, strict=True):
        assert got.dtype == torch.bfloat16
        # Once in a while float32's own error decides a tie: nearly all are the exact sum's nearest, none is further
        # than the next.
        assert (got == wanted.bfloat16()).float().mean() > 0.99
        torch.testing.assert_close(got.double(), wanted, rtol=2**-8, atol=1e-5)


class Bf16Calls(TorchDispatchMode):
    """The names of the operations that get bfloat16 tensors."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if any(isinstance(a, torch.Tensor) and a.dtype == torch.bfloat16 for a in args):
            self.names.add(str(func))
        return func(*args, **(kwargs or {}))


def test_emulated_bf16_reaches_every_product_of_a_training_and_of_scoring(monkeypatch):
    for module in ("convolution", "frozen"):  # a processor without bf16 has no fused convolution of it
        monkeypatch.setattr(f"vadlib.engine.{module}.fuses", lambda x: x.dtype != torch.bfloat16)
    engine = make_engine(ComputeSettings(precision="bf16", device="cpu"))
    network = engine.for_training(build_model(StateSettings(widths=(4, 8, 16), layers=1, heads=2), "raw", 5))
    cubes = torch.rand(2, 5, 3, 16, 16)
    with Bf16Calls() as calls, Bf16InFloat32():
        with engine.autocast():
            output = network(cubes)
        output.float().square().sum().backward()
        with engine.autocast(), torch.inference_mode():
            engine.for_scoring(network)(cubes)
    assert calls.names  # ReLU and the like run in bfloat16 as they are
    assert not [name for name in calls.names if any(word in name for word in ("conv", "mm", "matmul", "linear"))]
