"""Cell arrays of MATLAB files of version 5: as SciPy reads them, and of damage one line, where SciPy crashes."""

import contextlib
import random

import h5py
import numpy as np
import pytest
import scipy.io

from vadlib.errors import VadError
from vadlib.io import matlab
from vadlib.io.matlab import read_cells


def cells(*arrays: object, shape: tuple[int, int] | None = None) -> np.ndarray:
    made = np.empty(len(arrays), object)
    for number, array in enumerate(arrays):
        made[number] = array
    return made.reshape(shape or (1, -1))


ARRAYS = [
    np.eye(4),
    np.ones((3, 3), np.uint8),
    np.zeros((0, 0)),
    np.array([[300.0]]),  # kept in two bytes
    np.arange(24, dtype=np.int16).reshape(2, 3, 4),
    np.array([[7]], np.uint8),  # in the place of its length
    np.linspace(0, 1, 10, dtype=np.float32).reshape(5, 2),
    np.array([[2**60]]),
    np.array([[True, False]]),
]


@pytest.mark.parametrize("compressed", [True, False])
def test_cells_are_read_as_scipy_reads_them(tmp_path, compressed):
    content = {"other": np.eye(3), "gt": cells(*ARRAYS), "of": {"a": 1}, "text": "x"}
    scipy.io.savemat(tmp_path / "a.mat", content, do_compression=compressed)
    found = list(read_cells(tmp_path / "a.mat", "gt"))
    expected = scipy.io.loadmat(tmp_path / "a.mat")["gt"].ravel(order="F")
    assert len(found) == len(ARRAYS)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


def test_cells_come_in_matlabs_order(tmp_path):
    scipy.io.savemat(tmp_path / "a.mat", {"gt": cells(*[np.full((2, 2), n) for n in range(6)], shape=(2, 3))})
    assert [cell[0, 0] for cell in read_cells(tmp_path / "a.mat", "gt")] == [0, 3, 1, 4, 2, 5]


@pytest.mark.parametrize("odd", ["text", {"a": 1}, np.array([[1j]]), cells(1, 2)])
def test_a_cell_that_is_no_array_of_numbers_is_refused(tmp_path, odd):
    scipy.io.savemat(tmp_path / "a.mat", {"gt": cells(np.eye(2), odd)})
    with pytest.raises(VadError, match="`gt` holds something other than arrays of numbers"):
        list(read_cells(tmp_path / "a.mat", "gt"))


def test_a_file_of_another_version_or_without_the_cells_is_one_line(tmp_path):
    scipy.io.savemat(tmp_path / "a.mat", {"gt": np.eye(3)}, format="4")
    with pytest.raises(VadError, match=r"a\.mat: cannot be read .*\(neither of version 5 to 7 nor of 7\.3\)"):
        list(read_cells(tmp_path / "a.mat", "gt"))
    scipy.io.savemat(tmp_path / "a.mat", {"gt": np.eye(3), "other": cells(1)})
    with pytest.raises(VadError, match=r"a\.mat: no cell array `gt`"):
        list(read_cells(tmp_path / "a.mat", "gt"))


def test_what_unpacks_to_far_more_than_it_takes_is_refused(tmp_path, monkeypatch):
    scipy.io.savemat(tmp_path / "a.mat", {"gt": cells(np.zeros((1000, 1000)))}, do_compression=True)
    monkeypatch.setattr(matlab, "MAX_BYTES", 1 << 20)
    with pytest.raises(VadError, match="are read up to 1,048,576"):
        list(read_cells(tmp_path / "a.mat", "gt"))


@pytest.mark.parametrize("compressed", [True, False])
def test_damage_anywhere_is_read_or_refused_in_one_line(tmp_path, compressed):
    scipy.io.savemat(tmp_path / "a.mat", {"gt": cells(np.eye(4), np.ones((3, 3)))}, do_compression=compressed)
    whole, chance = (tmp_path / "a.mat").read_bytes(), random.Random(0)
    for trial in range(2000):
        damaged = bytearray(whole[: chance.randrange(len(whole))] if trial % 5 == 0 else whole)
        for _ in range(chance.randint(1, 4)):
            if damaged:
                damaged[chance.randrange(len(damaged))] = chance.choice((0, 1, 14, 15, 127, 255, chance.randrange(256)))
        (tmp_path / "a.mat").write_bytes(damaged)
        with contextlib.suppress(VadError):
            list(read_cells(tmp_path / "a.mat", "gt"))


def test_a_file_of_version_7_3_from_which_hdf5_does_not_come_back_is_one_line(tmp_path, monkeypatch):
    with h5py.File(tmp_path / "a.mat", "w", userblock_size=512) as file:
        file["gt"] = np.zeros(3)
        file.attrs["text"] = "x" * 64
    data = bytearray((tmp_path / "a.mat").read_bytes())
    data[:10] = b"MATLAB 7.3"
    data[data.index(b"GCOL") + 105] = 0
    (tmp_path / "b.mat").write_bytes(data)
    monkeypatch.setattr("vadlib.io.files._PATIENCE", 3.0)
    with pytest.raises(VadError, match=r"b\.mat: cannot be read as a MATLAB file .*HDF5 does not come back"):
        list(read_cells(tmp_path / "b.mat", "gt"))
