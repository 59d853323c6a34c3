"""Each layout, written in miniature by `layouts`, is indexed to the truth it was drawn from."""

import shutil
import time

import h5py
import numpy as np
import pytest
import scipy.io
from PIL import Image

from tests import layouts
from vadlib.cli.data import check_data, describe
from vadlib.clips import read_frames
from vadlib.datasets.registry import index_dataset
from vadlib.errors import VadError
from vadlib.settings import FolderSourceSettings, StreetSourceSettings

WRITERS = {
    "frames, pooled": ("frames", lambda f: layouts.write_frames_folders(f, "pooled")),
    "frames, pooled objects": ("frames", lambda f: layouts.write_frames_folders(f, "objects")),
    "frames, one object": ("frames", lambda f: layouts.write_frames_folders(f, "one object")),
    "frames, a file a clip": ("frames", lambda f: layouts.write_frames_folders(f, "clips")),
    "frames, mat": ("frames", lambda f: layouts.write_frames_folders(f, "mat")),
    "frames, mat 7.3": ("frames", lambda f: layouts.write_frames_folders(f, "mat73")),
    "frames, png": ("frames", lambda f: layouts.write_frames_folders(f, "mat", "{:d}.png")),
    "ucsd, script": ("ucsd", lambda f: layouts.write_ucsd(f, script=True, masks=False)),
    "ucsd, masks": ("ucsd", lambda f: layouts.write_ucsd(f, script=False, masks=True)),
    "ucsd, both": ("ucsd", lambda f: layouts.write_ucsd(f, script=True, masks=True)),
    "avenue, mat": ("avenue", lambda f: layouts.write_avenue(f, "mat")),
    "avenue, mat 7.3": ("avenue", lambda f: layouts.write_avenue(f, "mat73")),
    "shanghaitech": ("shanghaitech", lambda f: layouts.write_shanghaitech(f, True, True)),
    "shanghaitech, pixel masks": ("shanghaitech", lambda f: layouts.write_shanghaitech(f, False, True)),
    "videos": ("videos", lambda f: layouts.write_videos(f, True)),
}


def _source(layout, **more):
    return StreetSourceSettings() if layout == "synthetic" else FolderSourceSettings(layout=layout, **more)


def _index(folder, layout, **more):
    return index_dataset("mini", _source(layout, **more), folder, folder.parent)


@pytest.mark.parametrize("writer", WRITERS)
def test_labels_and_frames_are_those_drawn(tmp_path, writer):
    layout, write = WRITERS[writer]
    truth = write(tmp_path / "mini")
    manifest = _index(tmp_path / "mini", layout, expected_frames=(24, 36))
    assert [clip.key for clip in manifest.clips] == list(truth.frames)
    for clip in manifest.clips:
        np.testing.assert_array_equal(clip.labels(), truth.labels[clip.key], err_msg=clip.key)
        frames = np.stack(list(read_frames(clip, tmp_path)))
        assert frames.shape == truth.frames[clip.key].shape
        difference = np.abs(frames.astype(int) - truth.frames[clip.key])
        lossless = layout == "ucsd" or "png" in writer or (layout == "videos" and clip.name == "02")
        assert difference.max() == 0 if lossless and clip.split == "testing" else difference.mean() < 5


@pytest.mark.parametrize(
    ("layout", "write"),
    [
        ("frames", lambda f: layouts.write_frames_folders(f, "none")),
        ("ucsd", lambda f: layouts.write_ucsd(f, script=False, masks=False)),
        ("avenue", lambda f: layouts.write_avenue(f, "none")),
        ("shanghaitech", lambda f: layouts.write_shanghaitech(f, False, False)),
        ("videos", lambda f: layouts.write_videos(f, False)),
    ],
)
def test_without_labels_testing_clips_are_unlabelled_and_training_clips_normal(tmp_path, layout, write):
    write(tmp_path / "mini")
    manifest = _index(tmp_path / "mini", layout)
    assert {clip.anomalous for clip in manifest.split("testing")} == {None}
    assert {clip.anomalous for clip in manifest.split("training")} == {()}
    assert [row["anomalous"] for row in describe(manifest)] == [0, None]


def test_the_rendered_street_is_read_as_a_users_videos(tmp_path):
    layouts.write_videos(tmp_path / "mini", True)
    rendered = _index(tmp_path / "mini", "synthetic")
    assert rendered.layout == "synthetic"
    assert rendered.clips == _index(tmp_path / "mini", "videos").clips


