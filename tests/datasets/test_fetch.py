"""Downloads, from a server of this test's own, with the faults servers, wires and archives have."""

import errno
import hashlib
import http.server
import io
import random
import shutil
import tarfile
import threading
import zipfile
from collections import namedtuple

import pytest

from vadlib import fetch as fetching
from vadlib.errors import VadError
from vadlib.fetch import BENCHMARKS, Archive, Benchmark, fetch
from vadlib.io.ownership import LEDGER, begin, own

_random = random.Random(0)  # so that it does not pack well
UNPACKED = {f"T{part}/T{part}001/001.tif": _random.randbytes(20_000) for part in ("rain", "est")}
FILES = [(f"Mini v1/clips/{name}", content) for name, content in UNPACKED.items()] + [
    ("Mini v1/other/not wanted.txt", b"x"),
    ("Mini v1/clips/Test/._Test001", b"left by a Mac"),
]


def _tar(members=FILES, more=()) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info in more:
            archive.addfile(info)
    return data.getvalue()


def _zip(members=FILES) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return data.getvalue()


class _Server(http.server.ThreadingHTTPServer):
    """Serves `content` at every path; each request takes the next of `faults`, then there are none."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content = _tar()
        self.faults: list = []
        self.ranges = True
        self.asked: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/mini.tar.gz"


class _Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        server, content = self.server, self.server.content
        asked = self.headers.get("Range")
        server.asked.append(asked)
        fault = server.faults.pop(0) if server.faults else None
        if fault == "hang up":
            return
        if isinstance(fault, tuple):
            self.send_error(fault[0])
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and server.ranges else 0
        if start and start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:][:fault])  # a fault that is a number: cut after so many bytes


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    with _Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def offer(server, monkeypatch):
    """Let the server offer this archive as the benchmark `mini`."""

    def offer(content: bytes, checksum: str | None = None) -> None:
        server.content = content
        take = {"Mini v1/clips": ""}
        archive = Archive(server.url, checksum or hashlib.sha256(content).hexdigest(), take)
        monkeypatch.setitem(BENCHMARKS, "mini", Benchmark("http://mini.example/page", "Train/, Test/", (archive,)))

    offer(server.content)
    return offer


def _files(folder) -> dict[str, bytes]:
    files = (p for p in sorted(folder.rglob("*")) if p.is_file() and p.name != LEDGER)
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files}


def _left_by_a_kill(tmp_path, name):
    """Where a killed `fetch` of `mini` was making something."""
    own(tmp_path / ".mini.fetch")
    begin(tmp_path / ".mini.fetch" / name)
    return tmp_path / ".mini.fetch" / name


def _refused(tmp_path, message) -> None:
    """Fetching fails with this line; neither the folder nor a whole-looking archive is left, nor anything outside."""
    with pytest.raises(VadError, match=message) as caught:
        fetch("mini", tmp_path / "data/mini")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "data/mini").exists()
    left = [name for name in _files(tmp_path) if not name.endswith(".partial")]
    assert left == []


@pytest.mark.parametrize("pack", [_tar, _zip])
def test_a_benchmark_is_downloaded_checked_and_unpacked(offer, tmp_path, pack):
    offer(pack())
    fetch("mini", tmp_path / "data/mini")
    assert _files(tmp_path) == {f"data/mini/{name}": content for name, content in UNPACKED.items()}


def test_an_empty_folder_is_filled(offer, tmp_path):
    (tmp_path / "data/mini").mkdir(parents=True)
    fetch("mini", tmp_path / "data/mini")
    assert _files(tmp_path / "data/mini") == UNPACKED


def test_a_folder_with_something_in_it_is_left_alone(offer, server, tmp_path):
    (tmp_path / "mini").mkdir()
    (tmp_path / "mini/mine.txt").touch()
    with pytest.raises(VadError, match="mini: already there; remove it"):
        fetch("mini", tmp_path / "mini")
    assert _files(tmp_path) == {"mini/mine.txt": b""}
    assert server.asked == []


@pytest.mark.parametrize("name", [".mini.fetch/notes.txt", ".mini.fetch/unpacked/notes.txt", ".mini.fetch/mini.tar.gz"])
def test_somebody_elses_files_where_it_would_work_are_left_alone(offer, server, tmp_path, name):
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).write_text("mine")
    with pytest.raises(VadError, match=r"\.mini\.fetch: already there, and not what this tool made"):
        fetch("mini", tmp_path / "mini")
    assert _files(tmp_path) == {name: b"mine"}
    assert server.asked == []


def test_a_cut_connection_is_resumed_where_it_broke(offer, server, tmp_path):
    server.faults = [100, 50]
    fetch("mini", tmp_path / "mini")
    assert _files(tmp_path / "mini") == UNPACKED
    assert server.asked == [None, "bytes=100-", "bytes=150-"]


def test_a_connection_that_keeps_breaking_keeps_what_came_for_the_next_run(offer, server, tmp_path):
    server.faults = [10] * fetching.TRIES
    _refused(tmp_path, r"the connection broke after 50 B of .*, 5 times; what came is kept: run the same command again")
    fetch("mini", tmp_path / "data/mini")
    assert server.asked[-1] == "bytes=50-"
    assert _files(tmp_path / "data/mini") == UNPACKED


def test_a_server_that_hangs_up_is_asked_again(offer, server, tmp_path):
    server.faults = ["hang up"]
    fetch("mini", tmp_path / "mini")
    assert _files(tmp_path / "mini") == UNPACKED


def test_a_server_that_never_answers_is_given_up_and_nothing_is_said_to_be_kept(offer, server, tmp_path):
    server.faults = ["hang up"] * fetching.TRIES
    _refused(tmp_path, r"no answer \(.*\), 5 times; try later, or visit http://mini\.example/page")
    assert list((tmp_path / "data").iterdir()) == []


def test_a_server_without_ranges_sends_it_all_again(offer, server, tmp_path):
    server.ranges = False
    server.faults = [100]
    fetch("mini", tmp_path / "mini")
    assert _files(tmp_path / "mini") == UNPACKED


def test_a_download_that_was_whole_already_is_used(offer, server, tmp_path):
    _left_by_a_kill(tmp_path, "mini.tar.gz.partial").write_bytes(server.content)
    fetch("mini", tmp_path / "mini")
    assert server.asked == [f"bytes={len(server.content)}-"]
    assert _files(tmp_path / "mini") == UNPACKED


def test_more_than_the_server_has_is_thrown_away(offer, server, tmp_path):
    _left_by_a_kill(tmp_path, "mini.tar.gz.partial").write_bytes(server.content + b"more")
    fetch("mini", tmp_path / "mini")
    assert _files(tmp_path / "mini") == UNPACKED


@pytest.mark.parametrize("code", [403, 404, 410, 503])
def test_a_dead_link_names_the_page_and_the_layout(offer, server, tmp_path, code):
    server.faults = [(code,)]
    _refused(tmp_path, rf"mini\.tar\.gz: {code} .*visit http://mini\.example/page and put into .*mini: Train/, Test/")
    assert list((tmp_path / "data").iterdir()) == []


def test_a_server_that_is_gone_names_the_page(offer, tmp_path, monkeypatch):
    archive = Archive("http://127.0.0.1:9/mini.zip", "0", {"a": ""})  # port 9, discard: nothing answers
    monkeypatch.setitem(BENCHMARKS, "mini", Benchmark("http://mini.example/page", "Train/, Test/", (archive,)))
    _refused(tmp_path, r"cannot be reached .*; check the connection, or visit http://mini\.example/page")


def test_a_wrong_checksum_removes_what_came(offer, tmp_path):
    offer(_tar(), checksum="0" * 64)
    _refused(tmp_path, r"wrong checksum: SHA-256 [0-9a-f]{64}, expected 0{64}; what came was removed")
    assert _files(tmp_path) == {}


def test_too_little_space_is_told_before_the_download(offer, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")(1000, 900, 100)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    _refused(tmp_path, r"the disk has 100 B free; .*mini\.tar\.gz takes .*, and as much again unpacked")


def test_a_disk_that_fills_while_unpacking(offer, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(VadError, match="the disk is full; what was downloaded is kept"):
        fetch("mini", tmp_path / "mini")
    assert [*_files(tmp_path)] == [".mini.fetch/mini.tar.gz"]


EVIL = [
    "../evil",
    "../../evil",
    "Mini v1/clips/../../../../evil",
    "/tmp/vad-evil",
    "Mini v1/clips/..\\..\\evil",
    "Mini v1/clips/C:evil",
    "Mini v1/clips/a\nb",
]


@pytest.mark.parametrize("name", EVIL)
@pytest.mark.parametrize("pack", [_tar, _zip])
def test_a_member_that_would_leave_the_folder_is_refused(offer, tmp_path, pack, name):
    offer(pack([*FILES, (name, b"evil")]))
    _refused(tmp_path, r"refused: its member .*; the archive was removed")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_refused(offer, tmp_path, kind):
    info = tarfile.TarInfo("Mini v1/clips/Test/out")
    info.type, info.linkname = kind, "../../../.."
    offer(_tar(more=[info]))
    _refused(tmp_path, "refused: its member 'Mini v1/clips/Test/out' is a link or a device")


def test_a_link_in_a_zip_archive_is_refused(offer, tmp_path):
    info = zipfile.ZipInfo("Mini v1/clips/out")
    info.external_attr = 0o120777 << 16
    offer(_zip([*FILES, (info, b"../../..")]))
    _refused(tmp_path, "is a link or a device")


@pytest.mark.parametrize("pack", [_tar, _zip])
def test_an_archive_that_unpacks_to_far_more_than_it_takes_is_refused(offer, tmp_path, pack):
    offer(pack([("Mini v1/clips/zeros", b"\0" * 30_000_000)]))
    _refused(tmp_path, "refused: it unpacks to more than")


def test_two_members_for_one_place_are_refused(offer, tmp_path):
    offer(_tar([*FILES, ("Mini v1/clips/Test/Test001/001.tif", b"again")]))
    _refused(tmp_path, r"refused: two of its members want the place .*001\.tif")


def test_a_member_below_a_file_is_refused(offer, tmp_path):
    offer(_tar([*FILES, ("Mini v1/clips/Test/Test001/001.tif/x", b"")]))
    _refused(tmp_path, "refused: two of its members want the place")


@pytest.mark.parametrize("pack", [_tar, _zip])
def test_a_damaged_archive_is_removed(offer, tmp_path, pack):
    whole = pack()
    offer(whole[: len(whole) // 2])
    _refused(tmp_path, r"damaged archive \(.*\); it was removed")


def test_what_is_no_archive_is_removed(offer, tmp_path):
    offer(b"<html>Please log in</html>")
    _refused(tmp_path, "damaged archive")


def test_an_archive_without_the_folder_is_told(offer, tmp_path):
    offer(_tar([("Mini v2/clips/a", b"")]))
    with pytest.raises(VadError, match="holds no folder 'Mini v1/clips'"):
        fetch("mini", tmp_path / "mini")
    assert not (tmp_path / "mini").exists()


def test_what_a_killed_try_had_unpacked_is_not_taken_for_whole(offer, tmp_path):
    unpacked = _left_by_a_kill(tmp_path, "unpacked")
    (unpacked / "Test").mkdir(parents=True)
    (unpacked / "Test/half").touch()
    fetch("mini", tmp_path / "mini")
    assert _files(tmp_path) == {f"mini/{name}": content for name, content in UNPACKED.items()}


def test_shanghaitech_is_got_by_hand(tmp_path):
    with pytest.raises(VadError, match=r"visit https://svip-lab.*training/videos/01_001\.avi"):
        fetch("shanghaitech", tmp_path / "shanghaitech")


def test_an_unknown_benchmark(tmp_path):
    with pytest.raises(VadError, match=r"'ped3': not a benchmark.*: avenue, ped1, ped2, shanghaitech"):
        fetch("ped3", tmp_path / "ped3")
