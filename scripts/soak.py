"""Watch an RTSP camera for a while, its server and the webhook killed now and then, and print memory and handles.

    python scripts/soak.py --model models/synthetic --video street.mp4 --minutes 30

Ends with what was delivered: none may be lost, and none come twice.
"""

import contextlib
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.watch.loopback import Hook, eventually, free_port, rtsp
from tests.watch.test_watch import Watching
from vadlib.cli.commands import run
from vadlib.errors import VadError

AWAY = 20.0  # seconds


def soak(
    model: Annotated[Path, typer.Option(help="A model folder.")],
    video: Annotated[Path, typer.Option(help="H.264 in MP4: what the camera sees, again and again.")],
    minutes: Annotated[float, typer.Option(help="How long.")] = 30.0,
    kills: Annotated[int, typer.Option(help="How often camera and webhook go away.")] = 3,
) -> Mapping[str, float]:
    """Watch an RTSP camera for a while, its server and the webhook killed now and then."""
    hook, port, folder = Hook(), free_port(), Path(tempfile.mkdtemp())
    watching = Watching(
        f"door=rtsp://127.0.0.1:{port}/live", "--model", model, "--output", folder / "found", "--webhook", hook.address,
        "--cool-off", "2", "--before", "2", "--after", "1", "--quota", "0.01",
    )  # fmt: skip
    began = time.monotonic()
    first = last = watching.status()
    for _ in range(kills + 1):
        hook.open()
        with contextlib.ExitStack() as stack:
            stack.enter_context(rtsp(port, video))
            until = time.monotonic() + 60 * minutes / (kills + 1) - AWAY
            while time.monotonic() < until:
                time.sleep(min(10.0, max(0.1, until - time.monotonic())))
                last = watching.status()
                if time.monotonic() - began > 60 and first["seconds"] < 60:
                    first = last
                camera = last["cameras"][0]
                print(
                    f"{last['seconds']:7.0f} s  {last['memory_mib']:7.1f} MiB  {last['handles']} handles  "
                    f"{last['threads']} threads  {camera['frames_per_s']} frames/s  n {camera['n']}  "
                    f"lag {camera['lag_s']} s  to event {camera['event_lag_s']} s  {camera['events']} events  "
                    f"{camera['reconnects']} reconnects",
                    flush=True,
                )
            hook.close()  # first, so that events have somebody to wait for
            time.sleep(AWAY / 2)
        time.sleep(AWAY / 2)
    hook.open()
    eventually(lambda: not sum(watching.status()["waiting"].values()), 120)  # else the next run would bring them
    events, _ = watching.end()
    hook.close()
    sent, got = [f"{e['id']}-{e['state']}" for e in events], [key for key, _ in hook.got]
    if sorted(sent) != sorted(got):
        raise VadError(f"{len(sent)} messages sent, {len(got)} received, of them {len(set(got))} different")
    return {
        "messages": len(got),
        "MiB more than after a minute": round(last["memory_mib"] - first["memory_mib"], 1),
        "handles more": last["handles"] - first["handles"],
    }


if __name__ == "__main__":
    run(soak)
