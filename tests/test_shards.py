"""Cubes on disk: what is written is read, in bounded memory, in orders that depend on the seed alone."""

import errno
import os
import subprocess
import sys
import time
from itertools import chain
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.conftest import ROOT
from vadlib.cubes.shards import BLOCK, CubeSet, Shard, ShardWriter
from vadlib.errors import VadError
from vadlib.io.files import harm_of_hdf5


def write(path, count: int, first: int = 0) -> tuple[Shard, Shard]:
    """A clip's two shards: cube n shows the number first + n, in raw and in flow."""
    numbers = np.arange(first, first + count)
    boxes = np.stack([numbers] * 4, axis=1).astype(np.float32)
    raw = np.broadcast_to((numbers % 256)[:, None, None, None, None], (count, 3, 4, 4, 3)).astype(np.uint8)
    flow = np.broadcast_to(numbers[:, None, None, None, None], (count, 3, 4, 4, 2)).astype(np.int16)
    with ShardWriter(path / "raw.h5", "raw", 3, 4) as shard:
        for row in range(count):
            shard.add(row, boxes[row : row + 1], raw[row : row + 1])
    with ShardWriter(path / "flow.h5", "flow", 3, 4) as shard:
        shard.add(7, boxes, flow, magnitude=numbers.astype(np.float32))
    return Shard(path / "raw.h5", "`make it`"), Shard(path / "flow.h5", "`make it`")


def shown(batches) -> list[list[int]]:
    return [batch.flow[:, 0, 0, 0, 0].tolist() for batch in batches]


def flat(batches: list[list[int]]) -> list[int]:
    return list(chain.from_iterable(batches))


@pytest.fixture
def clips(tmp_path):
    counts, first, shards = (70, 0, 45, 100), 0, []
    for index, count in enumerate(counts):
        shards.append(write(tmp_path / str(index), count, first))
        first += count
    return shards


def test_a_shard_reads_back_what_was_written(tmp_path):
    raw, flow = write(tmp_path, 40, first=5)
    assert len(raw) == len(flow) == 40
    np.testing.assert_array_equal(raw.read("frame"), np.arange(40))
    np.testing.assert_array_equal(raw.read("boxes")[:, 2], np.arange(5, 45))
    np.testing.assert_array_equal(raw.read("cubes", slice(3, 5))[:, 1, 2, 3, 0], [8, 9])
    np.testing.assert_array_equal(flow.read("magnitude", slice(0, 2)), [5, 6])


def test_equal_cubes_give_equal_bytes_however_they_were_added(tmp_path):
    write(tmp_path / "a", 40)
    write(tmp_path / "b", 40)
    assert (tmp_path / "a" / "raw.h5").read_bytes() == (tmp_path / "b" / "raw.h5").read_bytes()


def test_a_writer_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), ShardWriter(tmp_path / "x.h5", "raw", 3, 4):
        raise RuntimeError("halfway")
    assert list(tmp_path.iterdir()) == []


def test_cubes_of_another_shape_or_type_are_refused(tmp_path):
    with pytest.raises(ValueError, match="expected cubes"), ShardWriter(tmp_path / "x.h5", "raw", 3, 4) as shard:
        shard.add(0, np.zeros((1, 4)), np.zeros((1, 3, 4, 4, 3), np.float32))


@pytest.mark.parametrize("damage", ["absent", "truncated", "foreign"])
def test_a_missing_or_damaged_shard_is_named_with_what_makes_it(tmp_path, damage):
    raw, _ = write(tmp_path, 40)
    if damage == "absent":
        raw.path.unlink()
    elif damage == "truncated":
        raw.path.write_bytes(raw.path.read_bytes()[:3000])
    else:
        raw.path.write_bytes(b"text")
    with pytest.raises(VadError, match=r"raw\.h5: .*`make it`"):
        len(raw)


def test_in_order_is_every_cube_once_in_order(clips):
    batches = shown(CubeSet(clips).in_order(32))
    assert flat(batches) == list(range(215))
    assert [len(b) for b in batches] == [32] * 6 + [23]


