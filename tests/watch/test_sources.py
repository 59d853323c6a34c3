"""Where live frames come from, and where they are cut."""

import os
import shutil
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from tests.layouts import write_video
from vadlib.errors import VadError
from vadlib.watch import sources
from vadlib.watch.sources import Captured, Cut, cut_at_leaps, frames_of, parse_source


def frame(at: float, size: tuple[int, int] = (8, 8)) -> Captured:
    return Captured(np.zeros((*size, 3), np.uint8), at, 1000 + at)


def shown(items) -> list:
    return ["cut" if isinstance(item, Cut) else item.stream_time for item in items]


@pytest.fixture
def video(tmp_path) -> Path:
    write_video(tmp_path / "a.mp4", np.zeros((13, 64, 64, 3), np.uint8))
    return tmp_path / "a.mp4"


@pytest.mark.parametrize(
    ("text", "name", "kind"),
    [
        ("rtsp://admin:secret@10.0.0.7:554/live?channel=1", "10.0.0.7", "rtsp"),
        ("door=rtsp://10.0.0.7/live", "door", "rtsp"),
        ("https://camera.local/video.mjpg", "camera.local", "http"),
        ("-", "pipe", "pipe"),
    ],
)
def test_a_source_is_known_by_how_it_is_named(text, name, kind):
    source = parse_source(text)
    assert (source.name, source.kind) == (name, kind)
    assert "secret" not in source.shown


def test_paths_are_files_folders_and_pipes(video, tmp_path):
    os.mkfifo(tmp_path / "p")
    kinds = [parse_source(str(path)).kind for path in (video, tmp_path, tmp_path / "p")]
    assert kinds == ["file", "folder", "pipe"]
    assert parse_source(str(video), ["a", "a-2"]).name == "a-3"


@pytest.mark.parametrize("text", ["ftp://host/x", "rtsp://", "nowhere.mp4", "file:///etc/passwd"])
def test_what_can_be_no_source_is_refused_in_one_line(text):
    with pytest.raises(VadError, match="expected"):
        parse_source(text)


def test_a_gap_a_leap_back_and_another_size_are_cuts_and_what_comes_again_is_left_out():
    times = [0, 0.04, 0.08, 0.08, 0.06, 0.12, 9, 9.04, 2, 2.04]
    assert shown(cut_at_leaps(map(frame, times))) == [0, 0.04, 0.08, 0.12, "cut", 9, 9.04, "cut", 2, 2.04]
    other = [frame(0), frame(0.04, (8, 16)), frame(0.08, (8, 16))]
    assert shown(cut_at_leaps(other)) == [0, "cut", 0.04, 0.08]
    assert shown(cut_at_leaps([frame(0), Cut("x"), frame(90)])) == [0, "cut", 90]


def test_a_slow_stream_is_not_cut_at_every_frame():
    found = shown(cut_at_leaps(frame(3.0 * n) for n in range(200)))
    assert found.count("cut") < 20
    assert "cut" not in found[-100:]


def test_a_file_comes_at_its_own_pace_and_now(video):
    began, wall = time.monotonic(), time.time()
    found = list(frames_of(parse_source(str(video)), threading.Event(), print))
    assert time.monotonic() - began >= 12 / 25
    np.testing.assert_allclose(shown(found), np.arange(13) / 25, atol=1e-6)
    assert wall <= found[0].wall < found[-1].wall <= time.time()


def test_a_lost_connection_is_made_again_after_growing_waits_and_cut(monkeypatch, video):
    tries, waits, told, stopping = [], [], [], threading.Event()

    def opened(source):
        tries.append(source)
        if len(tries) in (2, 3):
            raise av.error.ConnectionRefusedError(111, "Connection refused")
        return av.open(str(video))

    def wait(seconds):
        waits.append(seconds)
        return False

    monkeypatch.setattr(sources, "_open", opened)
    monkeypatch.setattr(stopping, "wait", wait)
    found = []
    for item in frames_of(parse_source("rtsp://user:secret@host/x"), stopping, told.append):
        found.append(item)
        if len(waits) == 4:
            break
    cuts = [index for index, item in enumerate(found) if isinstance(item, Cut)]
    assert cuts[:3] == [13, 14, 15]
    assert all(found[index].lost for index in cuts)
    assert waits == [1.0, 2.0, 4.0, 1.0]  # from the beginning, once it was there again
    assert told[0] == "10.0.0.7: connected".replace("10.0.0.7", "host")
    assert "Connection refused (rtsp://host/x); trying again in 2 s" in told[2]
    assert not any("secret" in line for line in told)


