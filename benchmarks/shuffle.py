"""`python -m benchmarks.shuffle`: how well the block shuffle mixes, beside a shuffle of the whole set in memory.

The clips are of the length of a data set's, their cubes numbers: no footage, no network, seconds.
"""

import numpy as np
import typer

from vadlib.cli.main import print_table
from vadlib.cubes.shards import CubeSet

DATASETS = {"Ped2": (16, 2_200), "Avenue": (16, 6_700), "ShanghaiTech": (330, 3_000)}  # training clips, cubes of each
BATCH = 64


class NumberedShard:
    """Stands in for a `Shard`: cube n of the set shows the number n."""

    path = None

    def __init__(self, first: int, count: int) -> None:
        self._numbers = np.arange(first, first + count)

    def __len__(self) -> int:
        return len(self._numbers)

    def read(self, name: str, rows: slice = slice(None)) -> np.ndarray:
        """The numbers, whatever is asked for."""
        return self._numbers[rows]

    def close(self) -> None:
        """Nothing is open."""


def mixing(batches: list[np.ndarray], cubes_of_a_clip: int) -> tuple[float, float]:
    """Means over batches: clips in a batch, and share of its neighbouring pairs that come from one clip."""
    clips = [batch // cubes_of_a_clip for batch in batches]
    return float(np.mean([len(set(c)) for c in clips])), float(np.mean([(c[1:] == c[:-1]).mean() for c in clips]))


def shuffle() -> None:
    """Compare the training's shuffle, bounded in memory, with a perfect one: clips in a batch, over one epoch."""
    rows = []
    for name, (clips, cubes) in DATASETS.items():
        shards = [(NumberedShard(clip * cubes, cubes), None) for clip in range(clips)]
        ours = [batch.raw for batch in CubeSet(shards).shuffled(BATCH, epoch=0)]
        everything = np.random.default_rng(0).permutation(clips * cubes)
        perfect = [everything[at : at + BATCH] for at in range(0, len(everything), BATCH)]
        row: dict[str, object] = {"like": name, "clips": clips, "cubes": f"{clips * cubes:,}"}
        for label, batches in (("pools", ours), ("perfect", perfect)):
            row[f"clips a batch, {label}"], row[f"neighbours of one clip, {label}"] = (
                f"{value:.{digits}f}" for value, digits in zip(mixing(batches, cubes), (1, 3), strict=True)
            )
        rows.append(row)
    print(f"batches of {BATCH} from pools of {CubeSet.POOL} blocks")
    print_table(rows)


if __name__ == "__main__":
    typer.run(shuffle)
