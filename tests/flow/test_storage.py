"""Flow on disk: how close, how whole, how repeatable."""

import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vadlib.errors import VadError
from vadlib.flow.storage import FlowWriter, open_flow, read_flow
from vadlib.io.ownership import LEDGER
from vadlib.units import MAX_ERROR

MADE_BY = "`dvc repro flow@mine`"


def write(path: Path, fields, **about) -> Path:
    with FlowWriter(path, len(fields), *fields[0].shape[:2], about) as out:
        write_into(out, fields)
    return path


def write_into(out: FlowWriter, fields) -> None:
    for field in fields:
        out.append(field)


def interrupted(fields):
    yield from fields
    raise KeyboardInterrupt


def waves(frames: int, height: int = 40, width: int = 60) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.stack([np.dstack([np.sin((x + t) / 9) * 5, np.cos(y / 7 + t) * 3]) for t in range(frames)]).astype(
        np.float32
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(
    fields=hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9), st.just(2)),
        elements=st.floats(-1023, 1023, width=32),
    )
)
def test_no_vector_is_off_by_more_than_half_a_step(tmp_path, fields):
    found = np.stack(list(read_flow(write(tmp_path / "a.h5", fields), MADE_BY)))
    assert found.shape == fields.shape
    assert found.dtype == np.float32
    assert np.abs(found.astype(np.float64) - fields).max() <= MAX_ERROR == 1 / 64


def test_values_are_rounded_to_the_nearest_step(tmp_path):
    field = np.array([[[0.02, -0.02], [0.01, 1.0]]], np.float32)
    found = next(read_flow(write(tmp_path / "a.h5", [field]), MADE_BY))
    assert found.tolist() == [[[1 / 32, -1 / 32], [0, 1.0]]]


def test_frames_can_be_read_in_any_order(tmp_path):
    fields = waves(4)
    with open_flow(write(tmp_path / "a.h5", fields), MADE_BY) as file:
        assert (len(file), file.height, file.width) == (4, 40, 60)
        assert np.abs(file[3] - fields[3]).max() <= MAX_ERROR
        assert np.abs(file[0] - fields[0]).max() <= MAX_ERROR
        with pytest.raises(IndexError):
            file[4]


def test_large_frame_is_cut_into_chunks_of_rows(tmp_path):
    fields = waves(2, 700, 1000)
    path = write(tmp_path / "a.h5", fields)
    with h5py.File(path) as file:
        assert file["flow"].chunks == (1, 2, 262, 1000)
    assert np.abs(np.stack(list(read_flow(path, MADE_BY))) - fields).max() <= MAX_ERROR


def test_still_frames_take_next_to_no_room(tmp_path):
    path = write(tmp_path / "a.h5", np.zeros((20, 240, 360, 2), np.float32))
    assert path.stat().st_size < 20 * 1000


def test_scale_units_and_origin_are_in_the_file(tmp_path):
    path = write(tmp_path / "a.h5", waves(1), estimator="raft_small", weights="ad48")
    with h5py.File(path) as file:
        assert dict(file["flow"].attrs) == {
            "units": "1/32 px per frame",
            "steps_per_px": 32,
            "estimator": "raft_small",
            "weights": "ad48",
        }


def test_same_flow_gives_the_same_bytes_with_any_number_of_threads(tmp_path):
    script = (
        "import sys; sys.path[:0] = sys.argv[2:]; from pathlib import Path\n"
        "from test_storage import waves, write; write(Path(sys.argv[1]), waves(3, 400, 600))"
    )
    here = Path(__file__).resolve()
    contents = set()
    for threads in ("1", "4"):
        path = tmp_path / threads
        names = ("BLOSC_NTHREADS", "BLOSC2_NTHREADS", "OMP_NUM_THREADS")
        subprocess.run(
            [sys.executable, "-c", script, path, here.parents[2], here.parent],
            env=os.environ | dict.fromkeys(names, threads),
            check=True,
        )
        contents.add(path.read_bytes())
    assert len(contents) == 1


@pytest.mark.parametrize("value", [np.nan, np.inf, 1024, -2000])
def test_flow_that_cannot_be_stored_names_the_frame(tmp_path, value):
    fields = waves(2)
    fields[1, 5, 5, 0] = value
    with pytest.raises(VadError, match=r"a\.h5: frame 1: holds flow beyond 1023 px per frame, or NaN"):
        write(tmp_path / "a.h5", fields)
    assert list(tmp_path.iterdir()) == []