def test_recordings_that_come_into_a_folder_are_read_once_they_are_whole(tmp_path, video, monkeypatch):
    monkeypatch.setattr(sources, "SETTLED", 0.3)
    folder = tmp_path / "nvr"
    (folder / "day").mkdir(parents=True)
    shutil.copy(video, folder / "old.mp4")
    stopping, told = threading.Event(), []
    found = frames_of(parse_source(str(folder)), stopping, told.append)
    timer = threading.Timer(0.5, lambda: shutil.copyfile(video, folder / "day/new.mp4"))
    timer.start()
    (folder / "day/notes.txt").write_text("no video")
    taken = [next(found) for _ in range(14)]
    assert shown(taken[:13]) == pytest.approx(np.arange(13) / 25)
    assert taken[13] == Cut("new.mp4 ended")
    assert abs(taken[12].wall - (folder / "day/new.mp4").stat().st_mtime) < 0.5
    assert told == []


def test_a_pipe_without_a_video_is_one_line(tmp_path):
    os.mkfifo(tmp_path / "p")
    writer = threading.Thread(target=lambda: (tmp_path / "p").write_bytes(b"text " * 100))
    writer.start()
    with pytest.raises(VadError, match="no video comes through the pipe"):
        list(frames_of(parse_source(str(tmp_path / "p")), threading.Event(), print))
    writer.join()


def test_a_pipe_is_read_as_it_comes(tmp_path, video):
    os.mkfifo(tmp_path / "p")
    stream = tmp_path / "a.ts"
    with av.open(str(stream), "w") as file:
        out = file.add_stream("libx264", rate=25)
        out.width = out.height = 64
        out.pix_fmt = "yuv420p"
        for _ in range(10):
            file.mux(out.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")))
        file.mux(out.encode())
    writer = threading.Thread(target=lambda: (tmp_path / "p").write_bytes(stream.read_bytes()))
    writer.start()
    assert len(list(frames_of(parse_source(str(tmp_path / "p")), threading.Event(), print))) == 10
    writer.join()


@pytest.mark.parametrize("kind", ["mpeg-ts", "hls", "mjpeg"])
def test_streams_over_http_are_read_by_what_they_are(tmp_path, kind):
    """As cameras serve them: each frame with a time, and all of them."""
    pictures = [np.full((64, 64, 3), 10 * number, np.uint8) for number in range(20)]
    name = {"mpeg-ts": "a.ts", "hls": "a.m3u8", "mjpeg": "video.mjpg"}[kind]
    if kind != "mjpeg":
        with av.open(str(tmp_path / name), "w", format={"mpeg-ts": "mpegts", "hls": "hls"}[kind]) as file:
            stream = file.add_stream("libx264", rate=25, options={"bf": "0"})
            stream.width = stream.height = 64
            stream.pix_fmt = "yuv420p"
            for picture in pictures:
                file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            file.mux(stream.encode())

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if kind != "mjpeg":
                super().do_GET()
                return
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=picture")
            self.end_headers()
            for picture in pictures:
                data = cv2.imencode(".jpg", picture)[1].tobytes()
                head = f"--picture\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                self.wfile.write(head.encode() + data + b"\r\n")
            self.wfile.write(b"--picture--\r\n")

        def log_message(self, *arguments: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    stopping, found = threading.Event(), []
    source = parse_source(f"door=http://127.0.0.1:{server.server_port}/{name}")
    for item in frames_of(source, stopping, lambda line: None):
        if isinstance(item, Cut):
            break
        found.append(item)
    stopping.set()
    server.shutdown()
    server.server_close()
    levels = [round(float(item.image.mean()) / 10) for item in found]
    assert levels == list(range(20)) or (kind == "mjpeg" and levels == list(range(19)))  # the last has no end
    assert all(later.stream_time > earlier.stream_time for earlier, later in pairwise(found))
