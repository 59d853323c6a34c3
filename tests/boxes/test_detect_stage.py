"""The stage detect: what it holds in memory does not grow with a clip's length."""

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
