"""The stage detect: what it holds in memory does not grow with a clip's length."""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from tests.layouts import FRAMES, write_videos
from tests.projects import MOTION, run_stages, settings
from vadlib.pipeline import detect


def test_boxes_written_in_parts_are_those_written_at_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_videos(tmp_path / "data/mini", labels=False)
    chosen = settings(source={"layout": "videos"}, detector=MOTION)
    tables, counts = [], []
    for part in (FRAMES, 5):
        monkeypatch.setattr(detect, "PART", part)
        counts.append(run_stages(chosen, ["prepare", "detect"])["detect"])
        tables.append(pd.read_parquet("work/mini/boxes.parquet"))
        parts = pq.ParquetFile("work/mini/boxes.parquet").metadata.num_row_groups
        assert parts == 5 * -(-FRAMES // part)  # of five clips
    pd.testing.assert_frame_equal(*tables)
    assert tables[0]["frame"].max() > 5
    assert counts[0] == counts[1]


def test_the_bound_of_motion_boxes_says_when_it_acts(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_videos(tmp_path / "data/mini", labels=False)
    rules = {"threshold": 10, "min_area": 4}
    free, tight = (settings(source={"layout": "videos"}, detector={"kind": "motion", "motion": rules | more})
                   for more in ({}, {"most": 1}))  # fmt: skip
    run_stages(free, ["prepare", "detect"])
    assert capsys.readouterr().err == ""
    before = pd.read_parquet("work/mini/boxes.parquet")
    many = before.groupby(["clip", "split", "frame"]).size()
    assert many.max() > 1  # the anomalies
    counts = run_stages(tight, ["detect"])["detect"]
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    of = f"{(many > 1).sum()} of {counts['frames']} frames had more than 1 motion boxes"
    assert of in told
    after = pd.read_parquet("work/mini/boxes.parquet")
    assert len(after) == len(many)
    few = before[before.set_index(["clip", "split", "frame"]).index.isin(many[many == 1].index)]
    assert np.isin(few[["frame", "x1", "y1"]].to_numpy(), after[["frame", "x1", "y1"]].to_numpy()).all()