def test_field_of_another_size_is_refused(tmp_path):
    with (
        pytest.raises(VadError, match="frame 0: expected a field of 4x5x2, found 5x4x2"),
        FlowWriter(tmp_path / "a.h5", 1, 4, 5) as out,
    ):
        out.append(np.zeros((5, 4, 2), np.float32))


def test_too_few_frames_leave_no_file(tmp_path):
    with (
        pytest.raises(VadError, match="the clip has 3 frames, but only 1 could be read"),
        FlowWriter(tmp_path / "a.h5", 3, 4, 5) as out,
    ):
        out.append(np.zeros((4, 5, 2), np.float32))
    assert list(tmp_path.iterdir()) == []


def test_too_many_frames_leave_no_file(tmp_path):
    with pytest.raises(VadError, match="only 1 frames"), FlowWriter(tmp_path / "a.h5", 1, 4, 5) as out:
        write_into(out, np.zeros((2, 4, 5, 2), np.float32))
    assert list(tmp_path.iterdir()) == []


def test_interruption_leaves_the_file_that_was_there(tmp_path):
    path = write(tmp_path / "a.h5", waves(1))
    before = path.read_bytes()
    with pytest.raises(KeyboardInterrupt), FlowWriter(path, 2, 40, 60) as out:
        write_into(out, interrupted(waves(1)))
    assert sorted(p.name for p in tmp_path.iterdir()) == [LEDGER, "a.h5"]
    assert path.read_bytes() == before


@pytest.mark.parametrize("keep", [0, 100, 0.5, 0.95])
def test_truncated_file_is_one_line(tmp_path, keep):
    path = write(tmp_path / "a.h5", waves(3))
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content)) if keep < 1 else keep])
    with pytest.raises(VadError, match=r"a\.h5: damaged .* make it again with `dvc repro flow@mine`") as error:
        list(read_flow(path, MADE_BY))
    assert "\n" not in str(error.value)


def test_damaged_frame_is_one_line(tmp_path):
    path = write(tmp_path / "a.h5", waves(3))
    with h5py.File(path) as file:
        offset = file["flow"].id.get_chunk_info(1).byte_offset
    content = bytearray(path.read_bytes())
    content[offset : offset + 40] = bytes(40)
    path.write_bytes(content)
    with pytest.raises(VadError, match=r"a\.h5: damaged \(frame 1"):
        list(read_flow(path, MADE_BY))


@pytest.mark.parametrize("value", [0, 255])
def test_damage_where_hdf5_says_what_is_in_the_file_neither_crashes_nor_is_a_traceback(tmp_path, value):
    """Around the attribute that says whose the file is; at some of these bytes HDF5 crashes, asked for it at once."""
    path = write(tmp_path / "a.h5", waves(2))
    content = path.read_bytes()
    begin = content.index(b"units")
    refused = 0
    for at in range(begin - 64, begin + 40):
        path.write_bytes(content[:at] + bytes([value]) + content[at + 1 :])
        try:
            list(read_flow(path, MADE_BY))
        except VadError:
            refused += 1
    assert refused > 10


def test_foreign_file_is_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["flow"] = np.zeros((2, 2, 4, 4), np.int16)
    with pytest.raises(VadError, match="not a flow file of this project"):
        list(read_flow(tmp_path / "a.h5", MADE_BY))
    (tmp_path / "b.h5").write_text("text")
    with pytest.raises(VadError, match=r"b\.h5: damaged"):
        list(read_flow(tmp_path / "b.h5", MADE_BY))


def test_missing_file_says_what_makes_it(tmp_path):
    with pytest.raises(VadError, match=r"a\.h5: not found; make it first with `dvc repro flow@mine`"):
        list(read_flow(tmp_path / "a.h5", MADE_BY))


@pytest.mark.parametrize("at", [4, 9])
def test_a_chunk_that_begins_otherwise_is_damage_and_not_given_to_the_filter(tmp_path, at):
    """The filter believes what a chunk begins with, its length and that of its parts, and crashes."""
    path = write(tmp_path / "a.h5", waves(3))
    with h5py.File(path) as file:
        begin = file["flow"].id.get_chunk_info(1).byte_offset
    data = bytearray(path.read_bytes())
    data[begin + at] ^= 0x80
    (spoiled := tmp_path / "b.h5").write_bytes(data)
    with open_flow(spoiled, MADE_BY) as file:
        np.testing.assert_allclose(file[0], waves(3)[0], atol=MAX_ERROR)
        with pytest.raises(VadError, match=r"b\.h5: damaged \(frame 1: a chunk with another beginning"):
            file[1]
