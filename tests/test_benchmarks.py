"""What the benchmarks choose and print; nothing here is timed."""

import benchmarks.measure
from benchmarks.__main__ import shown
from benchmarks.measure import best_batch
from benchmarks.networks import rows


def test_rows_without_a_gemm_rate_are_empty_and_say_so():
    found = list(rows({"train_bf16", "score_sweep5_bf16"}, 1, {"bf16": None, "fp32": 100.0}))
    assert [row["name"] for row in found] == ["train_bf16", "score_sweep5_bf16"]
    for row in found:
        assert row["rate"] is row["ratio"] is row["gemm_share"] is row["peak_mb"] is None
        assert shown(row)["rate"] == "no bf16 here"


def test_the_fastest_batch_is_chosen_by_its_better_run(monkeypatch):
    rates = {8: [3.0, 5.0], 16: [1.0, 9.0], 32: [6.0, 6.0]}  # each batch's first and second run
    monkeypatch.setattr(benchmarks.measure, "rate", lambda work: rates[work()].pop(0))
    batch, work = best_batch(lambda size: lambda: size, (8, 16, 32))
    assert batch == work() == 16
