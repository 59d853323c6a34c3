"""The benchmarks on a processor without bf16: rows stay empty rather than take hours."""

from benchmarks.__main__ import shown
from benchmarks.networks import rows


def test_rows_without_a_gemm_rate_are_empty_and_say_so():
    found = list(rows({"train_bf16", "score_sweep5_bf16"}, 1, {"bf16": None, "fp32": 100.0}))
    assert [row["name"] for row in found] == ["train_bf16", "score_sweep5_bf16"]
    for row in found:
        assert row["rate"] is row["ratio"] is row["gemm_share"] is row["peak_mb"] is None
        assert shown(row)["rate"] == "no bf16 here"
