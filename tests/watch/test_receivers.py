"""Who is told of events: none lost, none twice, however long a receiver is away."""

import json
import sqlite3
import sys
import threading
import time

import pytest

from tests.watch.loopback import Hook, eventually, free_port, mosquitto
from vadlib.errors import VadError
from vadlib.watch import queue, receivers
from vadlib.watch.queue import Queue
from vadlib.watch.receivers import Command, Delivery, Mqtt, Webhook


@pytest.fixture
def hurried(monkeypatch):
    monkeypatch.setattr(receivers, "WAITS", (0.1, 0.4))
    monkeypatch.setattr(receivers, "TIMEOUT", 0.5)


@pytest.fixture
def hook():
    made = Hook()
    made.open()
    yield made
    made.close()


def message(number: int, state: str = "begin") -> dict:
    return {"id": f"door-{number}", "state": state, "camera": "door", "score": 3.5}


def deliver(waiting: Queue, receiver) -> tuple[Delivery, list[str]]:
    told: list[str] = []
    return Delivery(receiver, waiting, told.append, threading.Event()), told


def stop(delivery: Delivery) -> None:
    delivery.stopping.set()
    delivery.thread.join(10)
    assert not delivery.thread.is_alive()


def test_a_webhook_that_is_away_gets_each_message_once_and_in_order(tmp_path, hook, hurried):
    receiver = Webhook(hook.address)
    waiting = Queue(tmp_path / "queue.sqlite", [receiver.name])
    delivery, told = deliver(waiting, receiver)
    waiting.put("0", message(0))
    eventually(lambda: len(hook.got) == 1)
    hook.close()
    began = time.monotonic()
    for number in range(1, 6):
        waiting.put(str(number), message(number))
        waiting.put(str(number), message(number))  # the same once more
    assert time.monotonic() - began < 2  # nobody waits for it
    eventually(lambda: delivery.failures > 2)
    assert waiting.waiting() == {receiver.name: 5}
    hook.answer = 503
    hook.open()
    failures = delivery.failures
    eventually(lambda: delivery.failures > failures)
    hook.answer = 200
    eventually(lambda: len(hook.got) == 6)
    stop(delivery)
    assert [key for key, _ in hook.got] == list("012345")
    assert hook.got[3][1] == message(3)
    assert waiting.waiting() == {receiver.name: 0}
    assert len(told) == 2
    assert "waits on disk and is tried again" in told[0]
    assert told[1].endswith("there again")


def test_an_answer_that_leads_elsewhere_is_a_refusal_and_an_address_keeps_its_secrets(hook):
    hook.answer = 302
    with pytest.raises(OSError, match="302"):
        Webhook(hook.address).send("1", message(1))
    assert "/hook" not in Webhook(hook.address).name
    assert Webhook(hook.address).name != Webhook(hook.address + "2").name


def test_what_waits_is_there_after_a_kill_and_each_receiver_has_its_own(tmp_path, hook, hurried):
    first = Queue(tmp_path / "queue.sqlite", ["gone", Webhook(hook.address).name])
    first.put("1", message(1))
    again = Queue(tmp_path / "queue.sqlite", [Webhook(hook.address).name])  # the first was never closed
    delivery, _ = deliver(again, Webhook(hook.address))
    eventually(lambda: hook.got == [("1", message(1))])
    stop(delivery)
    rows = sqlite3.connect(tmp_path / "queue.sqlite").execute("SELECT receiver FROM message").fetchall()
    assert rows == [("gone",)]


def test_of_too_many_the_oldest_are_given_up_and_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(queue, "MOST", 3)
    waiting = Queue(tmp_path / "queue.sqlite", ["a"])
    for number in range(5):
        waiting.put(str(number), message(number))
    assert (waiting.waiting(), waiting.given_up) == ({"a": 3}, 2)
    assert waiting.first("a", 0)[1] == "2"


