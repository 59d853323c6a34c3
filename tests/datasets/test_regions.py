"""Regions and tracks: read from regions.csv, and made of pixel masks."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.layouts import write_avenue, write_frames_folders, write_shanghaitech, write_ucsd
from vadlib.datasets.regions import read_regions, regions_of_masks
from vadlib.datasets.registry import index_dataset, index_regions
from vadlib.errors import VadError
from vadlib.io.tables import read_table, write_table
from vadlib.manifest import Clip
from vadlib.settings import FolderSourceSettings

CLIP = Clip("01", "testing", "data/x/01.mp4", 6, 40, 20, anomalous=((1, 4),))
HEADER = "clip,frame,track,x1,y1,x2,y2\n"
WITH_KIND = "clip,frame,track,x1,y1,x2,y2,kind\n"


def read(folder: Path, text: str) -> pd.DataFrame:
    file = folder / "regions.csv"
    file.write_text(text, encoding="utf-8")
    return pd.concat(read_regions(file, [CLIP]))


def masks(*frames: list[tuple[int, int, int, int]]) -> list[np.ndarray]:
    """Masks of 40 x 20 px, each with the given boxes filled."""
    drawn = []
    for boxes in frames:
        mask = np.zeros((20, 40), np.uint8)
        for x1, y1, x2, y2 in boxes:
            mask[y1:y2, x1:x2] = 255
        drawn.append(mask)
    return drawn


def tracks_of(*frames: list[tuple[int, int, int, int]]) -> list[tuple[int, int]]:
    clip = Clip("01", "testing", "", len(frames), 40, 20)
    table = regions_of_masks(clip, masks(*frames), "masks")
    return list(zip(table["frame"], table["track"], strict=True))


def test_rows_come_by_frame_and_track_whatever_the_order(tmp_path: Path) -> None:
    table = read(tmp_path, HEADER + "01,2,1,0,0,5.5,5\n01,1,2,1,1,4,4\n\n01,1,1,0,0,40,20\n")
    assert table[["frame", "track"]].to_numpy().tolist() == [[1, 1], [1, 2], [2, 1]]
    assert table["x2"].tolist() == [40, 4, 5.5]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("02,1,1,0,0,5,5", "no testing clip '02'"),
        ("01,6,1,0,0,5,5", "frames are 0 to 5"),
        ("01,-1,1,0,0,5,5", "frames are 0 to 5"),
        ("01,0,1,0,0,5,5", "labelled normal"),
        ("01,1,1,0,0,41,5", "outside the frame of 40x20 px"),
        ("01,1,1,5,0,5,5", "is empty or outside"),
        ("01,1,1,0,0,nan,5", "expected clip,frame"),
        ("01,1,1,0,0,5", "expected clip,frame"),
        ("01,1.5,1,0,0,5,5", "expected clip,frame"),
        ("01,1,-2,0,0,5,5", "expected clip,frame"),
        ("01,1,1,0,0,5,5\n01,1,1,2,2,4,4", "track 1 is twice in frame 1"),
    ],
)
def test_a_wrong_row_is_one_line_that_names_it(tmp_path: Path, row: str, words: str) -> None:
    with pytest.raises(VadError, match=words) as error:
        read(tmp_path, HEADER + row + "\n")
    assert f"line {1 + len(row.splitlines())}" in str(error.value)


def test_a_file_may_tell_of_kinds(tmp_path: Path) -> None:
    table = read(tmp_path, WITH_KIND + "01,2,1,0,0,5,5,cyclist\n01,1,2,1,1,4,4, wrong_way\n")
    assert table["kind"].tolist() == ["wrong_way", "cyclist"]
    assert table[["frame", "track", "x2"]].to_numpy().tolist() == [[1, 2, 4], [2, 1, 5]]
    assert "kind" not in read(tmp_path, HEADER + "01,2,1,0,0,5,5\n")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (WITH_KIND + "01,1,1,0,0,5,5\n", "expected clip,frame,track,x1,y1,x2,y2,kind, not"),
        (HEADER + "01,1,1,0,0,5,5,cart\n", "expected clip,frame,track,x1,y1,x2,y2, not"),
        (WITH_KIND + "01,1,1,0,0,5,5,\n", "kind '': expected a word"),
        (WITH_KIND + "01,1,1,0,0,5,5,a cart\n", "kind 'a cart': expected a word"),
        (WITH_KIND + "01,1,1,0,0,5,5,cart\n01,1,1,0,0,5,5,cow\n", "track 1 is twice in frame 1"),
        (WITH_KIND + "01,1,1,0,0,41,5,cart\n", "box 0,0,41,5 is empty or outside"),
    ],
)
def test_a_wrong_kind_is_one_line_that_names_it(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(VadError, match=rf"regions.csv line \d: .*{words}"):
        read(tmp_path, text)


def test_another_header_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(VadError, match="first line must be clip,frame,track"):
        read(tmp_path, "clip,frame,x1,y1,x2,y2\n")


def test_a_component_is_a_region_and_keeps_its_track_while_it_overlaps_itself() -> None:
    clip = Clip("01", "testing", "", 3, 40, 20)
    table = regions_of_masks(clip, masks([(0, 0, 5, 5)], [(3, 0, 8, 5)], [(6, 0, 11, 6)]), "masks")
    assert table[["frame", "track", "x1", "y1", "x2", "y2"]].to_numpy().tolist() == [
        [0, 1, 0, 0, 5, 5], [1, 1, 3, 0, 8, 5], [2, 1, 6, 0, 11, 6],
    ]  # fmt: skip


def test_a_component_that_jumps_or_was_gone_begins_a_track() -> None:
    assert tracks_of([(0, 0, 5, 5)], [(20, 0, 25, 5)]) == [(0, 1), (1, 2)]
    assert tracks_of([(0, 0, 5, 5)], [], [(0, 0, 5, 5)]) == [(0, 1), (2, 2)]


def test_of_two_parts_the_larger_carries_the_track_on() -> None:
    assert tracks_of([(0, 0, 20, 5)], [(0, 0, 4, 5), (6, 0, 20, 5)]) == [(0, 1), (1, 2), (1, 1)]


def test_two_that_touch_are_one_region_of_the_larger_ones_track() -> None:
    assert tracks_of([(0, 0, 4, 5), (6, 0, 20, 5)], [(0, 0, 20, 5)]) == [(0, 1), (0, 2), (1, 2)]


def test_corners_that_touch_are_one_component() -> None:
    assert tracks_of([(0, 0, 5, 5), (5, 5, 9, 9)]) == [(0, 1)]


def test_masks_of_another_number_or_size_are_an_error() -> None:
    with pytest.raises(VadError, match=r"2 masks for clip testing/01, which has 6 frames"):
        regions_of_masks(CLIP, masks([], []), "masks")
    with pytest.raises(VadError, match="30x20 px, the frames have 40x20"):
        regions_of_masks(CLIP, [np.zeros((20, 30))], "masks")


@pytest.mark.parametrize(
    ("layout", "write"),
    [
        ("ucsd", lambda folder: write_ucsd(folder, script=True, masks=True)),
        ("avenue", lambda folder: write_avenue(folder, masks="mat")),
        ("shanghaitech", lambda folder: write_shanghaitech(folder, frame_masks=False, pixel_masks=True)),
    ],
)
def test_the_layouts_masks_give_the_drawn_boxes(tmp_path: Path, layout: str, write) -> None:
    """The drawn anomaly is one square that moves by a pixel a frame: a region a frame, a track a span."""
    truth = write(tmp_path)
    manifest = index_dataset("mini", FolderSourceSettings(layout=layout), tmp_path, tmp_path)
    tables = list(index_regions(manifest, tmp_path, tmp_path))
    for clip, table in zip(manifest.split("testing"), tables, strict=True):
        drawn = truth.masks[clip.key]
        assert table["frame"].tolist() == np.flatnonzero(drawn.any((1, 2))).tolist()
        for row in table.itertuples():
            y, x = np.nonzero(drawn[row.frame])
            assert (row.x1, row.y1, row.x2, row.y2) == (x.min(), y.min(), x.max() + 1, y.max() + 1)
        assert table["track"].nunique() == len(clip.anomalous)


def test_without_masks_and_without_a_file_there_are_no_regions(tmp_path: Path) -> None:
    write_frames_folders(tmp_path, "pooled")
    manifest = index_dataset("mini", FolderSourceSettings(layout="frames"), tmp_path, tmp_path)
    assert index_regions(manifest, tmp_path, tmp_path) is None


def test_masks_of_some_clips_only_are_not_used(tmp_path: Path) -> None:
    """As of UCSD Ped1: what is anomalous in the other clips would count as false."""
    import shutil

    write_ucsd(tmp_path, script=True, masks=True)
    shutil.rmtree(tmp_path / "Test/Test001_gt")
    manifest = index_dataset("mini", FolderSourceSettings(layout="ucsd"), tmp_path, tmp_path)
    assert index_regions(manifest, tmp_path, tmp_path) is None


def test_a_regions_file_goes_before_masks_and_with_any_layout(tmp_path: Path) -> None:
    write_frames_folders(tmp_path, "pooled")
    (tmp_path / "regions.csv").write_text(HEADER + "01,3,1,0,0,8,8\n", encoding="utf-8")
    manifest = index_dataset("mini", FolderSourceSettings(layout="frames"), tmp_path, tmp_path)
    tables = list(index_regions(manifest, tmp_path, tmp_path))
    assert [len(table) for table in tables] == [1, 0, 0]
    (tmp_path / "regions.csv").write_text(WITH_KIND + "01,3,1,0,0,8,8,cart\n", encoding="utf-8")
    write_table(tmp_path / "regions.parquet", index_regions(manifest, tmp_path, tmp_path))
    assert read_table(tmp_path / "regions.parquet", "")["kind"].tolist() == ["cart"]  # clips without regions too