def test_a_linked_folder_leaves_no_trace_of_where_it_lies(tmp_path):
    layouts.write_frames_folders(tmp_path / "elsewhere", "pooled")
    (tmp_path / "project/data").mkdir(parents=True)
    (tmp_path / "project/data/mini").symlink_to(tmp_path / "elsewhere")
    manifest = index_dataset("mini", _source("frames"), tmp_path / "project/data/mini", tmp_path / "project")
    assert manifest.clips[0].path == "data/mini/training/frames/01"


def test_what_a_manifest_counts(tmp_path):
    layouts.write_avenue(tmp_path / "mini", "mat")
    assert describe(_index(tmp_path / "mini", "avenue")) == [
        {"split": "training", "clips": 2, "frames": 24, "anomalous": 0, "size": "48x32", "fps": "25"},
        {"split": "testing", "clips": 3, "frames": 36, "anomalous": 9, "size": "48x32", "fps": "25"},
    ]


# What is missing


@pytest.mark.parametrize("layout", ["frames", "ucsd", "avenue", "shanghaitech", "videos"])
def test_a_missing_or_empty_folder_is_told_what_belongs_there(tmp_path, layout):
    with pytest.raises(VadError, match=r"mini: not found; put the data set mini there: .*[Tt]rain"):
        _index(tmp_path / "mini", layout)
    (tmp_path / "mini").mkdir()
    with pytest.raises(VadError, match=r"mini: empty; put the data set mini there: .*[Tt]rain"):
        _index(tmp_path / "mini", layout)
    (tmp_path / "mini/notes.txt").touch()
    with pytest.raises(VadError, match=r"mini/[Tt]rain.*: not found; layout expected: .*[Tt]rain"):
        _index(tmp_path / "mini", layout)


def test_no_training_clips(tmp_path):
    layouts.write_frames_folders(tmp_path / "mini", "pooled")
    shutil.rmtree(tmp_path / "mini/training/frames")
    (tmp_path / "mini/training/frames").mkdir()
    with pytest.raises(VadError, match="no training clips"):
        _index(tmp_path / "mini", "frames")


def test_a_total_other_than_the_known_one(tmp_path):
    layouts.write_frames_folders(tmp_path / "mini", "none")
    with pytest.raises(VadError, match="36 testing frames in 3 clips, the known total is 37"):
        _index(tmp_path / "mini", "frames", expected_frames=(24, 37))


# Clip names


def test_names_that_differ_only_in_case_collide(tmp_path):
    layouts.write_frames_folders(tmp_path / "mini", "none")
    shutil.copytree(tmp_path / "mini/training/frames/01", tmp_path / "mini/training/frames/a")
    shutil.copytree(tmp_path / "mini/training/frames/01", tmp_path / "mini/training/frames/A")
    with pytest.raises(VadError, match="would have the same name as that of A; rename"):
        _index(tmp_path / "mini", "frames")


def test_two_videos_of_one_name_collide(tmp_path):
    truth = layouts.write_videos(tmp_path / "mini", False)
    layouts.write_video(tmp_path / "mini/testing/01.avi", truth.frames["testing/01"])
    with pytest.raises(VadError, match=r"01\.mp4: its clip would have the same name as that of 01\.avi"):
        _index(tmp_path / "mini", "videos")


def test_labels_in_a_row_need_one_order_of_clips(tmp_path):
    layouts.write_frames_folders(tmp_path / "mini", "pooled")
    for old, new in (("01", "1"), ("02", "2"), ("03", "10")):
        (tmp_path / "mini/testing/frames" / old).rename(tmp_path / "mini/testing/frames" / new)
    with pytest.raises(VadError, match="pad the clips' names with zeros"):
        _index(tmp_path / "mini", "frames")


# Labels


def _pooled(folder, labels):
    layouts.write_frames_folders(folder, "none")
    np.save(folder / "frame_labels_mini.npy", labels)


def test_labels_of_the_wrong_length(tmp_path):
    _pooled(tmp_path / "mini", np.zeros(35))
    with pytest.raises(VadError, match=r"frame_labels_mini\.npy: 35 labels, the 3 testing clips have 36 frames"):
        _index(tmp_path / "mini", "frames")


