"""Frame scores of other systems: read, checked, and put beside this project's own."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from tests import layouts
from tests.projects import changed, run_stages, settings, write_boxes, write_params
from vadlib.cli.main import app
from vadlib.errors import VadError
from vadlib.evaluation.frames import micro_auroc
from vadlib.manifest import load_manifest
from vadlib.pipeline.evaluate import evaluate_external, print_summaries, read_scores
from vadlib.pipeline.places import Places

NAMES = layouts.NAMES["testing"]


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    """A data set that was prepared and no more, and scores that know the labels but for some noise."""
    (tmp_path / "data/mini").mkdir(parents=True)
    truth = layouts.write_frames_folders(tmp_path / "data/mini", "pooled")
    write_boxes(tmp_path / "data/mini/boxes.csv", truth)
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path, {"mini": changed()})
    run_stages(settings(), ["prepare"])
    rng = np.random.default_rng(0)
    return [truth.labels[f"testing/{name}"] + rng.normal(0, 0.7, layouts.FRAMES) for name in NAMES]


def table(scores: list[np.ndarray]) -> pd.DataFrame:
    parts = [pd.DataFrame({"clip": n, "frame": range(len(s)), "score": s}) for n, s in zip(NAMES, scores, strict=True)]
    return pd.concat(parts)


def clips():
    return load_manifest(Path("work/mini/prepared/manifest.json")).split("testing")


def test_csv_npy_and_a_folder_of_npy_are_the_same_scores(prepared):
    table(prepared).sample(frac=1, random_state=0).to_csv("scores.csv", index=False)
    np.save("scores.npy", np.concatenate(prepared))
    Path("folder").mkdir()
    for name, scores in zip(NAMES, prepared, strict=True):
        np.save(f"folder/{name}.npy", scores[None])
    for source in ("scores.csv", "scores.npy", "folder"):
        found = read_scores(Path(source), clips())
        np.testing.assert_allclose(np.concatenate(found), np.concatenate(prepared), rtol=1e-12)


def test_the_command_writes_the_metrics_and_prints_them_beside_the_others(prepared):
    np.save("other.npy", np.concatenate(prepared))
    result = CliRunner().invoke(app, ["evaluate", "other.npy", "--dataset", "mini"])
    assert result.exit_code == 0, result.output
    np.save("worse.npy", -np.concatenate(prepared))
    result = CliRunner().invoke(app, ["evaluate", "worse.npy", "--dataset", "mini", "--name", "upside down"])
    metrics = json.loads(Path("metrics/mini/external/other.json").read_text())
    expected = micro_auroc([clip.labels() for clip in clips()], prepared)
    assert metrics["auroc"]["micro"] == pytest.approx(expected)
    assert set(metrics["auroc"]) == {"micro", "macro"}
    assert metrics["intervals"]["auroc"]["micro"][0] <= expected <= metrics["intervals"]["auroc"]["micro"][1]
    head, *rows = result.output.splitlines()[1:]
    assert head.split() == ["other", "upside", "down"]
    micro = next(row for row in rows if "micro" in row)
    assert f"{100 * expected:.2f}" in micro
    assert f"{100 * (1 - expected):.2f}" in micro
    assert not any("floor" in row or "RBDC" in row for row in rows)


def test_this_projects_own_row_stands_first_where_there_is_one(prepared, capsys):
    np.save("other.npy", np.concatenate(prepared))
    evaluate_external(Places.of("mini"), Path("other.npy"), "other")
    own = json.loads(Path("metrics/mini/external/other.json").read_text())
    own["auroc"]["floor"] = 0.25
    Path("metrics/mini/metrics.json").write_text(json.dumps(own))
    capsys.readouterr()
    evaluate_external(Places.of("mini"), Path("other.npy"), "other")
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split("  ")[-2:] != ["other"]
    assert lines[1].split() == ["this", "project", "other"]
    floor = next(line for line in lines if "floor" in line).split()
    assert floor[-2:] == ["25.00", "-"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.iloc[:-1], "frame 11 is missing"),
        (lambda t: pd.concat([t, t.iloc[:1]]), "frames beyond them, or twice"),
        (lambda t: t.assign(clip=t["clip"].replace("02", "09")), "no testing clip '09'"),
        (lambda t: t.assign(score=t["score"].where(t["frame"] != 5)), "score nan at frame 5 of clip 01"),
        (lambda t: t.assign(score="high"), "scores numbers"),
        (lambda t: t.rename(columns={"score": "value"}), "columns must be clip,frame,score"),
    ],
)
def test_scores_that_do_not_fit_the_data_set_are_one_line(prepared, change, words):
    change(table(prepared)).to_csv("scores.csv", index=False)
    result = CliRunner().invoke(app, ["evaluate", "scores.csv", "--dataset", "mini"])
    assert result.exit_code == 1
    assert words in result.output
    assert len(result.output.splitlines()) == 1
    assert not Path("metrics/mini/external").exists()


def test_npy_of_another_length_or_with_objects_is_refused(prepared):
    np.save("short.npy", np.concatenate(prepared)[:-2])
    with pytest.raises(VadError, match=r"34 scores, the 3 testing clips have 36 frames"):
        read_scores(Path("short.npy"), clips())
    np.save("objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(VadError, match="expected an array of numbers"):
        read_scores(Path("objects.npy"), clips())


def test_npy_of_clips_whose_order_is_not_clear_is_refused(prepared):
    """`2` before `10`, or after it as text: a file without names could mean either."""
    np.save("scores.npy", np.zeros(24))
    names = [replace(clips()[0], name=name) for name in ("2", "10")]
    with pytest.raises(VadError, match="pad the clips' names with zeros"):
        read_scores(Path("scores.npy"), names)


def test_a_folder_with_a_clip_too_many_too_few_or_too_short_is_refused(prepared):
    Path("folder").mkdir()
    for name, scores in zip(NAMES, prepared, strict=True):
        np.save(f"folder/{name}.npy", scores)
    np.save("folder/99.npy", prepared[0])
    with pytest.raises(VadError, match="no testing clip '99'"):
        read_scores(Path("folder"), clips())
    Path("folder/99.npy").unlink()
    np.save("folder/02.npy", prepared[1][:5])
    with pytest.raises(VadError, match="5 scores for clip 02, which has 12 frames"):
        read_scores(Path("folder"), clips())
    Path("folder/02.npy").unlink()
    with pytest.raises(VadError, match=r"02\.npy"):
        read_scores(Path("folder"), clips())


@pytest.mark.parametrize("name", ["../other", "a/b", "", "."])
def test_a_name_that_leaves_the_folder_is_refused(prepared, name):
    np.save("other.npy", np.concatenate(prepared))
    result = CliRunner().invoke(app, ["evaluate", "other.npy", "--dataset", "mini", "--name", name])
    assert result.exit_code == 1
    assert "cannot name" in result.output


def test_a_metric_that_does_not_exist_is_printed_as_none(capsys):
    print_summaries(
        "mini", {"": {"auroc": {"micro": None, "macro": 0.5}, "intervals": {"auroc": {"macro": [0.25, 1]}}}}
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[-1] == "none"
    assert lines[2].endswith("50.00 [25.00, 100.00]")
