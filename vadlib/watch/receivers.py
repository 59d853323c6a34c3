"""Who is told of an event: a web address, an MQTT broker with Home Assistant, any command.

Each has a thread of its own that takes messages from the disk, one after the other, and tries each until it has been
taken: while a receiver is away nothing is lost, and nobody waits for it.
"""

import hashlib
import json
import os
import shlex
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from vadlib.errors import VadError, printable
from vadlib.version import __version__
from vadlib.watch.queue import Queue

TIMEOUT = 10.0  # seconds for one try
WAITS = (1.0, 60.0)  # seconds between tries: at first, and at most; doubled each time
COMMAND_SECONDS = 60.0  # that a command may take


class Receiver(Protocol):
    """Something that takes messages."""

    @property
    def name(self) -> str:
        """Of the receiver in the queue: the same after the next start."""

    def send(self, identity: str, message: dict[str, Any]) -> None:
        """Give it one. Raises OSError, saying why, where it has not been taken, and is to be tried again."""

    def close(self) -> None: ...


@dataclass(frozen=True)
class Webhook:
    """A web address that each message is posted to, as JSON; any answer of 2xx takes it."""

    address: str

    @property
    def name(self) -> str:
        return f"webhook {urlsplit(self.address).hostname} {_mark(self.address)}"

    def send(self, identity: str, message: dict[str, Any]) -> None:
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": identity,
            "User-Agent": f"vadlib/{__version__}",
        }
        request = urllib.request.Request(self.address, json.dumps(message).encode(), headers, method="POST")
        with _NO_REDIRECTS.open(request, timeout=TIMEOUT):
            pass

    def close(self) -> None: ...


def _mark(text: str) -> str:
    """Tells receivers apart, and gives nothing away that an address or a line may hold."""
    return hashlib.sha256(text.encode()).hexdigest()[:8]


class _Unredirected(urllib.request.HTTPRedirectHandler):
    """An event is for the address that was given: an answer that names another is a refusal."""

    def redirect_request(self, *arguments: Any) -> None:
        return None


_NO_REDIRECTS = urllib.request.build_opener(_Unredirected)


@dataclass(frozen=True)
class Command:
    """A program that is run for each message, which it reads from standard input; exit code 0 takes it. No shell."""

    line: str

    @property
    def name(self) -> str:
        return f"command {Path(shlex.split(self.line)[0]).name} {_mark(self.line)}"

    def send(self, identity: str, message: dict[str, Any]) -> None:
        variables = {
            f"VAD_{key.upper()}": str(message[key]) for key in ("id", "state", "camera", "score") if key in message
        }
        try:
            subprocess.run(
                shlex.split(self.line), input=f"{json.dumps(message)}\n".encode(), env={**os.environ, **variables},
                stdout=subprocess.DEVNULL, check=True, timeout=COMMAND_SECONDS,
            )  # fmt: skip
        except subprocess.SubprocessError as error:
            raise OSError(str(error)) from None

    def close(self) -> None: ...