@pytest.mark.parametrize("value", [2, -1, 0.5, np.nan])
def test_labels_other_than_0_and_1(tmp_path, value):
    labels = np.zeros(36)
    labels[14] = value
    _pooled(tmp_path / "mini", labels)
    with pytest.raises(VadError, match=rf"label {value}.* at frame 2 of clip testing/02; expected 0"):
        _index(tmp_path / "mini", "frames")


def test_labels_of_one_clip_of_the_wrong_length(tmp_path):
    layouts.write_frames_folders(tmp_path / "mini", "clips")
    np.save(tmp_path / "mini/testing/test_frame_mask/02.npy", np.zeros(11))
    with pytest.raises(VadError, match=r"02\.npy: 11 labels for clip testing/02, which has 12 frames"):
        _index(tmp_path / "mini", "frames")


def test_labels_missing_for_one_clip(tmp_path):
    layouts.write_shanghaitech(tmp_path / "mini", True, False)
    (tmp_path / "mini/testing/test_frame_mask/01_0002.npy").unlink()
    with pytest.raises(VadError, match=r"01_0002\.npy: cannot be read: No such file"):
        _index(tmp_path / "mini", "shanghaitech")


@pytest.mark.parametrize(("first", "last"), [(0, 3), (5, 13), (7, 6)])
def test_ranges_outside_the_clip(tmp_path, first, last):
    layouts.write_frames_folders(tmp_path / "mini", "mat")
    cells = scipy.io.loadmat(tmp_path / "mini/mini.mat")["gt"]
    cells[0, 0] = np.array([[first], [last]])
    scipy.io.savemat(tmp_path / "mini/mini.mat", {"gt": cells})
    with pytest.raises(VadError, match=rf"range {first} to {last} for clip testing/01, whose frames are 1 to 12"):
        _index(tmp_path / "mini", "frames")


@pytest.mark.parametrize("last", [np.inf, np.nan, 2.5])
def test_ranges_that_are_not_whole_numbers(tmp_path, last):
    layouts.write_frames_folders(tmp_path / "mini", "mat")
    cells = scipy.io.loadmat(tmp_path / "mini/mini.mat")["gt"]
    cells[0, 0] = np.array([[1.0], [last]])
    scipy.io.savemat(tmp_path / "mini/mini.mat", {"gt": cells})
    with pytest.raises(VadError, match="`gt` of clip testing/01 must be 2 x k whole numbers"):
        _index(tmp_path / "mini", "frames")


def _content_elsewhere(file, parent):
    """Cells whose bytes lie in another file of the disk."""
    other = parent / "other"
    other.write_bytes(b"x" * 48 * 32)
    cell = file.create_dataset("cell", (48, 32), np.uint8, external=[(str(other), 0, 48 * 32)])
    _refer(file, cell)


def _linked(file, parent):
    layouts.write_cells_73(parent / "other.mat", "volLabel", [np.ones((32, 48), np.uint8)] * 12)
    file["volLabel"] = h5py.ExternalLink(str(parent / "other.mat"), "volLabel")


def _huge_cell(file, parent):
    """Claims a terabyte, takes nothing."""
    _refer(file, file.create_dataset("cell", (10**6, 10**6), np.uint8, chunks=(1000, 1000)))


def _many_cells(file, parent):
    file.create_dataset("volLabel", (10**6, 10**6), h5py.ref_dtype, chunks=(1000, 1000))


def _refer(file, cell):
    cells = file.create_dataset("volLabel", (12, 1), h5py.ref_dtype)
    for number in range(12):
        cells[number, 0] = cell.ref


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (_content_elsewhere, "its content lies in another file"),
        (_linked, "no cell array `volLabel`"),
        (_huge_cell, "an array of 1,000,000,000,000 bytes"),
        (_many_cells, "an array of 8,000,000,000,000 bytes"),
    ],
)
def test_a_matlab_file_that_reaches_out_or_claims_too_much(tmp_path, write, message):
    layouts.write_avenue(tmp_path / "mini", "mat73")
    with h5py.File(tmp_path / "mini/ground_truth_demo/testing_label_mask/1_label.mat", "w") as file:
        write(file, tmp_path)
    with pytest.raises(VadError, match=rf"1_label\.mat: .*{message}"):
        _index(tmp_path / "mini", "avenue")


