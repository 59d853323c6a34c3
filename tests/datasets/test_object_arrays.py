"""Object arrays from files that are not to be trusted."""

import io
import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest

from vadlib.errors import VadError
from vadlib.io import npy as object_arrays
from vadlib.io.npy import is_object_array, read_array, read_object_array


def _boxed(arrays: list) -> np.ndarray:
    boxed = np.empty(len(arrays), object)
    for i, array in enumerate(arrays):
        boxed[i] = array
    return boxed


def _header(shape: tuple[int, ...], descr: str = "|O") -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
    return file.getvalue()


def _write(path: Path, pickled: bytes, shape: tuple[int, ...] = (1,)) -> Path:
    path.write_bytes(_header(shape) + pickled)
    return path


ARRAYS = [
    np.arange(8, dtype="f4").reshape(2, 4),
    np.zeros((0, 4), "f4"),
    np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    np.arange(3, dtype=">i2"),
    np.array([True, False]),
    np.arange(300, dtype="u2"),
]


@pytest.mark.parametrize("protocol", [2, 3, 4])  # those np.save has used
def test_arrays_come_back_as_they_were_stored(tmp_path, protocol):
    file = _write(tmp_path / "boxes.npy", pickle.dumps(_boxed(ARRAYS), protocol), (len(ARRAYS),))
    for found, stored in zip(read_object_array(file), ARRAYS, strict=True):
        assert found.dtype == stored.dtype
        np.testing.assert_array_equal(found, stored, strict=True)


def test_a_file_of_np_save_is_read(tmp_path):
    np.save(tmp_path / "boxes.npy", _boxed(ARRAYS), allow_pickle=True)
    assert is_object_array(tmp_path / "boxes.npy")
    assert [a.shape for a in read_object_array(tmp_path / "boxes.npy")] == [a.shape for a in ARRAYS]


def test_an_empty_array_of_arrays_is_read(tmp_path):
    np.save(tmp_path / "boxes.npy", np.empty(0, object), allow_pickle=True)
    assert read_object_array(tmp_path / "boxes.npy") == []


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_one_shape_that_numpy_made_one_array_of(tmp_path, protocol, order):
    stored = np.arange(24.0).reshape(3, 2, 4) + 0.25
    for array in (stored.astype(object, order=order), stored.astype(int).astype(object, order=order)):
        file = _write(tmp_path / "boxes.npy", pickle.dumps(array, protocol), (3, 2, 4))
        assert [a.tolist() for a in read_object_array(file)] == array.tolist()


@pytest.mark.parametrize("odd", [None, "box", 10**400, np.zeros(2)])
def test_one_array_of_objects_that_are_no_numbers_is_refused(tmp_path, odd):
    held = np.full((2, 3), 1.5, object)
    held[1, 1] = odd
    with pytest.raises(VadError, match=r"boxes\.npy: .*(must hold numbers alone|no float can)"):
        read_object_array(_write(tmp_path / "boxes.npy", pickle.dumps(held, 4), (2, 3)))


