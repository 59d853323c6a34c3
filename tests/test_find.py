"""What of a user's folders is footage: content decides, nothing is passed over in silence, every clip has a name."""

import io
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import videos
from vadlib.errors import FootageError, VadError
from vadlib.footage.find import LeftOut, find_footage, is_single, listed_paths
from vadlib.io.ownership import own


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    return videos.write(tmp_path_factory.mktemp("video") / "v.mp4", "mpeg4", frames=list(videos.pictures(5)))


@pytest.fixture
def put(tmp_path, video):
    """Puts files below `footage`: a video unless the name says that it is an image, or nothing of the kind."""

    def at(*names: str) -> Path:
        for name in names:
            path = tmp_path / "footage" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if name.endswith("/"):
                path.mkdir(exist_ok=True)
            elif name.endswith((".jpg", ".png")):
                Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save(path)
            elif name.endswith((".txt", ".csv", ".db", ".ini")):
                path.write_text("no footage")
            else:
                shutil.copyfile(video, path)
        return tmp_path / "footage"

    return at


def named(*paths: Path, left_out: LeftOut | None = None) -> list[str]:
    return [footage.name for footage in find_footage(paths, left_out or LeftOut(quiet=True))]


# Content


@pytest.mark.parametrize("kind", videos.KINDS)
def test_every_kind_of_video_is_found_beside_mp4(tmp_path, put, kind):
    folder = put("b.mp4")
    videos.make(folder, kind)
    left_out = LeftOut(quiet=True)
    assert len(named(folder, left_out=left_out)) == 2
    assert left_out == LeftOut(quiet=True)


@pytest.mark.parametrize("name", ["a", "a.dat", "a.bin", "a.txt.old", "a.jpg", "a.MP4", "recording.2026"])
def test_a_video_is_found_whatever_it_is_called(put, video, name):
    folder = put("b.mp4")
    shutil.copyfile(video, folder / name)
    assert len(named(folder)) == 2


@pytest.mark.parametrize("name", ["a.jpe", "a.JPEG", "a.jfif", "a", "a.snapshot"])
def test_an_image_is_found_whatever_it_is_called(put, name):
    folder = put("s/1.jpg")
    shutil.copyfile(folder / "s/1.jpg", folder / "s" / name)
    (footage,) = find_footage([folder])
    assert (footage.name, footage.claimed) == ("s", 2)


def test_a_webp_picture_is_an_image_and_no_video(put):
    folder = put("s/1.jpg")
    Image.new("RGB", (20, 20)).save(folder / "s/2.webp")
    (footage,) = find_footage([folder])
    assert footage.claimed == 2


def test_images_beside_videos_are_named_and_left_out(put):
    folder, left_out = put("1.mp4", "2.mp4", "snap1.jpg", "snap2.jpg", "cam/1.jpg", "cam/2.jpg"), LeftOut(quiet=True)
    assert named(folder, left_out=left_out) == ["1", "2", "cam"]
    assert left_out.counts() == {"clips left out": 1}
    assert "footage: 2 images beside videos (snap1.jpg, …); put them into a folder of their own" in left_out.lines[0]


def test_what_is_meant_for_footage_and_is_none_is_named_and_what_is_not_is_counted(put):
    folder = put("1.mp4", "notes.txt", "a.csv", "deep/b.txt")
    (folder / "text.mp4").write_text("hello")
    (folder / "empty.mkv").touch()
    videos.cut(videos.make(folder, "mov"))
    (folder / "sub").mkdir()
    videos.cut(videos.make(folder / "sub", "mp4")).rename(folder / "sub/recording")
    left_out = LeftOut(quiet=True)
    assert named(folder, left_out=left_out) == ["1"]
    assert (left_out.clips, left_out.others, left_out.examples) == (4, 3, ["a.csv", "b.txt", "notes.txt"])
    said = "\n".join(left_out.lines)
    for name, reason in (("a.mov", "its index"), ("empty.mkv", "it is empty"), ("sub/recording", "its index")):
        assert f"{name}: cannot be opened as a video ({reason}" in said
    assert "text.mp4: cannot be opened as a video" in said


@pytest.mark.parametrize(
    "name",
    [
        "lost+found/", "@eaDir/1.jpg", "@eaDir/v.mp4", ".hidden.mp4", ".trash/v.mp4", "._1.mp4", "Thumbs.db",
        "desktop.ini", "$RECYCLE.BIN/v.mp4", "#recycle/v.mp4", "System Volume Information/v.mp4", "__MACOSX/v.mp4",
        "empty/",
    ],
)  # fmt: skip
def test_what_systems_leave_in_folders_is_passed_over(put, name):
    left_out = LeftOut(quiet=True)
    assert named(put("1.mp4", name), left_out=left_out) == ["1"]
    assert left_out == LeftOut(quiet=True)