class Mqtt:
    """An MQTT broker: events as JSON at `<prefix>/<camera>/event`, whether one goes on at `<prefix>/<camera>/state`.

    Home Assistant finds each camera by itself, as a binary sensor.
    """

    def __init__(self, address: str, cameras: Sequence[str]) -> None:
        """`address`: mqtt://[user:password@]host[:port][/prefix], or mqtts:// with TLS; prefix `vad` if not given."""
        try:
            from paho.mqtt import client as paho
        except ImportError:
            raise VadError("--mqtt needs paho-mqtt; install it with: pip install 'vadlib[watch]'") from None
        place = urlsplit(address)
        if place.scheme not in ("mqtt", "mqtts") or not place.hostname:
            raise VadError(f"{address}: expected mqtt://host:port/prefix or mqtts://…")
        self._prefix = place.path.strip("/") or "vad"
        port = place.port or (8883 if place.scheme == "mqtts" else 1883)
        self.name = f"mqtt {place.hostname}:{port}/{self._prefix}"
        self._cameras = cameras
        self._fine, self._no_connection = paho.MQTT_ERR_SUCCESS, paho.MQTT_ERR_NO_CONN
        self._pending: dict[str, list[Any]] = {}  # published, by the message's identity, and not known to be taken
        # The broker keeps a session of this name: what is under way when the connection breaks is not sent as another.
        self._client = paho.Client(
            paho.CallbackAPIVersion.VERSION2, f"vad-{self._prefix.replace('/', '-')}", clean_session=False
        )  # fmt: skip
        if place.username:
            self._client.username_pw_set(unquote(place.username), unquote(place.password or ""))
        if place.scheme == "mqtts":
            self._client.tls_set()
        self._client.will_set(f"{self._prefix}/availability", "offline", 1, retain=True)
        self._client.on_connect = self._introduce
        self._client.reconnect_delay_set(1, 30)
        self._client.connect_async(place.hostname, port)
        self._client.loop_start()
        self._going_on: dict[str, str | None] = {}  # which event, by camera

    def send(self, identity: str, message: dict[str, Any]) -> None:
        topic = self._topic(message["camera"])
        if identity not in self._pending:
            sent = [self._client.publish(f"{topic}/event", json.dumps(message), 2)]
            begins, camera = message["state"] == "begin", message["camera"]
            if begins or self._going_on.get(camera) in (None, message["id"]):  # else another has begun meanwhile
                self._going_on[camera] = message["id"] if begins else None
                sent.append(self._client.publish(f"{topic}/state", "ON" if begins else "OFF", 1, retain=True))
            for each in sent:
                # Without a connection paho calls it a failure, and keeps the message: it sends it by itself, once.
                each.rc = self._fine if each.rc == self._no_connection else each.rc
            self._pending[identity] = sent
        for each in self._pending[identity]:
            try:
                each.wait_for_publish(TIMEOUT)
            except (RuntimeError, ValueError) as error:
                raise OSError(str(error)) from None
            if not each.is_published():
                raise OSError("the broker does not answer")
        del self._pending[identity]

    def close(self) -> None:
        if self._client.is_connected():
            self._client.publish(f"{self._prefix}/availability", "offline", 1, retain=True).wait_for_publish(1.0)
        self._client.disconnect()
        self._client.loop_stop()

    def _topic(self, camera: str) -> str:
        return f"{self._prefix}/{camera.replace('+', '_').replace('#', '_')}"

    def _introduce(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        """Say that this is here, and what there is: to brokers that keep nothing, at each connection."""
        if reason.is_failure:
            return
        client.publish(f"{self._prefix}/availability", "online", 1, retain=True)
        for camera in self._cameras:
            key = "".join(c if c.isascii() and c.isalnum() else "_" for c in f"{self._prefix}_{camera}")
            config = {
                "name": "Anomaly",
                "unique_id": key,
                "device_class": "problem",
                "state_topic": f"{self._topic(camera)}/state",
                "json_attributes_topic": f"{self._topic(camera)}/event",
                "availability_topic": f"{self._prefix}/availability",
                "device": {"identifiers": [key], "name": camera, "manufacturer": "vadlib", "sw_version": __version__},
            }
            client.publish(f"homeassistant/binary_sensor/{key}/config", json.dumps(config), 1, retain=True)


@dataclass
class Delivery:
    """The thread that brings one receiver its messages."""

    receiver: Receiver
    queue: Queue
    tell: Callable[[str], None]
    stopping: threading.Event
    delivered: int = 0
    failures: int = 0
    away: bool = False
    thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self._run, name=self.receiver.name, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        wait = WAITS[0]
        while not self.stopping.is_set():
            if (first := self.queue.first(self.receiver.name, 0.5)) is None:
                continue
            number, identity, message = first
            try:
                self.receiver.send(identity, message)
            except (OSError, ValueError) as error:
                self.failures += 1
                if not self.away:
                    reason = printable(str(error)) or type(error).__name__
                    self.tell(f"{self.receiver.name}: {reason}; what it is to be told waits on disk and is tried again")
                self.away = True
                self.stopping.wait(wait)
                wait = min(2 * wait, WAITS[1])
                continue
            self.queue.done(number)
            self.delivered += 1
            wait = WAITS[0]
            if self.away:
                self.tell(f"{self.receiver.name}: there again")
            self.away = False
        self.receiver.close()
