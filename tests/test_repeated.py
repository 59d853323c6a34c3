"""Continuous integration holds a run against what is in git: what it lets pass, and what it says of the rest."""

import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from scripts.repeated import Differs, compare

METRICS = Path("metrics/tiny/metrics.json")
MACHINE = {"step": "score", "processor": "AVX2", "threads": 2}


def write_results(micro: float = 0.75, machine: dict = MACHINE, **more) -> None:
    """What a run leaves: its metrics, and the lock that names their digest."""
    METRICS.parent.mkdir(parents=True, exist_ok=True)
    content = {"auroc": {"micro": micro}, "made_with": [{"step": "detect"}, machine], "counts": {"cubes": 261}, **more}
    METRICS.write_text(json.dumps(content))
    Path("metrics/tiny/eta.csv").write_text(f"eta,micro\n0.002,{micro}\n")
    lock(METRICS, Path("metrics/tiny/eta.csv"))


def lock(*outs: Path, code: str = "a1", cmd: str = "python stages/evaluate.py", eta: float = 0.002) -> None:
    entry = {
        "cmd": cmd,
        "deps": [{"path": "vadlib/evaluation", "md5": code}, {"path": "work/tiny/scores", "md5": "s"}],
        "params": {"params.yaml": {"dataset.tiny.eta": eta}},
        "outs": [{"path": out.as_posix(), "md5": hashlib.md5(out.read_bytes()).hexdigest()} for out in outs],
    }
    other = {"cmd": "python", "outs": [{"path": "work/mine", "md5": "x"}]}
    with Path("dvc.lock").open("w") as file:
        YAML(typ="safe", pure=True).dump({"stages": {"evaluate@tiny": entry, "prepare@mine": other}}, file)


@pytest.fixture(autouse=True)
def committed(tmp_path, monkeypatch) -> None:
    """A repository with the results of a run."""
    monkeypatch.chdir(tmp_path)
    write_results()
    for command in ("init -q", "add .", "-c user.name=x -c user.email=x@example.org commit -qm results"):
        subprocess.run(["git", *command.split()], check=True)


def refused() -> str:
    with pytest.raises(Differs) as caught:
        compare("tiny")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_same_bytes_pass():
    assert compare("tiny") == "tiny: the same to the byte"


def test_a_last_digit_on_the_same_kind_of_machine_does_not():
    write_results(0.7500001)
    assert "files differ, such as metrics/tiny/eta.csv, though the same kind of machine made them" in refused()


def test_another_processor_may_round_otherwise_and_that_is_said():
    write_results(0.7512, {**MACHINE, "processor": "AVX512-BF16+AMX"})
    line = compare("tiny")
    assert line == (
        "tiny: made on another kind of machine (processor AVX2, here AVX512-BF16+AMX); digits differ, by 0.0012 at most"
    )


@pytest.mark.parametrize(
    ("results", "words"),
    [
        ({"micro": 0.8}, "metrics/tiny/metrics.json has 0.8 for 0.75: more than rounding (processor AVX2, here NEON)"),
        ({"counts": {"cubes": 280}}, "metrics.json has 280 for 261: more than rounding"),
        ({"rbdc": 0.5}, "metrics.json has other words or keys, or more or fewer of them: more than rounding"),
    ],
)
def test_another_processor_does_not_explain_everything(results, words):
    write_results(machine={**MACHINE, "processor": "NEON"}, **results)
    assert words in refused()


def edit(change: Callable[[], None]) -> None:
    """Commit a change made by hand."""
    change()
    subprocess.run(["git", "-c", "user.name=x", "-c", "user.email=x@example.org", "commit", "-qam", "edit"], check=True)


def test_a_byte_of_committed_metrics_altered_by_hand_is_seen_on_every_machine():
    edit(lambda: METRICS.write_text(METRICS.read_text().replace("0.75", "0.76")))
    write_results(machine={**MACHINE, "processor": "NEON"})
    assert refused().startswith("metrics/tiny/metrics.json: not what dvc.lock says was made; it was altered by hand")


@pytest.mark.parametrize(
    ("now", "words"),
    [
        ({"code": "b2"}, "evaluate@tiny was run with another vadlib/evaluation (a1, here b2)"),
        ({"cmd": "python stages/other.py"}, "evaluate@tiny was run with another command"),
        ({"eta": 0.1}, "evaluate@tiny was run with another setting"),
    ],
)
def test_results_of_other_code_or_settings_are_seen_whatever_they_are(now, words):
    lock(METRICS, **now)
    assert words in refused()


def test_a_data_set_without_results_in_git_says_so():
    with pytest.raises(Differs, match=r"mine: no results in git; run `dvc repro evaluate@mine` and commit them"):
        compare("mine")
