"""Servers of the tests' own on loopback: RTSP, an MQTT broker, a webhook; and videos of which the truth is known."""

import contextlib
import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from tests.layouts import write_video

RTSP = """
import sys, gi
gi.require_version("Gst", "1.0"); gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer
Gst.init(None)
server = GstRtspServer.RTSPServer(service=sys.argv[1], address="127.0.0.1")
factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch("( filesrc location=%s ! qtdemux ! h264parse ! rtph264pay name=pay0 pt=96 )" % sys.argv[2])
server.get_mount_points().add_factory("/live", factory)
server.attach(None)
GLib.MainLoop().run()
"""


def street(path: Path, *, quiet: float = 1.0, moving: float = 2.0, after: float = 3.0) -> Path:
    """An H.264 video, 128x96, 25 frames/s, in which something moves for some seconds, and nothing before and after."""
    frames = np.full((round((quiet + moving + after) * 25), 96, 128, 3), 90, np.uint8)
    frames[:, 10:20, 10:20] = 200
    for number in range(round(quiet * 25), round((quiet + moving) * 25)):
        x = (number * 2) % 90
        frames[number, 40:70, x : x + 30] = (240, 60, 60)
    write_video(path, frames, codec="libx264")
    return path


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def eventually(what: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait until something is true."""
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, f"never true in {seconds} s"
        time.sleep(0.05)


def listening(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def running(command: list[str], port: int) -> Iterator[subprocess.Popen]:
    """A server, once it listens."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: listening(port))
        yield process
    finally:
        process.terminate()
        process.wait(10)


def needs_rtsp() -> None:
    """Skip where there is no RTSP server to be had."""
    probe = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
    if subprocess.run(["/usr/bin/python3", "-c", probe], capture_output=True).returncode:
        pytest.skip("needs Debian's gir1.2-gst-rtsp-server-1.0 and python3-gi")


def rtsp(port: int, video: Path) -> contextlib.AbstractContextManager[subprocess.Popen]:
    """A server at rtsp://127.0.0.1:port/live that plays a video from its beginning to each who asks."""
    return running(["/usr/bin/python3", "-c", RTSP, str(port), str(video)], port)


def mosquitto(port: int, folder: Path) -> contextlib.AbstractContextManager[subprocess.Popen]:
    """A broker that keeps what it has over a restart."""
    program = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    if program is None:
        pytest.skip("needs Debian's mosquitto")
    folder.mkdir(exist_ok=True)
    folder.chmod(0o777)
    config = folder / "mosquitto.conf"
    config.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location {folder}/\n"
        "max_queued_messages 0\nuser root\n"
    )
    return running([program, "-c", str(config)], port)


class Hook:
    """A webhook that keeps what it is sent, and answers with what it is told to."""

    def __init__(self) -> None:
        self.got: list[tuple[str, dict]] = []
        self.answer = 200
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if hook.answer == 200:
                    hook.got.append((self.headers["Idempotency-Key"], body))
                self.send_response(hook.answer)
                if hook.answer == 302:
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments: object) -> None: ...

        self._handler = Handler
        self.port = free_port()
        self._server: ThreadingHTTPServer | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def open(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), self._handler)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