def test_our_own_results_are_passed_over(put):
    folder = put("1.mp4", "found/1/annotated.mp4", "found/2/deep/annotated.mp4")
    assert len(named(folder)) == 3
    shutil.rmtree(folder / "found")
    own(folder / "found")
    put("found/1/annotated.mp4", "found/2/deep/annotated.mp4")
    assert named(folder) == ["1"]


def test_a_folder_without_footage_and_one_that_is_not_there_are_left_out(put, tmp_path):
    left_out = LeftOut(quiet=True)
    paths = [put("notes/a.txt") / "notes", tmp_path / "gone.mp4", put("none/") / "none", put("1.mp4") / "1.mp4"]
    assert named(*paths, left_out=left_out) == ["1"]
    assert left_out.clips == 3
    assert "notes: no footage in the folder; expected images or videos" in left_out.lines[0]
    assert "gone.mp4: not found; expected a video" in left_out.lines[1]
    with pytest.raises(FootageError, match="notes: no footage in the folder"):
        list(find_footage(paths))


def test_a_folder_that_may_not_be_read_is_named(put, monkeypatch):
    folder, left_out = put("1.mp4", "secret/2.mp4"), LeftOut(quiet=True)
    listed = Path.iterdir

    def iterdir(path):
        if path.name == "secret":
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    assert named(folder, left_out=left_out) == ["1"]
    assert "secret: may not be read or written; give yourself the right to" in left_out.lines[0]


def test_links_are_followed_but_not_in_circles(put, tmp_path):
    folder = put("cam/1.mp4")
    (folder / "other").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").mkdir()
    shutil.copyfile(folder / "cam/1.mp4", tmp_path / "elsewhere/2.mp4")
    (folder / "cam/up").symlink_to(folder)
    (folder / "nothing").symlink_to(tmp_path / "gone")
    assert named(folder) == ["cam/1", "other/2"]


def test_looking_through_footage_leaves_no_file_open(put, video):
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("needs Linux, to count what is open")
    folder = put("1.mp4", "notes.txt", "s/1.jpg")
    for number in range(30):
        (folder / f"{number}.mp4").write_bytes(b"\0\0\0\x18ftypisom" + bytes(3000))
        (folder / f"{number}.dat").write_bytes(np.random.default_rng(number).bytes(5000))
        shutil.copyfile(video, folder / f"{number}.bin")
    before = len(list(Path("/proc/self/fd").iterdir()))
    assert len(named(folder)) == 31
    assert len(list(Path("/proc/self/fd").iterdir())) == before


# Names and order


def test_folders_of_any_depth_are_looked_through_in_natural_order(put):
    folder = put(
        *(f"2026-01-{day}/{hour}/{clip}.mp4" for day in ("2", "10") for hour in ("8", "10") for clip in (1, 11, 2))
    )
    assert named(folder) == [
        f"2026-01-{day}/{hour}/{clip}" for day in ("2", "10") for hour in ("8", "10") for clip in (1, 2, 11)
    ]


@pytest.mark.parametrize(
    ("files", "paths", "names"),
    [
        (["cam1/00.mp4", "cam2/00.mp4"], ["cam1/00.mp4", "cam2/00.mp4"], ["cam1/00", "cam2/00"]),
        (["cam1/00.mp4", "cam2/00.mp4"], ["cam1", "cam2"], ["cam1/00", "cam2/00"]),
        (["cam1/00.mp4", "cam2/00.mp4"], ["."], ["cam1/00", "cam2/00"]),
        (["cam1/00.mp4", "cam1/01.mp4"], ["cam1/00.mp4", "cam1/01.mp4"], ["00", "01"]),
        (["a/b/00.mp4", "a/c/d/00.mp4"], ["a/b/00.mp4", "a/c/d/00.mp4"], ["b/00", "c/d/00"]),
        (["00.mp4", "00.avi", "00.mkv"], ["."], ["00.avi", "00.mkv", "00.mp4"]),
        (["00.mp4", "00/1.mp4"], ["."], ["00/1", "00.mp4"]),
        (["s/1.jpg", "s/deep/1.jpg"], ["."], ["s/images", "s/deep"]),
        (["1.jpg", "2.jpg"], ["."], ["footage"]),
        (["1.jpg", "s/1.mp4"], ["."], ["footage", "s/1"]),
        (["A.mp4", "a/1.jpg"], ["A.mp4", "a"], ["A.mp4", "a/images"]),
        (["e\u0301.mp4", "\u00e9.mkv"], ["."], ["e\u0301.mp4", "\u00e9.mkv"]),
        (["1.mp4"], ["1.mp4", "1.mp4", "./1.mp4", "."], ["1"]),
        (["s/1.jpg", "s/2.jpg", "v.mp4"], ["s/1.jpg", "v.mp4", "s/2.jpg"], ["s/images", "v", "s/images-2"]),
        (["s/1.jpg", "s/2.jpg"], ["s/2.jpg", "s/1.jpg"], ["s"]),
    ],
)  # fmt: skip
def test_every_clip_has_a_name_of_its_own_that_nests_as_the_footage_does(put, monkeypatch, files, paths, names):
    monkeypatch.chdir(put(*files))
    assert named(*map(Path, paths)) == names