def test_ranges_of_too_few_clips(tmp_path):
    layouts.write_frames_folders(tmp_path / "mini", "mat")
    cells = scipy.io.loadmat(tmp_path / "mini/mini.mat")["gt"]
    scipy.io.savemat(tmp_path / "mini/mini.mat", {"gt": cells[:, :2]})
    with pytest.raises(VadError, match="labels of 2 clips, there are 3 testing clips"):
        _index(tmp_path / "mini", "frames")


@pytest.mark.parametrize(
    "content", [b"", b"MATLAB 7.3 MAT-file", b"MATLAB 5.0 MAT-file" + b" " * 200, b"\x89HDF\r\n\x1a\n\0\0"]
)
def test_a_damaged_matlab_file(tmp_path, content):
    layouts.write_frames_folders(tmp_path / "mini", "none")
    (tmp_path / "mini/mini.mat").write_bytes(content)
    with pytest.raises(VadError, match=r"mini\.mat: (cannot be read as a MATLAB file|no cell array `gt`)"):
        _index(tmp_path / "mini", "frames")


def test_label_files_that_disagree(tmp_path):
    layouts.write_frames_folders(tmp_path / "mini", "mat")
    np.save(tmp_path / "mini/frame_labels_mini.npy", np.zeros(36))
    with pytest.raises(VadError, match=r"frame_labels_mini\.npy and .*mini\.mat disagree on clip testing/01"):
        _index(tmp_path / "mini", "frames")


def test_two_label_files_of_a_kind(tmp_path):
    _pooled(tmp_path / "mini", np.zeros(36))
    np.save(tmp_path / "mini/frame_labels_other.npy", np.zeros(36))
    with pytest.raises(VadError, match=r"2 label files .*; keep one"):
        _index(tmp_path / "mini", "frames")


def test_ucsd_masks_of_only_some_clips(tmp_path):
    layouts.write_ucsd(tmp_path / "mini", script=False, masks=True)
    shutil.rmtree(tmp_path / "mini/Test/Test002_gt")
    with pytest.raises(VadError, match=r"Test002_gt: no masks for clip testing/Test002"):
        _index(tmp_path / "mini", "ucsd")


def test_ucsd_masks_fewer_than_frames(tmp_path):
    layouts.write_ucsd(tmp_path / "mini", script=False, masks=True)
    (tmp_path / "mini/Test/Test002_gt/012.bmp").unlink()
    with pytest.raises(VadError, match=r"Test002_gt: 11 labels for clip testing/Test002, which has 12 frames"):
        _index(tmp_path / "mini", "ucsd")


def test_ucsd_masks_of_another_size(tmp_path):
    layouts.write_ucsd(tmp_path / "mini", script=False, masks=True)
    for file in (tmp_path / "mini/Test/Test001_gt").glob("*.bmp"):
        Image.new("L", (24, 16)).save(file)
    with pytest.raises(VadError, match=r"Test001_gt: masks of 24x16 px, the frames have 48x32"):
        _index(tmp_path / "mini", "ucsd")


@pytest.mark.parametrize(("content", "message"), [("1:20", "range 1 to 20"), ("x", "expected frames such as 61:180")])
def test_a_ucsd_script_that_cannot_be(tmp_path, content, message):
    layouts.write_ucsd(tmp_path / "mini", script=True, masks=False)
    (tmp_path / "mini/Test/UCSDmini.m").write_text(f"TestVideoFile{{end+1}}.gt_frame = [{content}];\n" * 3)
    with pytest.raises(VadError, match=rf"UCSDmini\.m: .*{message}"):
        _index(tmp_path / "mini", "ucsd")


def test_a_ucsd_script_without_ends_is_refused_at_once(tmp_path):
    layouts.write_ucsd(tmp_path / "mini", script=True, masks=False)
    (tmp_path / "mini/Test/UCSDmini.m").write_text(".gt_frame=[" * 20_000)
    started = time.monotonic()
    with pytest.raises(VadError, match=r"UCSDmini\.m: labels of 0 clips"):
        _index(tmp_path / "mini", "ucsd")
    assert time.monotonic() - started < 10  # looking for each end through the whole file takes a minute


def test_avenue_masks_of_another_video(tmp_path):
    layouts.write_avenue(tmp_path / "mini", "mat")
    scipy.io.savemat(
        tmp_path / "mini/ground_truth_demo/testing_label_mask/2_label.mat",
        {"volLabel": layouts._cells([np.zeros((32, 48), np.uint8)] * 13)},
    )
    with pytest.raises(VadError, match=r"2_label\.mat: 13 labels for clip testing/02, which has 12 frames"):
        _index(tmp_path / "mini", "avenue")


