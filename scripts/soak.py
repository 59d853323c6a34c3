"""Watch an RTSP camera for a while; its server, a webhook and an MQTT broker are away now and then. Prints memory and
handles.

    python scripts/soak.py --model models/synthetic --video street.mp4 --minutes 30

Ends with what was delivered: none may be lost, and none come twice.
"""

import contextlib
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.watch.loopback import Hook, eventually, free_port, mosquitto, rtsp
from tests.watch.test_watch import Watching
from vadlib.cli.commands import run
from vadlib.errors import VadError


def soak(
    model: Annotated[Path, typer.Option(help="A model folder.")],
    video: Annotated[Path, typer.Option(help="H.264 in MP4: what the camera sees, again and again.")],
    minutes: Annotated[float, typer.Option(help="How long.")] = 30.0,
    kills: Annotated[int, typer.Option(help="How often the camera goes away, and receivers before it.")] = 3,
    away: Annotated[float, typer.Option(help="Seconds that the receivers are away each time.")] = 60.0,
    threshold: Annotated[float, typer.Option(help="Above it scores are anomalous.")] = -1000.0,
) -> Mapping[str, float]:
    """Watch an RTSP camera for a while; its server, a webhook and an MQTT broker are away now and then."""
    hook, port, broker, folder = Hook(), free_port(), free_port(), Path(tempfile.mkdtemp())
    with mosquitto(broker, folder / "broker"), subscribed(broker) as subscriber:
        eventually(subscriber.is_connected)  # from now on the broker keeps what is for it
    watching = Watching(
        f"door=rtsp://127.0.0.1:{port}/live", "--model", model, "--output", folder / "found", "--webhook", hook.address,
        "--mqtt", f"mqtt://127.0.0.1:{broker}", "--cool-off", "2", "--before", "2", "--after", "1", "--quota", "0.01",
        threshold=threshold,
    )  # fmt: skip
    first: dict[str, Any] = {}
    last = watching.status()

    def look(seconds: float) -> None:
        """Print how all does, every ten seconds, for so long."""
        nonlocal first, last
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(min(10.0, max(0.1, until - time.monotonic())))
            try:
                last = watching.status()
            except OSError as error:  # a machine with much other work answers late
                print(f"no answer: {error}", flush=True)
                continue
            if not first or first["seconds"] < 60:
                first = last
            camera = last["cameras"][0]
            print(
                f"{last['seconds']:7.0f} s  {last['memory_mib']:7.1f} MiB  {last['handles']} handles  "
                f"{last['threads']} threads  {camera['frames_per_s']} frames/s  n {camera['n']}  "
                f"lag {camera['lag_s']} s  to event {camera['event_lag_s']} s  {camera['events']} events  "
                f"{camera['reconnects']} reconnects  {sum(last['waiting'].values())} waiting",
                flush=True,
            )

    got: list[str] = []
    for left in range(kills, -1, -1):
        with contextlib.ExitStack() as camera:
            camera.enter_context(rtsp(port, video))
            with contextlib.ExitStack() as receivers:
                hook.open()
                receivers.callback(hook.close)
                receivers.enter_context(mosquitto(broker, folder / "broker"))
                receivers.enter_context(subscribed(broker, got))
                look(60 * minutes / (kills + 1) - away)
                if not left:
                    break
            look(away - 10)  # of the receivers' absence the camera is there for most, so that events have to wait
        look(10)
    hook.open()
    with mosquitto(broker, folder / "broker"), subscribed(broker, got):
        eventually(lambda: not sum(watching.status()["waiting"].values()), 180)  # else the next run would bring them
        events, told = watching.end()
        time.sleep(2)
    hook.close()
    print(told, file=sys.stderr)
    sent = [f"{event['id']}-{event['state']}" for event in events]
    for name, taken in (("webhook", [key for key, _ in hook.got]), ("MQTT", got)):
        if lost := Counter(sent) - Counter(taken):
            raise VadError(f"{name}: {len(lost)} of {len(sent)} messages lost: {', '.join(lost)}")
        if more := Counter(taken) - Counter(sent):
            raise VadError(f"{name}: {len(more)} of {len(sent)} messages came twice: {', '.join(more)}")
    return {
        "messages to each": len(sent),
        "MiB more than after a minute": round(last["memory_mib"] - first["memory_mib"], 1),
        "handles more": last["handles"] - first["handles"],
    }


@contextlib.contextmanager
def subscribed(port: int, got: list[str] | None = None) -> Iterator[Any]:
    """A subscriber that the broker keeps events for while it is away; `got` is told of each that comes."""
    from paho.mqtt import client as paho

    subscriber = paho.Client(paho.CallbackAPIVersion.VERSION2, "soak", clean_session=False)

    def on_message(client: Any, userdata: Any, found: Any) -> None:
        event = json.loads(found.payload)
        assert got is not None
        got.append(f"{event['id']}-{event['state']}")

    subscriber.on_message = on_message
    subscriber.on_connect = lambda client, *_: client.subscribe("vad/+/event", 2)
    subscriber.connect("127.0.0.1", port)
    subscriber.loop_start()
    try:
        yield subscriber
    finally:
        time.sleep(1)  # the last answers
        subscriber.disconnect()
        subscriber.loop_stop()


if __name__ == "__main__":
    run(soak)