class _Call:
    """Pickles to a call of a function."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize(("function", "name"), [(os.system, "posix.system"), (eval, "eval"), (getattr, "getattr")])
def test_a_function_is_named_and_not_run(tmp_path, function, name, protocol):
    proof = tmp_path / "ran"
    hostile = _boxed([_Call(function, f"open({str(proof)!r}, 'w')")])
    file = _write(tmp_path / "boxes.npy", pickle.dumps(hostile, protocol))
    with pytest.raises(VadError, match=rf"refused.*{name}"):
        read_object_array(file)
    assert not proof.exists()


@pytest.mark.parametrize(
    "name", ["numpy.ndarray.tofile", "numpy.core.multiarray._reconstruct.__globals__", "numpy.load", "numpy"]
)
def test_only_exact_names_are_known(tmp_path, name):
    module, _, attribute = name.partition(".")
    pickled = b"\x80\x04" + b"".join(b"\x8c" + bytes([len(s)]) + s.encode() for s in (module, attribute)) + b"\x93."
    with pytest.raises(VadError, match="refused"):
        read_object_array(_write(tmp_path / "boxes.npy", pickled))


def test_opcodes_that_arrays_do_not_need_are_refused(tmp_path):
    for pickled in (
        pickle.dumps({"a": 1}, 4),
        pickle.dumps({1, 2}, 4),
        pickle.dumps(_Call, 0),
        b"\x80\x02\x82\x01.",
    ):
        with pytest.raises(VadError, match="refused"):
            read_object_array(_write(tmp_path / "boxes.npy", pickled))


def test_a_claimed_shape_beyond_the_data_is_an_error_before_memory_is_taken(tmp_path):
    honest = pickle.dumps(_boxed([np.zeros((2, 4), "f4")]), 4)
    claimed = b"K\x02K\x04\x86"  # BININT1 2, BININT1 4, TUPLE2
    assert honest.count(claimed) == 1
    huge = b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86"  # 2**31 - 1 twice
    pickled = honest.replace(claimed, huge)
    with pytest.raises(VadError, match=r"element 0.*takes 18,446,744,056,529,682,436 bytes, found 32"):
        read_object_array(_write(tmp_path / "boxes.npy", pickled))


def test_a_negative_shape_is_an_error(tmp_path):
    honest = pickle.dumps(_boxed([np.zeros((2, 4), "f4")]), 4)
    pickled = honest.replace(b"K\x02K\x04\x86", b"J\xfe\xff\xff\xffJ\xfc\xff\xff\xff\x86")
    with pytest.raises(VadError, match="impossible state"):
        read_object_array(_write(tmp_path / "boxes.npy", pickled))


def test_numbers_are_not_taken_for_references(tmp_path):
    """A dtype of objects over chosen bytes would be an array of chosen pointers."""
    honest = pickle.dumps(_boxed([np.zeros((2, 4), "f8")]), 4)
    assert honest.count(b"\x8c\x02f8") == 1
    with pytest.raises(VadError, match=r"element 0.*found dtype 'O8'"):
        read_object_array(_write(tmp_path / "boxes.npy", honest.replace(b"\x8c\x02f8", b"\x8c\x02O8")))


def test_a_length_beyond_the_file_takes_no_memory(tmp_path):
    pickled = b"\x80\x04\x8e" + struct.pack("<Q", 1 << 60) + b"ab."  # BINBYTES8
    with pytest.raises(VadError, match="damaged"):
        read_object_array(_write(tmp_path / "boxes.npy", pickled))


def test_one_text_made_into_bytes_again_and_again_is_stopped(tmp_path):
    text = b"X" + struct.pack("<I", 1000) + b"a" * 1000 + b"q\x00"
    latin = b"X" + struct.pack("<I", 6) + b"latin1q\x01"
    again = b"c_codecs\nencode\nh\x00h\x01\x86R"
    with pytest.raises(VadError, match="more bytes than the file has"):
        read_object_array(_write(tmp_path / "boxes.npy", b"\x80\x02" + text + latin + again * 1000 + b"."))


def test_deep_nesting_is_an_error_and_no_crash(tmp_path):
    pickled = b"\x80\x04)" + b"\x85" * 200_000 + b"."
    with pytest.raises(VadError, match="different arrays"):
        read_object_array(_write(tmp_path / "boxes.npy", pickled))


def test_elements_that_share_data_share_it_here_too(tmp_path):
    big = np.zeros((1000, 4), "f4")
    file = _write(tmp_path / "boxes.npy", pickle.dumps(_boxed([big] * 1000), 4), (1000,))
    assert len({id(a) for a in read_object_array(file)}) == 1


@pytest.mark.parametrize(
    ("element", "found"), [
        (3.0, "float"), (3, "int"), ("box", "str"), (None, "nonetype"), ([3.0], "list of others"), ([[None]], "list"),
        ([[1, 2], [3]], "inhomogeneous"), ([[0] * 9], "list of others"), ([[10**400]], "too large"),
    ],
)  # fmt: skip
def test_an_element_that_is_no_array_is_named(tmp_path, element, found):
    file = _write(tmp_path / "boxes.npy", pickle.dumps(_boxed([np.zeros(2), element]), 4), (2,))
    with pytest.raises(VadError, match=rf"boxes\.npy.*{found}"):
        read_object_array(file)


@pytest.mark.parametrize("code", ["f1", "b2", "u0", "V4"])  # f1, a float of one byte, is none of numpy's
def test_a_number_that_numpy_has_not_is_named(tmp_path, code):
    pickled = pickle.dumps(_boxed([np.zeros((1, 4), "u4")]), 2).replace(b"u4", code.encode())
    with pytest.raises(VadError, match=f"expected an array of numbers, found dtype '{code}'"):
        read_object_array(_write(tmp_path / "boxes.npy", pickled))


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_boxes_that_are_lists_are_read(tmp_path, protocol):
    lists = [[[1, 2.5, 3, 4]], [], [(1, 2, 3, 4), (5, 6, 7, 8)]]
    found = read_object_array(_write(tmp_path / "boxes.npy", pickle.dumps(_boxed(lists), protocol), (3,)))
    assert [array.tolist() for array in found] == [[[1, 2.5, 3, 4]], [], [[1, 2, 3, 4], [5, 6, 7, 8]]]
    assert found[1].shape == (0, 4)


def test_a_list_that_is_referred_to_often_is_made_into_one_array(tmp_path):
    boxes = [[0, 0, 1, 1]] * 1000
    found = read_object_array(_write(tmp_path / "boxes.npy", pickle.dumps(_boxed([boxes] * 1000), 4), (1000,)))
    assert len({id(array) for array in found}) == 1


def test_a_cut_file_is_an_error_wherever_it_is_cut(tmp_path):
    np.save(tmp_path / "whole.npy", _boxed(ARRAYS), allow_pickle=True)
    whole = (tmp_path / "whole.npy").read_bytes()
    for length in range(0, len(whole), 7):
        (tmp_path / "cut.npy").write_bytes(whole[:length])
        with pytest.raises(VadError, match=r"cut\.npy"):
            read_object_array(tmp_path / "cut.npy")


def test_damage_anywhere_is_read_or_refused_in_one_line(tmp_path):
    np.save(tmp_path / "whole.npy", _boxed(ARRAYS), allow_pickle=True)
    whole = (tmp_path / "whole.npy").read_bytes()
    rng = np.random.default_rng(0)
    refusals = []
    for _ in range(500):
        data = bytearray(whole)
        data[rng.integers(len(data))] = rng.integers(256)
        (tmp_path / "damaged.npy").write_bytes(data)
        try:
            read_object_array(tmp_path / "damaged.npy")
        except VadError as error:
            refusals.append(str(error))
    assert len(refusals) > 100
    assert not [line for line in refusals if "\n" in line]


def test_the_header_and_the_pickle_must_agree(tmp_path):
    file = _write(tmp_path / "boxes.npy", pickle.dumps(_boxed(ARRAYS), 4), (5,))
    with pytest.raises(VadError, match="different arrays"):
        read_object_array(file)


def test_a_file_beyond_the_limit_is_refused(tmp_path, monkeypatch):
    np.save(tmp_path / "boxes.npy", np.zeros(100))
    monkeypatch.setattr(object_arrays, "MAX_BYTES", 100)
    with pytest.raises(VadError, match="files of this kind are read up to 100"):
        read_array(tmp_path / "boxes.npy")


def test_a_plain_array_is_read(tmp_path):
    np.save(tmp_path / "labels.npy", np.asfortranarray([[0, 1, 0], [1, 1, 0]]))
    np.testing.assert_array_equal(read_array(tmp_path / "labels.npy"), [[0, 1, 0], [1, 1, 0]], strict=False)


def test_a_plain_array_that_claims_more_than_the_file_holds_is_refused(tmp_path):
    (tmp_path / "labels.npy").write_bytes(_header((1 << 40,), "<f8") + b"\0" * 80)
    with pytest.raises(VadError, match=r"takes 8,796,093,022,208 bytes, found 80"):
        read_array(tmp_path / "labels.npy")


def test_objects_are_not_read_as_a_plain_array(tmp_path):
    np.save(tmp_path / "labels.npy", _boxed([np.zeros(2)]), allow_pickle=True)
    with pytest.raises(VadError, match="expected an array of numbers, found dtype object"):
        read_array(tmp_path / "labels.npy")


def test_what_is_no_npy_file_is_refused(tmp_path):
    (tmp_path / "labels.npy").write_bytes(b"PK\x03\x04 a zip archive, for one")
    with pytest.raises(VadError, match=r"not a \.npy file"):
        read_array(tmp_path / "labels.npy")


def test_the_boxes_published_by_vec(shared):
    files = sorted((shared / "data/ped2/vec_boxes").glob("*.npy"))
    assert {f.name: sum(len(a) for a in read_object_array(f)) for f in files} == {
        "bboxes_test_obj_det_with_motion.npy": 34715,
        "bboxes_train_obj_det_with_motion.npy": 31089,
    }