def _write_archive(path):
    with path.open("wb") as file:
        np.savez(file, masks=np.zeros((12, 32, 48), np.uint8))


def _write_deep_header(path):
    header = (b"{'descr': " + b"(" * 2000 + b"}").ljust(2990) + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)


@pytest.mark.parametrize("write", [_write_archive, _write_deep_header, lambda path: path.write_bytes(b"")])
def test_shanghaitech_pixel_masks_that_are_no_array(tmp_path, write):
    layouts.write_shanghaitech(tmp_path / "mini", False, True)
    write(tmp_path / "mini/testing/test_pixel_mask/01_0001.npy")
    with pytest.raises(VadError, match=r"01_0001\.npy: cannot be read as masks"):
        _index(tmp_path / "mini", "shanghaitech")


def test_shanghaitech_pixel_masks_of_another_size(tmp_path):
    layouts.write_shanghaitech(tmp_path / "mini", False, True)
    np.save(tmp_path / "mini/testing/test_pixel_mask/01_0001.npy", np.zeros((12, 16, 24), np.uint8))
    with pytest.raises(VadError, match=r"01_0001\.npy: uint8 masks of shape \(12, 16, 24\), expected \(12, 32, 48\)"):
        _index(tmp_path / "mini", "shanghaitech")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("01,3,6\n", "the first line must be clip,first,last"),
        ("clip,first,last\n04,3,6\n", "line 2: no testing clip '04'"),
        ("clip,first,last\n01,3\n", "line 2: expected clip,first,last"),
        ("clip,first,last\n\n01,3,x\n", "line 3: expected clip,first,last"),
        ("clip,first,last\n01,3,12\n", "range 3 to 12 for clip testing/01, whose frames are 0 to 11"),
        ("clip,first,last\n01,-1,2\n", "line 2: expected clip,first,last with whole frame numbers"),
    ],
)
def test_a_labels_csv_that_cannot_be(tmp_path, content, message):
    layouts.write_videos(tmp_path / "mini", True)
    (tmp_path / "mini/labels.csv").write_text(content)
    with pytest.raises(VadError, match=rf"labels\.csv.*{message}"):
        _index(tmp_path / "mini", "videos")


def test_overlapping_spans_of_a_labels_csv_become_one(tmp_path):
    layouts.write_videos(tmp_path / "mini", True)
    (tmp_path / "mini/labels.csv").write_text("\ufeffclip,first,last\r\n01,3,6\r\n01,5,8\r\n01,9,9\r\n", "utf-8")
    assert [c.anomalous for c in _index(tmp_path / "mini", "videos").split("testing")] == [((3, 10),), (), ()]


def test_ped2_in_full(shared, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/ped2").symlink_to(shared / "data/ped2")
    source = _source("frames", expected_frames=(2550, 2010))
    rows = describe(index_dataset("ped2", source, tmp_path / "data/ped2", tmp_path))
    assert [(row["clips"], row["frames"], row["anomalous"]) for row in rows] == [(16, 2550, 0), (12, 2010, 1648)]


# check-data


def test_a_whole_data_set_is_complete(tmp_path):
    layouts.write_avenue(tmp_path / "mini", "mat")
    rows = check_data("mini", _source("avenue", expected_frames=(24, 36)), tmp_path / "mini", tmp_path)
    assert [(r["dataset"], r["split"], r["frames"], r["known"], r["state"]) for r in rows] == [
        ("mini", "training", 24, 24, "complete"),
        ("mini", "testing", 36, 36, "complete"),
    ]


def test_what_is_missing_of_a_data_set_is_counted(tmp_path):
    layouts.write_avenue(tmp_path / "mini", "none")
    rows = check_data("mini", _source("avenue", expected_frames=(15328, 15324)), tmp_path / "mini", tmp_path)
    assert [row["state"] for row in rows] == ["24 of 15328 frames", "36 of 15324 frames, no labels"]


def test_a_data_set_that_is_not_there_is_a_row(tmp_path):
    (row,) = check_data("mini", _source("avenue"), tmp_path / "mini", tmp_path)
    assert row["split"] is None
    assert "not found; put the data set mini there" in row["state"]
