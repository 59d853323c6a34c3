"""Flow computed elsewhere: each kind of file, and what is refused in it."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from vadlib.errors import VadError
from vadlib.flow.fields import flow_of_clip
from vadlib.flow.kinds.registry import make_estimator
from vadlib.manifest import Clip
from vadlib.settings import ImportedFlowSettings

CLIP = Clip("01", "testing", "data/x/testing/frames/01", 3, 8, 6)
FIELDS = [np.full((6, 8, 2), (u, -u / 2), np.float32) for u in (1.5, -3.25)]


def write_npy(path: Path, field: np.ndarray) -> None:
    np.save(path.with_suffix(".npy"), field)


def write_flo(path: Path, field: np.ndarray) -> None:
    size = np.array(field.shape[1::-1], "<i4").tobytes()
    path.with_suffix(".flo").write_bytes(b"PIEH" + size + field.astype("<f4").tobytes())


def write_kitti(path: Path, field: np.ndarray) -> None:
    rgb = np.dstack([np.rint(field * 64 + 2**15), np.ones(field.shape[:2])]).astype(np.uint16)
    cv2.imwrite(str(path.with_suffix(".png")), rgb[..., ::-1])


def flow(data: Path, frames: int = 3, **settings) -> list[np.ndarray]:
    images = [np.zeros((6, 8, 3), np.uint8)] * frames
    estimator = make_estimator(ImportedFlowSettings(fields="flow", **settings), Path("weights"), data)
    return list(flow_of_clip(CLIP, images, estimator))


@pytest.fixture
def folder(tmp_path) -> Path:
    path = tmp_path / "flow/testing/01"
    path.mkdir(parents=True)
    return path


@pytest.mark.parametrize("write", [write_npy, write_flo, write_kitti])
@pytest.mark.parametrize("extra", [0, 1])
def test_fields_are_read_in_natural_order_and_the_last_repeated(tmp_path, folder, write, extra):
    for number, field in zip((9, 10, 11), FIELDS + [np.zeros((6, 8, 2), np.float32)] * extra, strict=False):
        write(folder / f"{number}", field)
    found = flow(tmp_path)
    assert [f.dtype for f in found] == [np.float32] * 3
    assert np.array_equal(found, [FIELDS[0], FIELDS[1], FIELDS[1]])


def test_fields_of_a_working_size_are_rescaled(tmp_path, folder):
    for number in range(2):
        write_npy(folder / f"{number}", np.full((12, 4, 2), (1, 1), np.float32))
    found = flow(tmp_path, size=(4, 12))
    assert np.array_equal(found[0], np.full((6, 8, 2), (2, 0.5), np.float32))


@pytest.mark.parametrize(
    ("second", "problem"),
    [
        (np.zeros((6, 9, 2), np.float32), "expected a field of 6x8x2 (rows, columns, u v), found 6x9x2"),
        (np.zeros((2, 6, 8), np.float32), "found 2x6x8"),
        (np.full((6, 8, 2), np.nan, np.float32), "holds pixels without flow"),
        (np.full((6, 8, 2), 1.7e9, np.float32), "holds pixels without flow"),
    ],
)
def test_bad_field_is_named_with_clip_and_frame(tmp_path, folder, second, problem):
    write_npy(folder / "0", FIELDS[0])
    write_npy(folder / "1", second)
    with pytest.raises(VadError) as error:
        flow(tmp_path)
    assert str(error.value).startswith(f"{folder}/1.npy: clip 01, frame 1: ")
    assert problem in str(error.value)


def test_pixel_that_kitti_marks_as_unknown_is_refused(tmp_path, folder):
    for number in range(2):
        image = np.full((6, 8, 3), 2**15, np.uint16)
        image[3, 3, 0] = 0
        cv2.imwrite(str(folder / f"{number}.png"), image)
    with pytest.raises(VadError, match="holds pixels without flow"):
        flow(tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.flo", b"PIEH\x08\0\0\0\x06\0\0\0short"),
        ("x.flo", b"JUNK" + bytes(400)),
        ("x.flo", b""),
        ("x.png", b"not a picture"),
        ("x.npy", b"not an array"),
    ],
)
def test_damaged_file_is_one_line(tmp_path, folder, name, content):
    for number in range(2):
        (folder / f"{number}{name}").write_bytes(content)
    with pytest.raises(VadError, match=f"0{name}") as error:
        flow(tmp_path)
    assert "\n" not in str(error.value)


def test_number_of_fields_must_fit_the_clip(tmp_path, folder):
    write_npy(folder / "0", FIELDS[0])
    with pytest.raises(VadError, match=r"clip 01 has 3 frames, so 2 or 3 fields .* are expected; found 1"):
        flow(tmp_path)


def test_missing_folder_says_where_it_belongs(tmp_path):
    with pytest.raises(VadError, match="flow/testing/01: not found; put the flow of clip 01 there"):
        flow(tmp_path)


def test_a_png_that_claims_to_be_huge_is_not_decoded(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    for number in (1, 2):
        write_kitti(folder / f"{number}", FIELDS[0])
        content = bytearray((folder / f"{number}.png").read_bytes())
        content[16:24] = (100_000).to_bytes(4, "big") * 2
        (folder / f"{number}.png").write_bytes(content)
    with pytest.raises(VadError, match=r"1\.png: clip 01, frame 0: not a flow field \(expected a PNG of at most"):
        flow(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\x89PNG"])
def test_an_empty_or_cut_png_is_refused(tmp_path, folder, content):
    for number in (1, 2):
        (folder / f"{number}.png").write_bytes(content)
    with pytest.raises(VadError, match=r"1\.png: clip 01, frame 0: not a flow field"):
        flow(tmp_path)


def test_names_may_hold_digits_of_other_scripts(tmp_path, folder):
    for name, field in zip(("a\u00b2", "b\u00b21"), FIELDS, strict=True):
        write_npy(folder / name, field)
    assert [field[0, 0, 0] for field in flow(tmp_path)] == [1.5, -3.25, -3.25]
