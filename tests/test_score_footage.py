"""`vad score`: what it leaves, from any kind of footage, and after a kill, Ctrl-C or damage."""

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from tests import layouts, videos
from tests.conftest import ROOT
from tests.projects import COMPUTE, make_packaged, until
from vadlib.boxes.detect import BOUNDED
from vadlib.cli import main as commands
from vadlib.cli.main import app
from vadlib.clips import read_footage
from vadlib.errors import FootageError, Losses, VadError
from vadlib.footage import score as module
from vadlib.footage.find import Footage, find_footage, listed_paths
from vadlib.footage.score import FRAME_COLUMNS, SEGMENT_COLUMNS, score_footage
from vadlib.footage.stream import ScoredFrame, make_scorer
from vadlib.io.ownership import LEDGER, alone_in, own
from vadlib.scoring.model_folder import read_package

FILES = ["annotated.mp4", "frames.csv", "report.html", "segments.csv"]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A model folder `models/mini`, and the footage it was made from."""
    return make_packaged(tmp_path_factory.mktemp("scored"), until("calibrate"))


@pytest.fixture(scope="module")
def model(project):
    package = read_package(project / "models/mini")
    return make_scorer(package, COMPUTE), package.threshold


def vad(*arguments: object, stdin: str | None = None):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)


def files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() and p.name != LEDGER)


def shown(video: Path, *, killed: bool = False) -> list[float]:
    """The times of a video's frames, each decoded; where its writer was `killed`, up to a frame that was cut."""
    times = []
    with av.open(str(video)) as container:
        try:
            for frame in container.decode(video=0):
                times.append(frame.time)
        except av.InvalidDataError:
            if not killed:
                raise
    return times


def long_video(path: Path, frames: int = 400) -> None:
    images = np.random.default_rng(0).integers(0, 255, (8, 96, 128, 3), np.uint8)
    layouts.write_video(path, np.stack([images[n % 8] for n in range(frames)]))