def test_a_file_of_somebody_elses_is_no_queue(tmp_path):
    (tmp_path / "queue.sqlite").write_text("mine")
    with pytest.raises(VadError, match="not what this tool made"):
        Queue(tmp_path / "queue.sqlite", [])


def test_a_command_gets_the_event_and_is_run_again_where_it_fails(tmp_path, hurried):
    script = tmp_path / "told.py"
    script.write_text(
        "import os, pathlib, sys\n"
        "tries = pathlib.Path('tries'); tries.write_text(tries.read_text() + '.' if tries.exists() else '.')\n"
        "if len(tries.read_text()) < 3: sys.exit(1)\n"
        "pathlib.Path('told').write_text(sys.stdin.read() + os.environ['VAD_ID'])\n"
    )
    script.write_text(script.read_text().replace("'t", f"'{tmp_path}/t"))
    receiver = Command(f"{sys.executable} {script} '; echo no shell'")
    waiting = Queue(tmp_path / "queue.sqlite", [receiver.name])
    delivery, _ = deliver(waiting, receiver)
    waiting.put("1", message(1))
    eventually(lambda: delivery.delivered == 1)
    stop(delivery)
    line, identity = (tmp_path / "told").read_text().splitlines()
    assert (json.loads(line), identity) == (message(1), "door-1")
    assert (tmp_path / "tries").read_text() == "..."
    with pytest.raises(OSError, match="nothing-of-this-name"):
        Command("nothing-of-this-name").send("1", message(1))


def test_a_broker_that_is_away_gets_each_event_once_and_home_assistant_finds_the_camera(tmp_path, hurried):
    paho = pytest.importorskip("paho.mqtt.client", reason="needs paho-mqtt")
    port, got, kept = free_port(), [], {}
    subscriber = paho.Client(paho.CallbackAPIVersion.VERSION2, "subscriber", clean_session=False)

    def on_message(client, userdata, found):
        if found.topic.endswith("/event"):
            got.append(json.loads(found.payload)["id"])
        else:
            kept[found.topic] = found.payload

    subscriber.on_message = on_message
    subscriber.on_connect = lambda client, *_: client.subscribe([("vad/#", 2), ("homeassistant/#", 1)])
    subscriber.reconnect_delay_set(1, 1)
    with mosquitto(port, tmp_path / "broker"):
        subscriber.connect("127.0.0.1", port)
        subscriber.loop_start()
        receiver = Mqtt(f"mqtt://127.0.0.1:{port}", ["door"])
        waiting = Queue(tmp_path / "queue.sqlite", [receiver.name])
        delivery, _ = deliver(waiting, receiver)
        waiting.put("1", message(1))
        eventually(lambda: got == ["door-1"])
        eventually(lambda: kept.get("vad/door/state") == b"ON")
        assert kept["vad/availability"] == b"online"
        (found,) = [json.loads(kept[topic]) for topic in kept if topic.startswith("homeassistant/binary_sensor/")]
        assert found["state_topic"] == "vad/door/state"
        assert found["availability_topic"] == "vad/availability"
    for number in range(2, 5):
        waiting.put(str(number), message(number))
    waiting.put("4-end", message(4, "end"))
    eventually(lambda: delivery.failures > 0)
    with mosquitto(port, tmp_path / "broker"):
        eventually(lambda: delivery.delivered == 5)
        eventually(lambda: len(got) == 5 and kept["vad/door/state"] == b"OFF")
        time.sleep(1)
        assert got == ["door-1", "door-2", "door-3", "door-4", "door-4"]
        stop(delivery)
        eventually(lambda: kept["vad/availability"] == b"offline")
        subscriber.disconnect()
        subscriber.loop_stop()


def test_an_address_that_is_no_brokers_is_refused():
    pytest.importorskip("paho.mqtt.client", reason="needs paho-mqtt")
    with pytest.raises(VadError, match="expected mqtt://"):
        Mqtt("127.0.0.1:1883", [])