def test_a_batch_has_the_box_of_each_cube(clips):
    for batch in (*CubeSet(clips).in_order(32), *CubeSet(clips).shuffled(32, 0)):
        np.testing.assert_array_equal(batch.boxes[:, 2], batch.flow[:, 0, 0, 0, 0])
        assert batch.boxes.shape == (len(batch.raw), 4)
        assert batch.boxes.dtype == np.float32


def test_blocks_that_are_named_are_all_that_is_taken(clips):
    """Rows 10 to 20 of the first clip, the last of the fourth, which begins at 115, and none of the third."""
    blocks = [(0, 10, 20), (2, 5, 5), (3, 96, 100)]
    expected = [*range(10, 20), *range(211, 215)]
    cubes = CubeSet(clips, blocks=blocks)
    assert len(cubes) == 14
    assert flat(shown(cubes.in_order(4))) == expected
    assert sorted(flat(shown(cubes.shuffled(4, 0)))) == expected
    assert cubes.digest != CubeSet(clips, blocks=blocks[:2]).digest
    few = flat(shown(CubeSet(clips, blocks=blocks, max_cubes=5).in_order(4)))
    assert len(few) == 5
    assert set(few) <= set(expected)
    assert flat(shown(CubeSet(clips, blocks=[]).in_order(4))) == []


def test_shuffled_is_every_cube_once_in_an_order_of_the_seed_and_epoch(clips):
    first, again = (shown(CubeSet(clips, seed=1).shuffled(32, epoch=0)) for _ in range(2))
    assert sorted(flat(first)) == list(range(215))
    assert first == again
    assert first != shown(CubeSet(clips, seed=1).shuffled(32, epoch=1))
    assert first != shown(CubeSet(clips, seed=2).shuffled(32, epoch=0))


@pytest.mark.parametrize("pool", [1, 2, 3, 100])
@pytest.mark.parametrize("skip", [0, 1, 3, 6, 7])
def test_skipping_batches_gives_the_rest_of_the_same_order(clips, monkeypatch, pool, skip):
    monkeypatch.setattr(CubeSet, "POOL", pool)
    cubes = CubeSet(clips, seed=3)
    assert shown(cubes.shuffled(32, 4, skip=skip)) == shown(cubes.shuffled(32, 4))[skip:]


def test_a_small_pool_still_mixes_clips_in_a_batch(clips, monkeypatch):
    """With pools of three blocks out of nine, a batch of 32 holds cubes of most pools' clips."""
    monkeypatch.setattr(CubeSet, "POOL", 3)
    edges = np.cumsum([70, 45, 100])
    batches = shown(CubeSet(clips, seed=0).shuffled(32, 0))
    mixed = [len(set(np.searchsorted(edges, batch, side="right"))) for batch in batches]
    assert sum(count >= 2 for count in mixed) >= len(mixed) - 1


def test_memory_is_bounded_by_the_pool(clips, monkeypatch):
    monkeypatch.setattr(CubeSet, "POOL", 2)
    read = []
    original = CubeSet._read
    monkeypatch.setattr(
        CubeSet, "_read", lambda self, blocks, rows: read.append(len(rows)) or original(self, blocks, rows)
    )
    list(CubeSet(clips).shuffled(8, 0))
    assert max(read) <= 2 * BLOCK


def test_max_cubes_draws_whole_blocks_by_the_seed(clips):
    cubes = CubeSet(clips, max_cubes=50, seed=5)
    drawn = flat(shown(cubes.in_order(32)))
    assert len(cubes) == len(drawn) == len(set(drawn)) == 50
    assert drawn == flat(shown(CubeSet(clips, max_cubes=50, seed=5).in_order(32)))
    assert drawn != flat(shown(CubeSet(clips, max_cubes=50, seed=6).in_order(32)))


