"""The console script `vad`."""

import os
import subprocess
import sys

import pytest
import torch
from typer.testing import CliRunner

import vadlib
from tests.conftest import ROOT
from tests.test_checkpoint import authors_layout
from vadlib.authors import import_checkpoint
from vadlib.cli.main import app
from vadlib.cli.threads import NUMBERS
from vadlib.models.checkpoint import load_model


def vad(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.parametrize("branch", ["raw", "flow"])
def test_import_checkpoint_writes_a_model_of_this_project(tmp_path, branch):
    torch.save(authors_layout((4, 8, 8), layers=2), tmp_path / "c.pth")
    done = vad("import-checkpoint", tmp_path / "c.pth", tmp_path / "m.safetensors", "--branch", branch)
    assert done.exit_code == 0, done.output
    assert "2 layers, 4 heads" in done.output
    network, model, _ = load_model(tmp_path / "m.safetensors", branch, "")
    assert (model.head_input, model.positional) == ("slice", "shared")
    cubes = torch.rand(1, 7, 3, 8, 8)
    assert torch.equal(network(cubes), import_checkpoint(tmp_path / "c.pth", branch)(cubes))


def test_a_file_that_is_no_checkpoint_is_one_line(tmp_path):
    (tmp_path / "c.pth").write_text("hello")
    done = vad("import-checkpoint", tmp_path / "c.pth", tmp_path / "m.safetensors", "--branch", "raw")
    assert done.exit_code == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "m.safetensors").exists()


def test_settings_lists_every_key_with_its_default():
    page = vad("settings").output
    assert "## `dataset.<data set>.source.street`" in page
    widths = "| `widths` | `[32, 64, 128]` | channels | encoder widths; the last is d | paper IV-B |"
    assert widths in page.split("## `dataset.<data set>.model`")[1].split("## ")[0]
    assert "| `precision` | `auto` | `auto` `fp32` `bf16` |" in page.split("## `compute`")[1].split("## ")[0]


def test_check_data_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("datasets: []\ndataset: {mine: {source: {layout: videos}}}\n")
    done = vad("check-data", "mine")
    assert done.exit_code == 0
    assert "data/mine: not found" in done.output


def test_fetch_names_the_benchmarks_it_knows(tmp_path):
    done = vad("fetch", "nothing", "--folder", tmp_path / "x")
    assert done.exit_code == 1
    assert "ped2" in done.stderr


def test_the_version_is_the_packages():
    done = vad("--version")
    assert (done.exit_code, done.output) == (0, f"vadlib {vadlib.__version__}\n")
    assert "Video anomaly detection" in vad("--help").output


def in_a_process(*arguments: str, **variables: str) -> str:
    """What a program is told that `vad` starts from scratch: the environment, and the threads that libraries take."""
    script = (
        "import sys, os\n"
        "from vadlib.cli import main\n"
        "def told():\n"
        "    assert not {'torch', 'cv2'} & {*sys.modules}\n"
        "    import torch, cv2\n"
        "    print(os.environ['OMP_WAIT_POLICY'], torch.get_num_threads(), cv2.getNumThreads())\n"
        "main.app.command(name='told')(told)\n"
        f"sys.argv = ['vad', *{list(arguments)}, 'told']\n"
        "main.main()\n"
    )
    kept = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", *NUMBERS)}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, env={**kept, **variables}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_threads_are_as_many_as_are_asked_for_and_wait_asleep():
    assert in_a_process("--threads", "1") == "PASSIVE 1 1"
    assert in_a_process("--threads", "1", OMP_WAIT_POLICY="ACTIVE") == "ACTIVE 1 1"


def test_shells_can_complete_commands():
    assert "--show-completion" in vad("--help").output
    script = "import sys; sys.argv = ['vad']; from vadlib.cli.main import main; main()"
    completed = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT,
        env={**os.environ, "_VAD_COMPLETE": "complete_bash", "COMP_WORDS": "vad cal", "COMP_CWORD": "1"},
    )  # fmt: skip
    assert completed.stdout.split() == ["calibrate"], completed.stderr
