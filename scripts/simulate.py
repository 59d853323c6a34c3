"""Simulate many cameras on a number of workers: how long their footage waits, and what the loss of a node costs.

    python scripts/simulate.py --rate 12.4 --cameras 1000 --fps 5

Every camera hands over a segment of footage a minute, at moments of its own. Workers take the oldest first; a segment
takes its frames over the rate that one worker was measured to have, times how much there is in it: log-normal, so that
some take three times as long. A node is lost halfway through: what its workers had begun is begun again once that is
found out, and the node is back after a while. One seed, the same table.
"""

import heapq
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import typer

from vadlib.cli.commands import run
from vadlib.cli.main import print_table

SPREAD = 0.4  # standard deviation of the logarithm of a segment's service time


@dataclass(frozen=True)
class Outcome:
    """Seconds a segment waits until a worker takes it, for the last time where it was begun again."""

    busy: float  # share of the workers' time
    before: np.ndarray  # of segments that came before the node was lost
    after: np.ndarray
    again: int  # segments that were begun again
    recovered: float | None  # seconds from the loss until segments wait no longer than 95 % did before; None: never


def simulate(
    cameras: int, workers: int, service: float, *, segment: float, hours: float, node: int, found: float, back: float,
    seed: int,
) -> Outcome:  # fmt: skip
    """Run it: `service` seconds a segment on average, of `segment` seconds of footage; a node of `node` workers is lost
    at half time, which is known `found` seconds later, and back after `back`."""
    rng = np.random.default_rng(seed)
    end, lost_at = hours * 3600, hours * 1800
    arrivals = np.sort((rng.uniform(0, segment, cameras)[:, None] + np.arange(0, end, segment)).ravel())
    times = service * rng.lognormal(-(SPREAD**2) / 2, SPREAD, len(arrivals))
    waited = np.zeros(len(arrivals))
    free = [(0.0, worker) for worker in range(workers)]  # when each worker takes the next one
    heapq.heapify(free)
    next_, again, work = 0, 0, 0.0
    late: list[tuple[float, int]] = []  # begun on the lost node, by when it is known
    while next_ < len(arrivals) or late:
        now, worker = heapq.heappop(free)
        is_late = bool(late) and (next_ == len(arrivals) or late[0][0] <= max(now, arrivals[next_]))
        ready, number = late[0] if is_late else (arrivals[next_], next_)
        begin = max(now, ready)
        if worker < node and lost_at <= begin < lost_at + back:
            heapq.heappush(free, (lost_at + back, worker))
            continue
        if is_late:
            heapq.heappop(late)
        else:
            next_ += 1
        done = begin + times[number]
        if worker < node and begin < lost_at < done:
            again += 1
            work += lost_at - begin
            heapq.heappush(late, (lost_at + found, number))
            heapq.heappush(free, (lost_at + back, worker))
            continue
        waited[number] = begin - arrivals[number]
        work += times[number]
        heapq.heappush(free, (done, worker))
    first = arrivals < lost_at
    settled = (arrivals > 600) & first  # workers are not all free any longer
    limit = np.percentile(waited[settled], 95) + 1
    slow = np.flatnonzero(~first & (waited > limit))
    recovered = None if len(slow) and arrivals[slow[-1]] > end - 2 * segment else (
        float(arrivals[slow[-1]] - lost_at) if len(slow) else 0.0
    )  # fmt: skip
    return Outcome(work / (workers * end), waited[settled], waited[~first], again, recovered)


def table(
    rate: Annotated[float, typer.Option(min=0.01, help="Frames/s of one worker, as measured.")],
    cameras: Annotated[int, typer.Option(min=1)] = 1000,
    fps: Annotated[float, typer.Option(min=0.01, help="Frames a second that are looked at.")] = 5.0,
    segment: Annotated[float, typer.Option(min=1, help="Seconds of footage that are handed over at a time.")] = 60.0,
    hours: Annotated[float, typer.Option(min=0.5)] = 4.0,
    node: Annotated[int, typer.Option(min=1, help="Workers of a node.")] = 16,
    found: Annotated[float, typer.Option(help="Seconds until it is known that a node is lost.")] = 40.0,
    back: Annotated[float, typer.Option(help="Seconds until a lost node is back.")] = 1800.0,
    seed: int = 0,
) -> Mapping[str, float]:
    """Print, for workers from just enough to a third more, how long segments wait, and what a lost node costs."""
    service = fps * segment / rate
    least = cameras * service / segment
    rows: list[dict[str, object]] = []
    for share in (0.98, 0.95, 0.9, 0.85, 0.75):
        workers = -int(-least / share // 1)
        of = simulate(
            cameras, workers, service, segment=segment, hours=hours, node=node, found=found, back=back, seed=seed
        )
        p50, p99 = np.percentile(of.before, [50, 99])
        rows.append(
            {
                "workers": workers, "asked for": f"{share:.0%}", "busy": f"{of.busy:.1%}",
                "wait p50 s": f"{p50:.1f}", "p99 s": f"{p99:.1f}", "longest s": f"{of.before.max():.1f}",
                "begun again": of.again, "p99 after loss s": f"{np.percentile(of.after, 99):.1f}",
                "as before after s": None if of.recovered is None else f"{of.recovered:.0f}",
            }
        )  # fmt: skip
    print_table(rows)
    return {"cameras": cameras, "frames/s asked for": cameras * fps, "s a segment": round(service, 2)}


if __name__ == "__main__":
    run(table)
