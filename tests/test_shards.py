"""Cubes on disk: what is written is read, in bounded memory, in orders that depend on the seed alone."""

from itertools import chain

import numpy as np
import pytest

from vadlib.cubes.shards import BLOCK, CubeSet, Shard, ShardWriter
from vadlib.errors import VadError


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
