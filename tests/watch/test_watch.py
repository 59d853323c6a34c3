"""`vad watch` as a whole: from cameras to receivers, and its page in a real browser."""

import json
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO

import av
import pandas as pd
import pytest

from tests.conftest import ROOT
from tests.projects import make_packaged, until
from tests.watch.loopback import Hook, eventually, free_port, needs_rtsp, rtsp, street

CHROMIUM = next((p for p in map(Path, ("/usr/bin/chromium", "/usr/bin/chromium-browser")) if p.exists()), None)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return make_packaged(tmp_path_factory.mktemp("watched"), until("calibrate")) / "models/mini"


class Watching:
    """`vad watch` in a process of its own."""

    def __init__(self, *arguments: object, threshold: float = -1000) -> None:
        command = [sys.executable, "-m", "vadlib", "watch", *map(str, [*arguments, "--threshold", threshold])]
        self.process = subprocess.Popen(
            [*command, "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
        )
        self.printed: list[str] = []
        self.told: list[str] = []
        # Read as it comes: of a pipe that is full a process waits.
        streams = (self.process.stdout, self.printed), (self.process.stderr, self.told)
        self._readers = [threading.Thread(target=read_all, args=stream, daemon=True) for stream in streams]
        for reader in self._readers:
            reader.start()
        eventually(lambda: any(line.startswith("page: ") for line in self.told) or not self._readers[1].is_alive(), 300)
        pages = [line.removeprefix("page: ") for line in self.told if line.startswith("page: ")]
        assert pages, self.told
        self.page = pages[0]
        self.base, self.token = self.page.split("/?token=")

    def get(self, path: str, token: str | None = None) -> str:
        headers = {"Authorization": f"Bearer {self.token if token is None else token}"}
        with urllib.request.urlopen(urllib.request.Request(self.base + path, headers=headers), timeout=20) as answer:
            return answer.read().decode("utf-8", "replace")

    def status(self) -> dict:
        return json.loads(self.get("/api/status"))

    def end(self, number: int | None = signal.SIGTERM) -> tuple[list[dict], str]:
        """The events that it printed, and what it told; `number`: the signal that stops it."""
        if number is not None:
            self.process.send_signal(number)
        self.process.wait(300)  # on a machine with other work what is under way takes its time
        for reader in self._readers:
            reader.join(10)
        return [json.loads(line) for line in self.printed], "\n".join(self.told)


def read_all(stream: IO[str], lines: list[str]) -> None:
    lines.extend(line.strip() for line in stream)  # each at once


def test_two_files_in_one_process_leave_events_videos_and_tables(model, tmp_path):
    video = street(tmp_path / "street.mp4")
    watching = Watching(
        video, f"second={video}", "--model", model, "--output", tmp_path / "out", "--before", "0.5", "--after", "0.5"
    )
    events, told = watching.end(None)
    assert watching.process.returncode == 0, told
    assert [
        sum(e["camera"] == c and e["state"] == s for e in events)
        for c in ("street", "second")
        for s in ("begin", "end")
    ] == [1] * 4
    for event in (event for event in events if event["state"] == "end"):
        assert 0.9 <= event["stream_begin_s"] <= 1.5  # a busy machine looks at every n-th frame
        assert 2.4 <= event["stream_end_s"] <= 3.2
        assert event["latency_s"] > 0
        assert event["box"][3] > 40
        folder = tmp_path / "out/events" / event["begin"][:10] / event["id"]
        with av.open(str(folder / "clip.mp4")) as clip:
            times = [frame.time for frame in clip.decode(video=0)]
        # With what was before, and after; a busy machine begins and ends it with the next frame that it has time for.
        assert event["seconds"] + 0.8 < times[-1] < event["seconds"] + 1.3
        assert (folder / "thumbnail.jpg").read_bytes()[:2] == b"\xff\xd8"
        (table,) = (tmp_path / "out/tables" / event["camera"]).glob("*.csv")
        rows = pd.read_csv(table)
        assert {"wall", "stream_s", "score", "track"} <= set(rows)
        assert rows["is_anomalous"].sum() > 5
        assert rows["stream_s"].is_monotonic_increasing
    assert "cameras, " in told


def test_a_camera_that_goes_away_and_a_receiver_that_does_none_lost_and_none_twice(model, tmp_path):
    needs_rtsp()
    hook, port, video = Hook(), free_port(), street(tmp_path / "street.mp4", after=2.0)
    with rtsp(port, video):
        watching = Watching(
            f"door=rtsp://user:secret@127.0.0.1:{port}/live", "--model", model, "--output", tmp_path / "out",
            "--before", "0.5", "--after", "0.5", "--cool-off", "0", "--webhook", hook.address,
        )  # fmt: skip
        eventually(lambda: watching.status()["cameras"][0]["events"] >= 1, 120)  # and the webhook is away
    eventually(lambda: watching.status()["cameras"][0]["state"] == "away")
    with pytest.raises(urllib.error.HTTPError, match="503"):
        watching.get("/healthz")
    assert sum(watching.status()["waiting"].values()) >= 1
    hook.open()
    with rtsp(port, video):
        before = watching.status()["cameras"][0]["events"]
        eventually(lambda: watching.status()["cameras"][0]["events"] > before, 120)
        assert watching.status()["cameras"][0]["reconnects"] >= 1
        eventually(lambda: not sum(watching.status()["waiting"].values()))
        events, told = watching.end()
    hook.close()
    assert watching.process.returncode == 0, told
    assert [key for key, _ in hook.got] == [f"{event['id']}-{event['state']}" for event in events]
    assert len({key for key, _ in hook.got}) == len(hook.got) >= 4
    assert "trying again in 1 s" in told
    assert "connected again" in told
    assert "secret" not in told


def test_the_page_wants_its_token_and_machines_are_told_how_all_does(model, tmp_path):
    video = street(tmp_path / "street.mp4", after=60)
    watching = Watching(video, "--model", model, "--output", tmp_path / "out", "--after", "0.5")
    try:
        eventually(lambda: watching.status()["cameras"][0]["looked_at"] > 10, 120)
        for path in ("/", "/api/status", "/metrics", "/cameras/street/frame.jpg"):
            with pytest.raises(urllib.error.HTTPError, match="401"):
                watching.get(path, token="wrong")
        assert watching.get("/healthz", token="wrong") == "ok\n"
        assert re.search(r'^vad_frames_total\{camera="street"\} \d+$', watching.get("/metrics"), re.MULTILINE)
        for path in ("/page/../server.py", "/events/x/clip.mp4", "/cameras/x/frame.jpg", "/page/server.py"):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                watching.get(path)
        check_in_browser(watching, tmp_path)
    finally:
        _, told = watching.end(signal.SIGINT)
    assert watching.process.returncode == 130, told
    (row,) = [json.loads(line) for line in (tmp_path / "out/labels.jsonl").read_text().splitlines()]
    assert row["label"] == "normal"


def check_in_browser(watching: Watching, folder: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright")
    if CHROMIUM is None:
        pytest.skip("needs Debian's chromium")
    eventually(lambda: [e for e in json.loads(watching.get("/api/events")) if e["state"] == "end"], 120)
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        for name, width, height in (("desktop", 1280, 800), ("phone", 390, 844)):
            page = chromium.new_context(viewport={"width": width, "height": height}).new_page()
            said: list[str] = []
            page.on("console", lambda message, said=said: said.append(message.text))
            page.on("pageerror", lambda error, said=said: said.append(str(error)))
            page.goto(watching.page)
            assert "token" not in page.url
            page.wait_for_selector(".event .thumbnail")
            eventually(lambda page=page: page.evaluate("document.querySelector('.frame').naturalWidth") > 0)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            page.screenshot(path=folder / f"{name}.png", full_page=True)
            if name == "desktop":
                page.click(".play")
                eventually(lambda page=page: page.evaluate("document.querySelector('video').currentTime") > 0.2)
                page.click("[data-label=normal]")
                page.wait_for_selector("[data-label=normal][aria-pressed=true]")
            assert said == []
        chromium.close()


def test_what_cannot_be_watched_is_one_line(model, tmp_path):
    options = ["--model", model, "--output", tmp_path / "o", "--no-page"]

    def error(*arguments: object) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "vadlib", "watch", *map(str, [*arguments, *options])],
            capture_output=True, text=True, cwd=ROOT,
        )  # fmt: skip
        assert done.returncode == 1
        return done.stderr.splitlines()[-1]

    assert re.match("error: nothing.mp4: not found; expected one of rtsp", error("nothing.mp4"))
    assert re.match("error: --model night and --model .*: neither has a rule", error("0", "--model", "night"))
    (tmp_path / "text.mp4").write_text("no video")
    assert "cannot be opened as a video" in error(tmp_path / "text.mp4")
    began = time.monotonic()
    assert "lies in the input" in error(tmp_path)
    assert time.monotonic() - began < 60