def test_progress_over_several_clips_says_how_many_and_how_fast(project, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    commands.score([project / "data/mini/testing"], project / "models/mini", tmp_path / "out")
    shown = [line for line in re.split(r"[\r\n]", capsys.readouterr().err) if line.startswith("score:")]
    assert re.search(r" 0/3 ", shown[0])
    assert re.search(r" 3/3 .* \d+\.\d frames/s", shown[-1])


def test_one_video_leaves_tables_video_and_page(project, tmp_path):
    video = project / "data/mini/testing/01.mp4"
    done = vad("score", video, "--model", project / "models/mini", "--output", tmp_path / "out", "--threshold", 0)
    assert done.exit_code == 0, done.output
    assert re.search(r"1 clips, 12 frames, \d+ cubes, .* frames/s in .* s, peak memory \d+ MiB", done.output)
    assert files(tmp_path / "out") == FILES
    frames = pd.read_csv(tmp_path / "out/frames.csv")
    assert tuple(frames) == FRAME_COLUMNS
    assert frames["frame"].tolist() == list(range(12))
    np.testing.assert_allclose(frames["time_s"], np.arange(12) / 25, atol=1e-6)
    assert (frames["is_anomalous"] == (frames["score"] > 0)).all()
    has = frames["boxes"] > 0
    assert (frames[["score", "x1", "y1", "x2", "y2", "track"]].notna().all(axis=1) == has).all()
    assert frames["reason"][~frames["is_anomalous"]].isna().all()
    segments = pd.read_csv(tmp_path / "out/segments.csv")
    assert tuple(segments) == SEGMENT_COLUMNS
    assert segments["peak_score"].max() == frames["score"].max()
    np.testing.assert_allclose(shown(tmp_path / "out/annotated.mp4"), frames["time_s"], atol=1e-4)
    page = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    assert "annotated.mp4" in page
    starts = [float(start) for start in re.findall(r'<li data-event="\d+" data-start="([^"]*)"', page)]
    assert starts == pytest.approx(segments["start_s"], abs=1e-3)
    assert page.count("The whole picture at the event's peak") == len(starts) > 0


def test_of_many_events_the_highest_are_kept_in_the_order_of_time(monkeypatch, model):
    monkeypatch.setattr(module, "EVENTS", 3)
    findings = module._Findings("a", model[0].scorer.settings.detector, None)
    image, boxes, none = np.zeros((90, 160, 3), np.uint8), np.array([[10, 20, 60, 70]], np.float32), np.zeros((1, 0))
    for n, score in enumerate([5.0, 1.0, 9.0, 2.0, 9.0, 3.0, 5.0]):
        scores = np.array([score])
        frame = ScoredFrame(n, 10.0 * n, image, boxes, scores, np.arange(1), {}, score, none, none, 0, None)
        findings.happened(module._Run((n, 10.0 * n), (n, 10.0 * n + 1), frame))
        findings.pass_by(frame) if n else findings.add(replace(frame, score=np.nan), anomalous=False)
    report = findings.report("a", *model, [])
    assert report.events is not None
    assert [(event.start, event.score) for event in report.events] == [(0, 5), (20, 9), (40, 9)]
    assert report.events_found == 7


def test_the_annotated_video_is_what_browsers_play(project, model, tmp_path):
    score_footage(Footage("01", project / "data/mini/testing/01.mp4"), *model, tmp_path)
    with av.open(str(tmp_path / "annotated.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert stream.width % 2 == stream.height % 2 == 0
        assert stream.width >= 640


def test_boxes_are_drawn_where_they_are_in_their_colours(model):
    from vadlib.footage.annotate import ANOMALOUS, NORMAL, colour_of, draw_boxes

    _, threshold = model
    boxes = np.array([[10, 20, 60, 70], [100, 20, 150, 70]], np.float32)
    scores = np.array([threshold.median, threshold.value + 1])
    none = np.zeros((2, 0))
    image = np.zeros((120, 320, 3), np.uint8)
    frame = ScoredFrame(0, 0.0, image, boxes, scores, np.arange(2), {}, scores[1], none, none, 0, True)
    picture = draw_boxes(frame, threshold).astype(int)
    assert picture.shape == (240, 640, 3)
    assert np.abs(picture[90, 20] - NORMAL).max() < 10  # left edge of the first box, twice as large
    assert np.abs(picture[90, 200] - ANOMALOUS).max() < 10
    between = colour_of((threshold.median + threshold.value) / 2, threshold)
    assert NORMAL != between != ANOMALOUS


def test_labels_of_scores_do_not_lie_over_each_other():
    """Boxes that share a corner, a picture's edge, or all of each other."""
    from vadlib.footage.annotate import _room

    size, wide, high = (640, 360), 40.0, 18.0
    rng = np.random.default_rng(0)
    crowds = [[(100, 50, 160, 170)] * 3, [(600, 300, 640, 360)] * 3]
    for _ in range(200):
        corner = rng.uniform(0, (500, 220))
        at = corner + rng.uniform(-15, 15, (3, 2))
        crowds.append([tuple(box) for box in np.concatenate([at, at + rng.uniform(20, 120, (3, 2))], axis=1)])
    for boxes in crowds:
        taken: list[tuple[float, float, float, float]] = []
        for box in boxes:
            place = _room([float(edge) for edge in box], wide, high, 2, size, taken)
            if place is None:
                continue
            x, y = place
            assert 0 <= x <= size[0] - wide
            assert 0 <= y <= size[1] - high
            assert all(x + wide <= a or c <= x or y + high <= b or d <= y for a, b, c, d in taken)
            taken.append((x, y, x + wide, y + high))
        assert len(taken) >= 2  # a label that has room is there


def test_scores_do_not_depend_on_the_threshold_and_colours_do_not_fail_at_odd_ones(project, model, tmp_path):
    from dataclasses import replace

    scorer, threshold = model
    for value in (threshold.median - 5, threshold.median, 1e9):
        score_footage(
            Footage("01", project / "data/mini/testing/01.mp4"), scorer, replace(threshold, value=value), tmp_path
        )
        frames = pd.read_csv(tmp_path / "frames.csv")
        assert (frames["is_anomalous"] == (frames["score"] > value)).all()


def test_the_same_footage_is_the_same_bytes(project, model, tmp_path):
    for name in ("a", "b"):
        score_footage(Footage("01", project / "data/mini/testing/01.mp4"), *model, tmp_path / name)
    for file in FILES:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file


def test_parquet_holds_the_same_rows(project, model, tmp_path):
    score_footage(Footage("01", project / "data/mini/testing/01.mp4"), *model, tmp_path, parquet=True)
    types = {"frame": "int32", "boxes": "int32", "track": "float64", "reason": "str"}  # no box has no track
    expected = pd.read_csv(tmp_path / "frames.csv", keep_default_na=False, na_values={"score": "", "track": ""})
    expected = expected.astype(types)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "frames.parquet"), expected)


# What footage may be


def named(*paths: Path) -> list[str]:
    return [footage.name for footage in find_footage(paths)]


def test_a_folder_of_images_has_times_by_the_frame_rate(project, model, tmp_path):
    score_footage(Footage("02", project / "data/mini/testing/02"), *model, tmp_path, fps=10)
    np.testing.assert_allclose(pd.read_csv(tmp_path / "frames.csv")["time_s"], np.arange(12) / 10)


def test_a_folder_of_clips_is_each_of_them_in_natural_order(project):
    assert named(project / "data/mini/testing") == ["01", "02", "03"]


def test_several_clips_get_a_folder_each_and_paths_come_from_standard_input(project, tmp_path):
    testing = project / "data/mini/testing"
    listed = f"{testing / '01.mp4'}\n\n{testing / '02'}\n"
    done = vad("score", "-", "--model", project / "models/mini", "--output", tmp_path / "out", stdin=listed)
    assert done.exit_code == 0, done.output
    assert "2 clips, 24 frames" in done.output
    assert files(tmp_path / "out") == [
        *(f"{clip}/{file}" for clip in ("01", "02") for file in FILES),
        "index.html",
    ]


def test_paths_are_taken_from_a_stream_as_they_are_wanted(tmp_path):
    (tmp_path / "a.mp4").touch()
    taken = []

    def stream():
        for line in (f"{tmp_path / 'a.mp4'}\n", "never\n"):
            taken.append(line)
            yield line

    first = next(find_footage(listed_paths([Path("-")], stream())))
    assert (first.name, len(taken)) == ("a", 1)


def test_image_files_in_order_are_one_clip_and_read_one_by_one(project, model, tmp_path):
    """As a camera leaves them: their names need no numbers, and the last may not be there yet."""
    images = sorted((project / "data/mini/testing/02").iterdir(), key=lambda p: int(re.sub(r"\D", "", p.stem)))
    footage = next(find_footage(iter(images)))
    assert footage.name == "02"
    score_footage(footage, *model, tmp_path / "files")
    score_footage(Footage("02", project / "data/mini/testing/02"), *model, tmp_path / "folder")
    assert (tmp_path / "files/frames.csv").read_bytes() == (tmp_path / "folder/frames.csv").read_bytes()


def test_what_is_no_footage_is_one_line(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "a").mkdir()
    for path in (tmp_path / "A.mp4", tmp_path / "a/1.png"):
        path.touch()
    with pytest.raises(VadError, match=r"gone.mp4: not found"):
        named(tmp_path / "gone.mp4")
    with pytest.raises(VadError, match=r"empty: no footage in the folder"):
        named(tmp_path / "empty")
    assert named(tmp_path / "A.mp4", tmp_path / "a") == ["A.mp4", "a/images"]


# Kills and damage


def started(project: Path, video: Path, output: Path) -> subprocess.Popen:
    """`vad score` in a process of its own, that has written some frames."""
    command = ["score", str(video), "--model", str(project / "models/mini"), "--output", str(output)]
    process = subprocess.Popen(
        [sys.executable, "-m", "vadlib", *command], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    table = output / "frames.csv"
    for _ in range(1200):
        if table.exists() and table.read_bytes().count(b"\n") > 120:
            return process
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    raise AssertionError("nothing was scored in a minute")


def test_a_kill_leaves_tables_that_open_and_a_video_that_plays(project, tmp_path):
    long_video(tmp_path / "long.mp4", 4000)
    process = started(project, tmp_path / "long.mp4", tmp_path / "out")
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    frames = pd.read_csv(tmp_path / "out/frames.csv")
    assert 100 < len(frames) < 4000
    assert frames["frame"].tolist() == list(range(len(frames)))
    assert tuple(pd.read_csv(tmp_path / "out/segments.csv")) == SEGMENT_COLUMNS
    times = shown(tmp_path / "out/annotated.mp4", killed=True)  # players stop at a cut frame just so
    assert len(times) >= 25
    np.testing.assert_allclose(times, frames["time_s"][: len(times)], atol=1e-4)


def test_ctrl_c_finishes_the_files_of_what_was_done(project, tmp_path):
    long_video(tmp_path / "long.mp4", 4000)
    process = started(project, tmp_path / "long.mp4", tmp_path / "out")
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert said.endswith("out holds what was scored so far, whole\n")
    assert "Traceback" not in said
    assert files(tmp_path / "out") == FILES
    frames = pd.read_csv(tmp_path / "out/frames.csv")
    assert abs(len(shown(tmp_path / "out/annotated.mp4")) - len(frames)) <= 1
    page = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    assert re.search(r"long: its first \d+ frames", page)


def test_a_cut_video_is_an_error_and_what_came_before_is_kept(project, model, tmp_path):
    """All of it: the rows of frames that were still waiting for others too."""
    long_video(tmp_path / "cut.avi", 200)
    content = (tmp_path / "cut.avi").read_bytes()
    (tmp_path / "cut.avi").write_bytes(content[: len(content) // 2])
    with pytest.raises(FootageError, match=r"clip cut \(.*cut\.avi\): cut at \d.\d s, .* of the 200 its header names"):
        score_footage(Footage("cut", tmp_path / "cut.avi"), *model, tmp_path / "out")
    losses = Losses()
    whole = len(list(read_footage(tmp_path / "cut.avi", "cut", 25, losses)))
    frames = pd.read_csv(tmp_path / "out/frames.csv")
    assert 50 < len(frames) == whole < 150
    assert len(shown(tmp_path / "out/annotated.mp4")) == len(frames)
    page = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    assert "cut at" in page
    counts = score_footage(Footage("cut", tmp_path / "cut.avi"), *model, tmp_path / "out", losses=Losses())
    assert counts["frames"] == whole


def test_what_was_left_out_and_how_times_were_made_stands_in_the_report(model, tmp_path):
    path = videos.damaged(videos.make(tmp_path, "avi", codec="libx264", b_frames=2), 40)
    losses = Losses()
    score_footage(Footage("a", path), *model, tmp_path / "out", losses=losses)
    frames = pd.read_csv(tmp_path / "out/frames.csv")
    assert len(frames) + losses.frames == 100
    assert np.diff(frames["time_s"]).min() > 0
    page = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    assert "1 frame (0.04 s) left out: clip a: frame 40" in page
    assert "the times of all frames were made from the frame rate (25 frames/s)" in page


def test_the_bound_of_motion_boxes_is_told_of_a_clip(project, tmp_path):
    package = read_package(project / "models/mini")
    scorer = make_scorer(package, COMPUTE)
    settings = scorer.scorer.settings
    motion = settings.detector.motion.model_copy(update={"most": 1, "kernel": 1, "threshold": 18})
    detector = settings.detector.model_copy(update={"motion": motion})
    scorer = replace(
        scorer, scorer=replace(scorer.scorer, settings=settings.model_copy(update={"detector": detector}))
    )  # fmt: skip
    blinking = np.zeros((6, 48, 64, 3), np.uint8)
    blinking[::2, 8:20, 8:20] = blinking[::2, 24:40, 40:60] = 255
    footage = Footage("blinking", videos.write(tmp_path / "blinking.avi", "ffv1", frames=list(blinking)))
    told = Losses()
    counts = score_footage(footage, scorer, package.threshold, tmp_path / "found", losses=told)
    assert counts[BOUNDED] == 6
    assert [line for line in told.notes if "6 of 6 frames had more than 1 motion boxes" in line]
    assert told.error == ""
    assert "6 of 6 frames had more than 1 motion boxes" in (tmp_path / "found/report.html").read_text("utf-8")
    assert set(pd.read_csv(tmp_path / "found/frames.csv")["boxes"]) == {1}


def test_one_bad_clip_does_not_end_the_others(project, tmp_path):
    """Five bad in five ways, a damaged one and a cut one among them, beside good ones."""
    footage = tmp_path / "footage"
    good = project / "data/mini/testing/01.mp4"
    for name in ("cam1/1", "cam1/2", "cam2/1"):
        (footage / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(good, footage / f"{name}.mp4")
    videos.damaged(videos.make(footage / "cam2", "mov"), *range(40, 45), size=10**6).rename(
        footage / "cam2/damaged.mov"
    )
    videos.cut(videos.make(footage, "mkv")).rename(footage / "cut.mkv")
    videos.cut(videos.make(footage, "3gp")).rename(footage / "no-index.3gp")
    videos.write(footage / "tiny.avi", "mpeg4", frames=[p[:8, :8] for p in videos.pictures(3)])
    (footage / "text.mp4").write_text("hello")
    (footage / "lost+found").mkdir()
    before = {path: path.read_bytes() for path in footage.rglob("*") if path.is_file()}
    done = vad("score", footage, "--model", project / "models/mini", "--output", tmp_path / "out")
    assert done.exit_code == 3, done.output
    scored = [path.removesuffix("/frames.csv") for path in files(tmp_path / "out") if path.endswith("frames.csv")]
    assert scored == ["cam1/1", "cam1/2", "cam2/1", "cam2/damaged", "cut"]
    lines = done.stderr.splitlines()
    assert sum(line.startswith("left out: ") for line in lines) == 3
    for file in ("no-index.3gp", "tiny.avi", "text.mp4", "damaged.mov", "cut.mkv"):
        assert sum(file in line for line in lines) == 1, file
    lost = re.search(r"5 clips, .*3 clips left out, 2 clips partly left out, (\d+) frames left out, ", done.stdout)
    assert 54 <= int(lost[1]) <= 60  # of 100: the five damaged, and the half that is missing
    assert {path: path.read_bytes() for path in before} == before
    strict = vad("score", footage, "--model", project / "models/mini", "--output", tmp_path / "strict", "--strict")
    assert strict.exit_code == 1
    assert strict.stderr.startswith("error: ")
    assert strict.stderr.count("\n") == 1
    assert not (tmp_path / "strict").exists()


def test_strict_stops_at_what_is_lost_of_a_clip_once_it_is_scored(project, tmp_path):
    path = videos.damaged(videos.make(tmp_path / "f", "mp4"), 40)
    shutil.copyfile(project / "data/mini/testing/01.mp4", tmp_path / "f/b.mp4")
    given = ("score", tmp_path / "f", "--model", project / "models/mini", "--output", tmp_path / "out", "--strict")
    done = vad(*given)
    assert done.exit_code == 1
    said = r"error: clip a: frame 40 \(.*a\.mp4\) at .* cannot be decoded .*\n"
    assert re.fullmatch(said, done.stderr)
    assert "; replace the file" in done.stderr
    assert len(pd.read_csv(tmp_path / "out/a/frames.csv")) == 99
    assert not (tmp_path / "out/b").exists()
    path.unlink()
    assert vad(*given).exit_code == 0


@pytest.mark.parametrize("spoil", ["text", "gone", "empty folder"])
def test_nothing_that_can_be_scored_is_an_error(project, tmp_path, spoil):
    path = tmp_path / "a.mp4"
    if spoil == "text":
        path.write_text("hello")
    elif spoil == "empty folder":
        path.mkdir()
    done = vad("score", path, path.with_name("b.mp4"), "--model", project / "models/mini", "--output", tmp_path / "out")
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1] == "error: nothing was scored: none of it can be read"
    assert done.stderr.count("left out: ") == 2
    alone = vad("score", path, "--model", project / "models/mini", "--output", tmp_path / "out")
    assert (alone.exit_code, alone.stderr.count("\n")) == (1, 1)
    assert re.match(r"error: .*a\.mp4\)?: (cannot be opened as|not found; expected|no footage in)", alone.stderr)
    assert not (tmp_path / "out/frames.csv").exists()


def test_names_that_clash_nest_as_the_footage_does(project, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("cam1/00.mp4", "cam2/00.mp4"):
        (tmp_path / name).parent.mkdir()
        shutil.copyfile(project / "data/mini/testing/01.mp4", name)
    for given in (["cam1/00.mp4", "cam2/00.mp4"], ["cam1", "cam2"]):
        shutil.rmtree("out", ignore_errors=True)
        done = vad("score", *given, "--model", project / "models/mini", "--output", "out")
        assert done.exit_code == 0, done.output
        assert files(Path("out")) == [
            *(f"{cam}/00/{file}" for cam in ("cam1", "cam2") for file in FILES),
            "index.html",
        ]


def test_odd_names_are_scored_under_safe_ones(project, tmp_path):
    """With a name that is no UTF-8, in a process of its own; each in one line on the terminal."""
    video = project / "data/mini/testing/01.mp4"
    for name in (b'a"b.mp4', b"a\nb.mp4", b"\xff.mp4"):
        shutil.copyfile(video, os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
    (tmp_path / "bad\n\x1b.mp4").write_text("hello")
    command = [
        sys.executable,
        "-m",
        "vadlib",
        "score",
        tmp_path,
        "--model",
        project / "models/mini",
        "--output",
        tmp_path / "out",
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 3, done.stderr
    assert "3 clips, 36 frames" in done.stdout
    found = [p.parent.name for p in (tmp_path / "out").rglob("frames.csv")]
    assert sorted(name.rsplit("-", 1)[0] for name in found) == ["_", "a_b", "a_b"]
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"left out: {tmp_path}/bad \\x1b.mp4: cannot be opened as a video")


def test_snapshots_have_the_times_of_their_names(project, tmp_path):
    images = sorted((project / "data/mini/testing/02").iterdir(), key=lambda p: int(re.sub(r"\D", "", p.stem)))
    (tmp_path / "s").mkdir()
    for number, image in enumerate(images):
        shutil.copyfile(image, tmp_path / f"s/0107_1007{5 * number:02d}-01-m.png")
    done = vad("score", tmp_path / "s", "--model", project / "models/mini", "--output", tmp_path / "out")
    assert done.exit_code == 0, done.output
    np.testing.assert_allclose(pd.read_csv(tmp_path / "out/frames.csv")["time_s"], 5 * np.arange(12))


def test_an_earlier_runs_files_do_not_stand_beside_this_ones(project, model, tmp_path):
    score_footage(Footage("01", project / "data/mini/testing/01.mp4"), *model, tmp_path, parquet=True)
    (tmp_path / "none.avi").write_bytes(b"no video")
    with pytest.raises(VadError, match="cannot be opened as a video"):
        score_footage(Footage("none", tmp_path / "none.avi"), *model, tmp_path)
    assert not {*FILES, "frames.parquet"} & set(files(tmp_path)) - {"frames.csv", "segments.csv"}


def test_a_row_says_which_object_made_the_score_and_why(tmp_path):
    """The reason has commas in it, and stands only where the frame is called anomalous."""
    frame = SimpleNamespace(
        number=3, time=0.12, score=9.5, boxes=np.array([[0, 0, 1, 1], [1, 2, 3, 4.5]]), tracks=np.array([4, 7]), top=1,
        reason="It is as fast as 1 in 1,200 normal objects",
    )  # fmt: skip
    empty = SimpleNamespace(number=4, time=0.16, score=float("nan"), boxes=np.zeros((0, 4)), top=None)
    with module.Rows(tmp_path / "f.csv", FRAME_COLUMNS) as rows:
        for row in (module.row_of(frame, True), module.row_of(frame, False), module.row_of(empty, False)):
            rows.add(row)
    head, *lines = csv.reader((tmp_path / "f.csv").open(encoding="ascii"))
    assert tuple(head) == FRAME_COLUMNS
    numbers = ["3", "0.12", "9.5", "True", "2", "1.0", "2.0", "3.0", "4.5", "7"]
    assert lines[0] == [*numbers, "It is as fast as 1 in 1,200 normal objects"]
    assert lines[1] == [*numbers[:3], "False", *numbers[4:], ""]
    assert lines[2] == ["4", "0.16", "", "False", "0", *[""] * 6]


def test_segments_join_what_is_less_than_a_second_apart(tmp_path):
    anomalous = {10, 11, 12, 20, 100, 101}
    over: list[module._Run] = []
    with module._Segments(tmp_path / "s.csv", over.append) as segments:
        for number in range(150):
            score = 5.0 + (number == 20) if number in anomalous else 0.0
            segments.see(SimpleNamespace(number=number, time=number / 25, score=score), number in anomalous)
    expected = [(0.4, 0.8, 10, 20, 6.0, 20), (4.0, 4.04, 100, 101, 5.0, 100)]
    assert list(pd.read_csv(tmp_path / "s.csv").itertuples(index=False, name=None)) == expected
    assert [(run.first[0], run.last[0], run.peak.number) for run in over] == [row[2:4] + row[5:] for row in expected]


def test_no_model_is_one_line(tmp_path):
    done = vad("score", "x.mp4", "--model", tmp_path / "none", "--output", tmp_path / "out")
    assert done.exit_code == 1
    assert done.stderr.startswith(f"error: {tmp_path / 'none'}: no model folder there")
    assert done.stderr.count("\n") == 1


def test_two_runs_do_not_write_into_one_folder(project, model, tmp_path):
    own(tmp_path / "out")
    with alone_in(tmp_path / "out"), pytest.raises(VadError, match="out: another run is at work there; wait"):
        score_footage(Footage("01", project / "data/mini/testing/01.mp4"), *model, tmp_path / "out")
    assert not (tmp_path / "out/frames.csv").exists()
