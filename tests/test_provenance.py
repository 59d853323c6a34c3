"""What stands beside a result: versions, device, kind of processor, precision, threads. A data set's own precision."""

import json

import pandas as pd
import pytest
import torch

from tests.conftest import ROOT
from vadlib.engine import processor, provenance
from vadlib.engine.engine import make_engine
from vadlib.errors import VadError
from vadlib.io.tables import read_metadata, write_table
from vadlib.models.checkpoint import load_model, model_made_with, save_model
from vadlib.models.registry import build_model
from vadlib.settings import ComputeSettings, StateSettings, load_dataset
from vadlib.version import __version__

SMALL = StateSettings(widths=(4, 8, 8), layers=1)
CPU = torch.device("cpu")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_it_names_what_the_digits_depend_on(precision):
    made = provenance.made_with(make_engine(ComputeSettings(precision=precision, device="cpu")))
    assert list(made) == ["vadlib", "torch", "device", "processor", "precision", "threads", "libraries"]
    assert (made["vadlib"], made["torch"], made["device"]) == (__version__, torch.__version__, "cpu")
    assert (made["precision"], made["threads"]) == (precision, torch.get_num_threads())
    assert "numpy 2." in made["libraries"] or "numpy 1." in made["libraries"]
    assert json.loads(json.dumps(made)) == made


@pytest.mark.parametrize(
    ("vectors", "flags", "kind"),
    [
        ("AVX512", {"avx512f", "avx512_bf16", "amx_bf16"}, "AVX512-BF16+AMX"),
        ("AVX512", {"avx512f", "avx512_bf16"}, "AVX512-BF16"),
        ("AVX512", {"avx512f"}, "AVX512"),
        ("AVX2", {"avx2"}, "AVX2"),
        ("DEFAULT", set(), "aarch64"),
    ],
)
def test_kinds_of_processor_have_names(monkeypatch, vectors, flags, kind):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: vectors)
    monkeypatch.setattr(processor, "cpu_flags", lambda: frozenset(flags))
    monkeypatch.setattr(processor.platform, "machine", lambda: "aarch64")
    assert processor.processor_kind(CPU) == kind


def test_a_model_says_what_made_it(tmp_path):
    path = tmp_path / "m.safetensors"
    save_model(path, build_model(SMALL, "raw", 3), SMALL, "raw", 3, {"torch": "2.9", "threads": 4})
    assert model_made_with(path, "it") == {"torch": "2.9", "threads": 4}
    assert load_model(path, "raw", "it")[1] == SMALL
    save_model(path, build_model(SMALL, "raw", 3), SMALL, "raw", 3)
    assert model_made_with(path, "it") == {}
    path.write_bytes(b"x" * 100)
    with pytest.raises(VadError, match="not a model of this project"):
        model_made_with(path, "it")


def test_a_table_gives_back_what_was_written_beside_it(tmp_path):
    write_table(tmp_path / "t.parquet", [pd.DataFrame({"a": [1]})], {"made_with": "[1]"})
    assert read_metadata(tmp_path / "t.parquet", "it") == {"made_with": "[1]"}
    write_table(tmp_path / "t.parquet", [pd.DataFrame({"a": [1]})])
    assert read_metadata(tmp_path / "t.parquet", "it") == {}
    with pytest.raises(VadError, match=r"u\.parquet: not found; make it first with it"):
        read_metadata(tmp_path / "u.parquet", "it")
    (tmp_path / "t.parquet").write_bytes(b"x" * 100)
    with pytest.raises(VadError, match="not a whole table"):
        read_metadata(tmp_path / "t.parquet", "it")


def test_a_data_sets_own_precision_goes_before_that_of_all(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("datasets: []\ncompute: {precision: bf16}\ndataset: {mine: {precision: fp32}, yours: {}}\n")
    assert load_dataset("mine", path)[1].precision == "fp32"
    assert load_dataset("yours", path)[1].precision == "bf16"
    assert {name: load_dataset(name, ROOT / "params.yaml")[1].precision for name in ("tiny", "synthetic")} == {
        "tiny": "fp32",
        "synthetic": "fp32",
    }
