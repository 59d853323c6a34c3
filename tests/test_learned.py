"""A model knows of what footage it learned, and says where it is given other."""

import json
import re
import shutil

import av
import numpy as np
import pandas as pd
import pytest

from tests import layouts
from tests.test_scene import SMALL, scene_with_a_tree, vad
from vadlib.errors import VadError
from vadlib.footage.learned import Learned, learned_from, read_learned
from vadlib.io.ownership import identity
from vadlib.manifest import Clip


def test_other_rates_and_sizes_are_told_of_and_near_ones_are_not():
    learned = Learned(25.0, 640, 360)
    for fps, width, height in ((25, 640, 360), (30, 640, 360), (20.5, 704, 400), (None, 640, 360)):
        assert learned.otherwise(fps, width, height) == ""
    assert learned.otherwise(10, 640, 360) == (
        "10 frames/s, and the model learned at 25: all seems 2.5 times as fast to it"
    )
    assert learned.otherwise(25, 1280, 720).startswith("frames of 1280x720, and the model learned from 640x360")
    assert Learned(None, 640, 360).otherwise(10, 640, 360) == ""


def test_the_longest_clip_says_the_size_and_clips_without_a_rate_say_none(tmp_path):
    def clip(frames: int, width: int, fps: float | None) -> Clip:
        return Clip("a", "training", str(tmp_path / "a.mp4"), frames, width, 9, fps, ())

    (tmp_path / "a.mp4").touch()
    clips = [clip(10, 64, 25.0), clip(90, 32, None), clip(10, 64, 10.0), clip(10, 64, 25.0)]
    assert learned_from(clips) == Learned(25.0, 32, 9, (identity(tmp_path / "a.mp4"),))
    assert learned_from(clips[1:2]).fps is None


@pytest.mark.parametrize(
    "content", ["{}", "[]", '{"fps": "25", "size": [1, 2], "clips": []}', '{"fps": 25, "size": [0, 2], "clips": []}']
)
def test_a_damaged_memory_is_one_line(tmp_path, content):
    assert read_learned(tmp_path) is None
    (tmp_path / "footage.json").write_text(content)
    with pytest.raises(VadError, match=r"footage.json: damaged \("):
        read_learned(tmp_path)


def test_training_says_how_much_there_is_and_scoring_and_watching_what_is_otherwise(tmp_path):
    for number in range(2):
        scene_with_a_tree(tmp_path / f"normal/{number}.mp4", seed=number)
    (tmp_path / "s.yaml").write_text(json.dumps(SMALL.model_dump(mode="json")))
    model = tmp_path / "model"
    done = vad("train", tmp_path / "normal", "--output", model, "--settings", tmp_path / "s.yaml")
    assert done.exit_code == 0, done.output
    assert re.search(
        r"^72 frames, 0.0 minutes of normal footage; about 2,800 frames are wanted.*\nit will take about \d+ s on this",
        done.stderr,
        re.MULTILINE,
    )
    assert json.loads((model / "footage.json").read_text()) == {
        "fps": 25.0, "size": [96, 64], "clips": [identity(tmp_path / f"normal/{number}.mp4") for number in range(2)]
    }  # fmt: skip
    with av.open(str(scene_with_a_tree(tmp_path / "a.mp4", frames=60))) as video:
        pictures = np.stack([frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)])
    layouts.write_video(tmp_path / "slow.mp4", pictures, fps=10)
    said = "10 frames/s, and the model learned at 25: all seems 2.5 times as fast to it"
    for name, told in (("a", 0), ("slow", 1)):
        scored = vad("score", tmp_path / f"{name}.mp4", "--model", model, "--output", tmp_path / f"{name} out")
        assert (scored.exit_code, scored.stderr.count(said)) == (0, told), scored.output
        assert (said in (tmp_path / f"{name} out/report.html").read_text(encoding="utf-8")) == bool(told)
        watched = vad(
            "watch", tmp_path / f"{name}.mp4", "--model", model, "--output", tmp_path / f"{name} watched", "--no-page"
        )
        assert (watched.exit_code, watched.stderr.count(f"{name}: {said}")) == (0, told), watched.output
        (table,) = (tmp_path / f"{name} watched/tables/{name}").glob("*.csv")
        assert len(pd.read_csv(table)) > 5  # a busy machine looks at every n-th
    known = read_learned(model)
    made = vad("calibrate", model, tmp_path / "normal", "--output", tmp_path / "calibrated")
    assert made.exit_code == 0, made.output
    assert read_learned(tmp_path / "calibrated") == known
    # What it has learned from already is not learned again, wherever it lies, and says nothing of what is normal.
    none = vad("update", model, tmp_path / "normal", "--output", tmp_path / "updated")
    assert (none.exit_code, none.stderr.count("the model has learned from 2 of the clips already")) == (1, 1)
    shutil.copy(tmp_path / "normal/0.mp4", tmp_path / "normal/another name.mp4")
    scene_with_a_tree(tmp_path / "normal/new.mp4", seed=7)
    made = vad("update", model, tmp_path / "normal", "--output", tmp_path / "updated")
    assert made.exit_code == 0, made.output
    assert "note: the model has learned from 3 of the clips already: they are passed over" in made.stderr
    assert "1 clips, 36 frames" in made.stdout
    assert read_learned(tmp_path / "updated").clips == (*known.clips, identity(tmp_path / "normal/new.mp4"))