def test_the_digest_changes_with_content_selection_and_branches(clips, tmp_path):
    other = [write(tmp_path / "other", 70, first=1), *clips[1:]]
    sets = [CubeSet(clips), CubeSet(other), CubeSet(clips, max_cubes=50), CubeSet([(r, None) for r, _ in clips])]
    assert len({s.digest for s in sets}) == 4
    assert CubeSet(clips).digest == CubeSet(clips).digest


def test_branches_cut_for_different_boxes_do_not_go_together(tmp_path):
    raw, _ = write(tmp_path / "a", 40)
    _, flow = write(tmp_path / "b", 40, first=1)
    with pytest.raises(VadError, match="different boxes"):
        CubeSet([(raw, flow)])


# What is no fault of the files


def test_files_of_one_clip_are_open_at_a_time(tmp_path):
    """However many clips there are, and whichever way their cubes are read."""
    shards = [write(tmp_path / str(clip), 40, 40 * clip) for clip in range(30)]
    open_files = []

    def watch(batches):
        for batch in batches:
            open_files.append(sum(shard._file is not None for clip in shards for shard in clip))
            yield batch

    cubes = CubeSet(shards, seed=1)
    for batches in (cubes.in_order(16), cubes.shuffled(16, 0), cubes.shuffled(16, 1, skip=20)):
        assert sum(len(batch.raw) for batch in watch(batches)) > 0
    assert len(cubes.digest) == 64
    assert max(open_files) == 0  # none, once a pool has been read
    assert not any(shard._file for clip in shards for shard in clip)


def test_a_hundred_clips_are_read_with_fifty_handles_left(tmp_path):
    script = f"""
import os, resource, sys
from pathlib import Path
from tests.test_shards import write
from vadlib.cubes.shards import CubeSet
shards = [write(Path({str(tmp_path)!r}) / str(clip), 3, 3 * clip) for clip in range(100)]
used = len(os.listdir("/proc/self/fd"))
resource.setrlimit(resource.RLIMIT_NOFILE, (used + 50, used + 50))
cubes = CubeSet(shards, seed=1)
print(cubes.digest[:4], sum(len(b.raw) for b in cubes.shuffled(32, 0)), sum(len(b.raw) for b in cubes.in_order(32)))
"""
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("needs Linux, to limit the handles left")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[1:] == ["300", "300"]


def test_a_shard_that_another_program_has_locked_is_read(tmp_path):
    fcntl = pytest.importorskip("fcntl")
    raw, flow = write(tmp_path, 40)
    with raw.path.open("rb+") as held, flow.path.open("rb+") as other:
        for file in (held, other):
            fcntl.flock(file, fcntl.LOCK_EX)  # as HDF5 does, in a program that has it open to write
        assert len(raw) == 40
        assert len(flow.read("cubes")) == 40


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EMFILE, r"too many files are open at once; raise the limit.*ulimit -n"),
        (errno.ENFILE, r"system has too many files open; close other programs"),
        (errno.EAGAIN, r"another program has locked it, or the system has no thread or memory"),
        (errno.EACCES, r"may not be read or written; give yourself the right"),
        (errno.EIO, r"drive it is on does not answer.*check the drive"),
        (errno.ESTALE, r"network drive it is on is gone; connect it"),
        (errno.ENOMEM, r"not enough memory"),
    ],
)
@pytest.mark.parametrize("when", ["opened", "read"])
def test_a_fault_of_the_surroundings_is_told_as_such_and_not_as_damage(tmp_path, monkeypatch, number, words, when):
    raw, _ = write(tmp_path, 40)

    def refuse(*_, **__):
        raise OSError(number, f"Unable to synchronously open file (errno = {number}, {os.strerror(number)!r})")

    if when == "read":
        len(raw)
    monkeypatch.setattr("h5py.File" if when == "opened" else "h5py.Dataset.__getitem__", refuse)
    with pytest.raises(VadError, match=rf"raw\.h5: .*{words}") as caught:
        raw.read("frame")
    assert "make it again" not in str(caught.value)
    assert "damaged" not in str(caught.value)