def test_names_are_known_before_the_first_clip_is_taken(put, monkeypatch):
    monkeypatch.chdir(put("cam1/00.mp4", "cam2/00.mp4"))
    assert next(find_footage([Path("cam1/00.mp4"), Path("cam2/00.mp4")])).name == "cam1/00"


def test_names_of_a_stream_are_given_as_they_come(put, monkeypatch):
    monkeypatch.chdir(put("cam1/00.mp4", "cam2/00.mp4", "cam3/00.mkv", "x/cam2/00.mp4"))
    paths = (Path(p) for p in ("cam1/00.mp4", "cam2/00.mp4", "cam3/00.mkv", "x/cam2/00.mp4", "cam1/00.mp4"))
    found = [footage.name for footage in find_footage(paths)]
    assert found[:2] == ["00", "00.mp4"]
    assert len({name.casefold() for name in found}) == 5


ODD = [
    b'a"b.mp4',
    b"a\nb.mp4",
    b"\xff\xfe.mp4",
    b" a.mp4",
    b"a\x1b[31m.mp4",
    b"a:b?.mp4",
    b"CON.mp4",
    b"x" * 240 + b".mp4",
]


@pytest.mark.parametrize("name", ODD)
def test_an_odd_name_is_taken_under_a_safe_one(put, video, name):
    folder = put("b.mp4")
    odd = Path(os.fsdecode(os.path.join(os.fsencode(folder), name)))  # noqa: PTH118
    shutil.copyfile(video, odd)
    found = {footage.name: footage.source for footage in find_footage([folder])}
    assert len(found) == 2
    safe = next(name for name, source in found.items() if source == odd)
    assert safe.isprintable()
    assert safe.isascii()
    assert named(odd) == [safe]  # always the same


def test_odd_folders_are_safe_too_and_nothing_leaves_the_output(put):
    folder = put('a"b/c\nd/1.mp4', "..x/1.mp4")
    for name in named(folder):
        parts = Path(name).parts
        assert ".." not in parts
        assert all(part.isprintable() for part in parts)


def test_a_single_clip_needs_no_folder_of_its_own(put, monkeypatch):
    monkeypatch.chdir(put("v.mp4", "s/1.jpg", "t/1.jpg", "t/u/1.mp4", "w/1.mp4"))

    def single(*paths: str) -> bool:
        return is_single([Path(p) for p in paths], list(find_footage([Path(p) for p in paths])))

    assert single("v.mp4")
    assert single("s")
    assert single("./s/")
    assert not single("t")
    assert not single("w")
    assert not single("v.mp4", "s")


# Paths on standard input


def test_paths_of_a_stream_keep_every_byte(put, video, tmp_path):
    odd = os.fsencode(put("b.mp4")) + b"/\xff x .mp4"
    shutil.copyfile(video, os.fsdecode(odd))
    stream = io.TextIOWrapper(io.BytesIO(odd + b"\n\n  \r\n" + odd + b"  \r\n"), encoding="utf-8")
    found = list(listed_paths([Path("-")], stream))
    assert found == [Path(os.fsdecode(odd))] * 2


def test_a_command_line_without_a_stream_is_a_sequence():
    assert listed_paths([Path("a"), Path("b")]) == [Path("a"), Path("b")]


# What was left out, told later


def test_what_a_killed_run_left_out_is_told_again(capsys):
    from vadlib.errors import Losses

    quiet, losses = LeftOut(quiet=True), Losses()
    losses.lose("damage", "clip a: frame 3 is damaged", "replace it", 2, 0.08)
    quiet.clip("b.mp4: broken")
    quiet.of_clip(losses)
    quiet.other(Path("notes.txt"))
    assert capsys.readouterr().err == ""
    loud = LeftOut()
    loud.again(quiet)
    assert capsys.readouterr().err.splitlines() == [
        "left out: b.mp4: broken",
        "2 frames (0.08 s) left out: clip a: frame 3 is damaged",
        "note: 1 file is no footage: notes.txt",
    ]
    assert loud.counts() == quiet.counts()
    with pytest.raises(VadError, match=r"^b.mp4: broken$"):
        LeftOut(strict=True).again(quiet)


def test_a_pipe_among_footage_is_told_and_not_waited_for(put):
    folder, left_out = put("1.mp4"), LeftOut(quiet=True)
    os.mkfifo(folder / "2.mp4")
    (folder / "3.mkv").symlink_to("/dev/zero")
    os.mkfifo(folder / "notes")
    assert named(folder, left_out=left_out) == ["1"]
    assert [line.rsplit(": ", 1)[1] for line in left_out.lines] == ["is a pipe or a device; remove it"] * 2
    assert left_out.examples == ["notes"]