def _set(data: bytearray, at: int, value: int) -> None:
    """Change a byte of the heap that the attribute's text is in."""
    data[data.index(b"GCOL") + at] = value


HARM = {
    "goes round without end": (lambda data: _set(data, 105, 0), "HDF5 does not come back from it"),
    "is no text": (lambda data: _set(data, 40, 0x80), "'utf-8' codec"),
}


@pytest.mark.parametrize("what", HARM)
def test_a_file_at_which_hdf5_would_stop_is_one_line(tmp_path, monkeypatch, what):
    (raw, _), (spoil, words) = write(tmp_path, 40), HARM[what]
    data = bytearray(raw.path.read_bytes())
    spoil(data)
    (spoiled := tmp_path / "spoiled.h5").write_bytes(data)
    monkeypatch.setattr("vadlib.io.files._PATIENCE", 3.0)
    with pytest.raises(VadError, match=rf"spoiled\.h5: damaged \({words}"):
        Shard(spoiled, "`dvc repro`").digest  # noqa: B018
    assert len(raw) == 40  # whoever looked through the other is there again


def test_what_cannot_be_read_hides_no_other_harm(tmp_path, monkeypatch):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        bits = h5py.h5s.create(h5py.h5s.SCALAR)
        h5py.h5a.create(file.id, b"odd", h5py.h5t.STD_B8LE, bits)  # which numpy has nothing for
        file["flow"] = np.zeros(3)
        file["flow"].attrs["units"] = "x" * 64
    _set(data := bytearray((tmp_path / "a.h5").read_bytes()), 105, 0)
    (tmp_path / "b.h5").write_bytes(data)
    monkeypatch.setattr("vadlib.io.files._PATIENCE", 3.0)
    assert harm_of_hdf5(tmp_path / "a.h5") is None
    assert "does not come back" in harm_of_hdf5(tmp_path / "b.h5")


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_who_looks_through_files_does_not_outlive_who_asked(tmp_path):
    """HDF5 goes round in the file, and who waited for that is killed."""
    raw, _ = write(tmp_path, 40)
    _set(data := bytearray(raw.path.read_bytes()), 105, 0)
    raw.path.write_bytes(data)
    ask = f"""if True:
        from pathlib import Path
        from vadlib.io import files
        files._PATIENCE = 2
        files.harm_of_hdf5(Path({str(raw.path)!r}))"""
    with subprocess.Popen([sys.executable, "-c", ask], cwd=ROOT) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        while not (found := children.read_text().split()):
            time.sleep(0.05)
        time.sleep(1)
        process.kill()
    child, began = Path("/proc", found[0], "stat"), time.monotonic()
    while child.exists() and child.read_text().rsplit(")", 1)[1].split()[0] != "Z":
        assert time.monotonic() < began + 60
        time.sleep(0.1)


def test_columns_of_different_lengths_or_shapes_are_one_line(tmp_path):
    raw, _ = write(tmp_path, 40)
    with h5py.File(raw.path, "r+") as file:
        file["boxes"].resize(39, axis=0)
    with pytest.raises(VadError, match=r"raw\.h5: damaged \(rows of its columns: .*'boxes': 39, 'cubes': 40"):
        len(raw)
    small, _ = write(tmp_path / "other", 40)
    with h5py.File(small.path, "r+") as file:
        cubes = file["cubes"][:, :2]
        del file["cubes"]
        file["cubes"] = cubes
    whole, _ = write(tmp_path / "whole", 40)
    with pytest.raises(VadError, match=r"raw\.h5: holds uint8 \(., 4, 4, 3\), others uint8 \(., 4, 4, 3\)"):
        list(CubeSet([(whole, None), (small, None)]).in_order(8))


def test_rows_that_a_file_only_claims_are_not_believed(tmp_path):
    raw, _ = write(tmp_path, 40)
    with h5py.File(raw.path, "r+") as file:
        file["frame"].resize(2**40, axis=0)
    with pytest.raises(VadError, match="it claims to hold more than it does"):
        CubeSet([(Shard(raw.path, "`dvc repro`"), None)])
