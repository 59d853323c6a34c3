"""Clips: what is read from image folders and video files, and what is refused."""

import json
import struct
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tests import videos
from tests.layouts import draw, write_images, write_video
from vadlib.clips import claimed_length, probe_clip, probe_footage, read_footage, read_frames
from vadlib.errors import FootageError, Losses, VadError
from vadlib.manifest import Clip, Manifest, load_manifest, save_manifest

FRAMES = draw().frames["testing/01"]  # (12, 32, 48, 3)


@pytest.fixture
def images(tmp_path):
    """A folder of twelve PNG frames, 001.png to 012.png."""
    write_images(tmp_path / "data/clip", FRAMES, "{:03d}.png")
    return tmp_path / "data/clip"


def _probe(path, root):
    return probe_clip(path, "clip", "testing", root)


def _read(path, root):
    """Index and read: damage that the index cannot see must be seen by the reading."""
    return np.stack(list(read_frames(_probe(path, root), root)))


# Image folders


def test_an_image_folder_is_one_clip(images, tmp_path):
    assert _probe(images, tmp_path) == Clip("clip", "testing", "data/clip", frames=12, width=48, height=32)
    np.testing.assert_array_equal(_read(images, tmp_path), FRAMES)


@pytest.mark.parametrize("pattern", ["{:03d}.tif", "{:d}.bmp", "img_{:04d}.PNG", "2024-05-01_{:d}.png"])
def test_lossless_frames_keep_every_pixel(tmp_path, pattern):
    write_images(tmp_path / "clip", FRAMES, pattern)
    np.testing.assert_array_equal(_read(tmp_path / "clip", tmp_path), FRAMES)


def test_frames_are_rgb_uint8_and_contiguous(images, tmp_path):
    frame = next(read_frames(_probe(images, tmp_path), tmp_path))
    assert (frame.dtype, frame.shape, frame.flags["C_CONTIGUOUS"]) == (np.uint8, (32, 48, 3), True)


def test_grey_frames_get_three_equal_channels(tmp_path):
    grey = FRAMES[..., :1].repeat(3, axis=3)
    write_images(tmp_path / "clip", grey, "{:03d}.tif")
    with Image.open(tmp_path / "clip/001.tif") as image:
        assert image.mode == "L"
    np.testing.assert_array_equal(_read(tmp_path / "clip", tmp_path), grey)


def test_a_palette_and_transparency_become_rgb(images, tmp_path):
    Image.fromarray(FRAMES[0]).convert("RGBA").save(images / "001.png")
    Image.new("P", (48, 32), 1).save(images / "002.png")
    frames = _read(images, tmp_path)
    np.testing.assert_array_equal(frames[0], FRAMES[0])
    assert frames.shape == FRAMES.shape


def test_frames_are_ordered_by_number_and_not_as_text(tmp_path):
    write_images(tmp_path / "clip", FRAMES, "{:d}.png")  # 1, 10, 11, 12, 2 … as text
    np.testing.assert_array_equal(_read(tmp_path / "clip", tmp_path), FRAMES)


def test_hidden_and_other_files_are_no_frames(images, tmp_path):
    for name in ("._001.png", ".DS_Store", "Thumbs.db", "notes 2.txt"):
        (images / name).write_bytes(b"\0")
    assert _probe(images, tmp_path).frames == 12


def test_a_clip_of_one_frame_is_a_clip(tmp_path):
    write_images(tmp_path / "clip", FRAMES[:1], "{:03d}.png")
    assert _read(tmp_path / "clip", tmp_path).shape == (1, 32, 48, 3)


def test_an_empty_folder(tmp_path):
    (tmp_path / "clip").mkdir()
    with pytest.raises(VadError, match=r"clip testing/clip \(.*clip\): no images in the folder"):
        _probe(tmp_path / "clip", tmp_path)


@pytest.mark.parametrize(("removed", "gap"), [([5], "5"), ([5, 6, 7], "5 to 7")])
def test_a_gap_in_the_frame_numbers(images, tmp_path, removed, gap):
    for number in removed:
        (images / f"{number:03d}.png").unlink()
    with pytest.raises(VadError, match=rf"missing frame {gap}: .* goes from 004\.png to 00[68]\.png"):
        _probe(images, tmp_path)


def test_two_files_with_one_number(images, tmp_path):
    Image.fromarray(FRAMES[0]).save(images / "5.png")
    with pytest.raises(VadError, match=r"two files are frame 5: .*005\.png and .*5\.png"):
        _probe(images, tmp_path)


def test_a_name_without_a_number(images, tmp_path):
    (images / "012.png").rename(images / "last.png")
    with pytest.raises(VadError, match=r"last\.png has no frame number"):
        _probe(images, tmp_path)


def test_frames_of_two_sizes(images, tmp_path):
    Image.fromarray(FRAMES[0, :16]).save(images / "004.png")
    message = r"clip testing/clip: frame 3 \(.*004\.png\) is 48x16 px, the clip's first is 48x32"
    with pytest.raises(VadError, match=message):
        _probe(images, tmp_path)


def test_frames_of_two_sizes_since_the_index(images, tmp_path):
    clip = _probe(images, tmp_path)
    Image.fromarray(FRAMES[0, :16]).save(images / "004.png")
    with pytest.raises(VadError, match=r"frame 3 \(.*004\.png\) is 48x16 px"):
        list(read_frames(clip, tmp_path))


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "tif"])
@pytest.mark.parametrize("kept", [0.0, 0.2, 0.5, 0.9])
def test_a_truncated_frame_is_an_error_and_never_half_a_frame(tmp_path, suffix, kept):
    write_images(tmp_path / "clip", FRAMES, f"{{:03d}}.{suffix}")
    file = tmp_path / f"clip/004.{suffix}"
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * kept)])
    with pytest.raises(VadError, match=rf"004\.{suffix}\)? cannot be read"):
        _read(tmp_path / "clip", tmp_path)


def test_a_truncated_frame_names_clip_frame_and_file(tmp_path):
    write_images(tmp_path / "clip", FRAMES, "{:03d}.jpg")
    clip = _probe(tmp_path / "clip", tmp_path)
    file = tmp_path / "clip/004.jpg"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(VadError, match=r"^clip testing/clip: frame 3 \(.*004\.jpg\) cannot be read: .*truncated"):
        list(read_frames(clip, tmp_path))


def test_a_file_that_is_no_image(images, tmp_path):
    (images / "004.png").write_text("<html>404</html>")
    with pytest.raises(VadError, match=r"004\.png\) cannot be read: not a JPEG, PNG, BMP or TIFF image"):
        _probe(images, tmp_path)


def test_sixteen_bit_frames_are_refused(tmp_path):
    (tmp_path / "clip").mkdir()
    Image.fromarray(np.full((32, 48), 1000, np.uint16)).save(tmp_path / "clip/001.tif")
    with pytest.raises(VadError, match=r"001\.tif\) has I;16 samples .*expected 8 bits"):
        _probe(tmp_path / "clip", tmp_path)


def test_a_frame_more_or_less_than_indexed(images, tmp_path):
    clip = _probe(images, tmp_path)
    with pytest.raises(VadError, match=r"12 frames where 13 were indexed; .*run prepare again"):
        list(read_frames(replace(clip, frames=13), tmp_path))
    with pytest.raises(VadError, match=r"more than the 11 frames indexed; .*run prepare again"):
        list(read_frames(replace(clip, frames=11), tmp_path))


def test_a_clip_that_is_gone(images, tmp_path):
    clip = _probe(images, tmp_path)
    images.rename(tmp_path / "elsewhere")
    with pytest.raises(VadError, match=r"clip testing/clip \(.*data/clip\): not found"):
        list(read_frames(clip, tmp_path))


# Video files


@pytest.mark.parametrize("suffix", ["mp4", "avi", "mkv", "mov", "mpg"])
def test_a_video_file_is_one_clip(tmp_path, suffix):
    codec = "mpeg2video" if suffix == "mpg" else "mpeg4"
    write_video(tmp_path / f"clip.{suffix}", FRAMES, codec=codec)
    clip = _probe(tmp_path / f"clip.{suffix}", tmp_path)
    assert (clip.frames, clip.width, clip.height, clip.fps) == (12, 48, 32, 25.0)
    frames = _read(tmp_path / f"clip.{suffix}", tmp_path)
    assert np.abs(frames.astype(int) - FRAMES).mean() < 5


def test_bidirectional_frames_come_in_the_order_they_are_shown(tmp_path):
    write_video(tmp_path / "clip.mp4", FRAMES, codec="libx264")
    frames = _read(tmp_path / "clip.mp4", tmp_path).astype(int)
    nearest = [int(np.abs(FRAMES.astype(int) - frame).mean(axis=(1, 2, 3)).argmin()) for frame in frames]
    assert nearest == list(range(12))


def test_a_rotation_mark_is_applied(tmp_path):
    write_video(tmp_path / "clip.mp4", FRAMES)
    upright = _read(tmp_path / "clip.mp4", tmp_path)
    data = bytearray((tmp_path / "clip.mp4").read_bytes())
    matrix = data.index(b"tkhd") + 44  # of the track header: ISO/IEC 14496-12, 8.3.2
    data[matrix : matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 32 << 16, 0, 1 << 30)
    (tmp_path / "clip.mp4").write_bytes(data)
    clip = _probe(tmp_path / "clip.mp4", tmp_path)
    assert (clip.width, clip.height) == (32, 48)
    turned = _read(tmp_path / "clip.mp4", tmp_path)
    np.testing.assert_array_equal(turned, np.rot90(upright, -1, axes=(1, 2)))  # a quarter turn clockwise


@pytest.mark.parametrize("suffix", ["mp4", "avi", "mpg", "mkv"])
@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5])
def test_a_cut_video_is_an_error_and_no_shorter_clip(tmp_path, suffix, kept):
    codec = "mpeg2video" if suffix == "mpg" else "mpeg4"
    noise = np.random.default_rng(0).integers(0, 256, (100, 32, 48, 3), dtype=np.uint8)
    write_video(tmp_path / f"clip.{suffix}", noise, codec=codec)
    file = tmp_path / f"clip.{suffix}"
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * kept)])
    with pytest.raises(VadError, match=rf"clip testing/clip.*clip\.{suffix}\)"):
        _probe(file, tmp_path)


def test_a_file_that_is_no_video(tmp_path):
    (tmp_path / "clip.mp4").write_text("<html>404</html>")
    with pytest.raises(VadError, match=r"clip testing/clip \(.*clip\.mp4\): cannot be opened as a video"):
        _probe(tmp_path / "clip.mp4", tmp_path)


def test_a_playlist_is_not_followed(tmp_path):
    """FFmpeg would open whatever a playlist names, on the network too."""
    write_video(tmp_path / "other.mp4", FRAMES)
    (tmp_path / "clip.mp4").write_text("ffconcat version 1.0\nfile other.mp4\n")
    with pytest.raises(VadError, match="cannot be opened as a video"):
        _probe(tmp_path / "clip.mp4", tmp_path)


def test_a_video_changed_since_the_index(tmp_path):
    write_video(tmp_path / "clip.mp4", FRAMES)
    clip = _probe(tmp_path / "clip.mp4", tmp_path)
    write_video(tmp_path / "clip.mp4", FRAMES[:10])
    with pytest.raises(VadError, match=r"10 frames where 12 were indexed; .*run prepare again"):
        list(read_frames(clip, tmp_path))


# Names and paths


@pytest.mark.parametrize(
    "name", ["", ".hidden", " a", "a ", "a/b", "a\\b", "a:b", "a\nb", "a\x1bb", "\udcff", "x" * 201]
)
def test_a_name_that_cannot_name_files_is_refused_in_one_line(images, tmp_path, name):
    with pytest.raises(VadError, match="cannot name a clip") as caught:
        probe_clip(images, name, "testing", tmp_path)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", ["01_0014", "gate 3 (north)", "Straße", "駅前", "a.b"])
def test_names_of_any_script_are_taken(images, tmp_path, name):
    assert probe_clip(images, name, "testing", tmp_path).key == f"testing/{name}"


def test_a_path_outside_the_project_is_refused(images, tmp_path):
    with pytest.raises(VadError, match=r"must lie below .*project"):
        _probe(images, tmp_path / "project")


def test_footage_of_no_project_keeps_its_absolute_path(images, tmp_path):
    clip = _probe(images, None)
    assert clip.path == images.as_posix()
    np.testing.assert_array_equal(np.stack(list(read_frames(clip))), FRAMES)


@pytest.mark.parametrize("kind", ["images", "files", "video"])
def test_footage_that_was_not_indexed_has_the_same_frames_and_their_times(images, tmp_path, kind):
    write_video(tmp_path / "clip.avi", FRAMES, fps=10)
    source = {"images": images, "files": iter(sorted(images.iterdir())), "video": tmp_path / "clip.avi"}[kind]
    times, frames = zip(*read_footage(source, "clip", fps=10), strict=True)
    np.testing.assert_allclose(times, np.arange(12) / 10, atol=1e-6)
    expected = list(read_frames(_probe(tmp_path / "clip.avi" if kind == "video" else images, tmp_path), tmp_path))
    np.testing.assert_array_equal(np.stack(frames), np.stack(expected))


def test_footage_that_was_not_indexed_is_checked_as_it_is_read(images, tmp_path):
    Image.new("RGB", (10, 10)).save(images / "007.png")
    found = read_footage(images, "clip", fps=25)
    assert len([next(found) for _ in range(6)]) == 6
    with pytest.raises(VadError, match=r"clip clip: frame 6 .*007.png\) is 10x10 px, the clip's first is 48x32"):
        next(found)
    with pytest.raises(VadError, match=r"clip clip: no frames"):
        next(read_footage(iter(()), "clip", fps=25))


def test_the_claimed_length_is_read_off_without_decoding(images, tmp_path):
    write_video(tmp_path / "clip.mp4", FRAMES)
    assert claimed_length(tmp_path / "clip.mp4", "clip") == claimed_length(images, "clip") == 12


# A user's own footage: what cannot be read is left out


def indexed(path, losses=None):
    """Index a user's footage, and read it again: the frames are as many as the index says."""
    losses = Losses() if losses is None else losses
    clip = probe_footage(path, "own", "training", losses)
    frames = list(read_frames(clip))
    assert len(frames) == clip.frames
    return frames, losses


def scored(path, fps=25):
    """Times and frames of footage as scoring reads it, and what was lost."""
    losses = Losses()
    times, frames = zip(*read_footage(path, "own", fps, losses), strict=True)
    assert np.diff(times).min(initial=1) > 0
    return times, frames, losses


@pytest.mark.parametrize("spoil", ["html", "truncated", "empty", "16 bits", "another size", "a folder"])
def test_an_image_that_cannot_be_read_costs_one_frame(images, spoil):
    file = images / "005.png"
    if spoil == "html":
        file.write_text("<html>404</html>")
    elif spoil == "truncated":
        file.write_bytes(file.read_bytes()[:-200])
    elif spoil == "empty":
        file.write_bytes(b"")
    elif spoil == "16 bits":
        Image.fromarray(np.full((32, 48), 1000, np.uint16)).save(file)
    elif spoil == "another size":
        Image.new("RGB", (60, 40)).save(file)
    else:
        file.unlink()
        file.mkdir()
    kept = [n for n in range(12) if n != 4]
    frames, losses = indexed(images)
    np.testing.assert_array_equal(np.stack(frames), FRAMES[kept])
    assert (losses.frames, losses.seconds) == (1, pytest.approx(1 / 25))
    times, frames, losses = scored(images)
    np.testing.assert_allclose(times, np.array(kept) / 25)
    np.testing.assert_array_equal(np.stack(frames), FRAMES[kept])
    (line,) = losses.lines
    assert line.startswith("1 frame (0.04 s) left out: clip own: frame 4 (")
    assert "005.png" in line
    with pytest.raises(FootageError, match=r"005\.png"):
        list(read_footage(images, "own", 25))


@pytest.mark.parametrize("kind", ["mp4", "avi", "mkv", "wmv"])
def test_a_damaged_video_is_indexed_and_read_again_with_as_many_frames(tmp_path, kind):
    path = videos.damaged(videos.make(tmp_path, kind), 40)
    frames, losses = indexed(path)
    assert losses.frames == 100 - len(frames) > 0
    assert len(scored(path)[1]) == len(frames)
    with pytest.raises(VadError, match=r"clip testing/clip: frame"):
        _probe(path, tmp_path)


def test_a_cut_video_is_indexed_with_what_is_there(tmp_path):
    path = videos.cut(videos.make(tmp_path, "avi"))
    frames, losses = indexed(path)
    assert 40 < len(frames) < 60
    assert losses.frames == 100 - len(frames)


def test_frames_of_another_size_are_left_out_of_a_video(tmp_path):
    """As where a camera changes its resolution: two recordings in one stream."""
    first = videos.write(tmp_path / "a.ts", frames=list(videos.pictures(30)))
    other = videos.write(tmp_path / "b.ts", frames=list(videos.pictures(20, 160, 128)))
    first.write_bytes(first.read_bytes() + other.read_bytes())
    frames, losses = indexed(first)
    assert {frame.shape for frame in frames} == {(96, 128, 3)}
    assert len(frames) + losses.frames == 50
    assert "160x128 px, the clip's first is 128x96" in "".join(losses.lines)


def test_nothing_that_can_be_read_is_an_error_with_its_reason(images, tmp_path):
    for file in images.iterdir():
        file.write_bytes(b"no image")
    with pytest.raises(
        FootageError, match=r"clip training/own \(.*clip\): no frames; 12 frames .*001\.png\) cannot be read"
    ):
        probe_footage(images, "own", "training", Losses())
    with pytest.raises(FootageError, match=r"frames of 8x8 px; expected 12x12 at least"):
        probe_footage(
            videos.write(tmp_path / "a.avi", "mpeg4", frames=[FRAMES[0][:8, :8]] * 3), "own", "training", Losses()
        )


@pytest.mark.parametrize(
    ("names", "times"),
    [
        (["12-28-11", "12-28-13", "12-28-12"], [0, 1, 2]),
        (["0107_100715-01-m", "0107_100715-02-m", "0107_100718-01-m"], [0, 0.5, 3]),
        (["2026-01-01_08-00-00", "2026-01-01_08-00-10", "2026-01-01_08-01-00"], [0, 10, 60]),
        (["9", "10", "11"], [0, 0.1, 0.2]),
        (["5", "10", "15"], [0, 0.1, 0.2]),  # every fifth frame of a recording
        (["gate", "door", "yard"], [0, 0.1, 0.2]),
        (["a1", "b1", "c1"], [0, 0.1, 0.2]),  # numbers that are no frame numbers
        (["1000", "7", "80000"], [0, 0.1, 0.2]),
    ],
)
def test_times_and_order_of_snapshots_are_those_of_their_names(tmp_path, names, times):
    (tmp_path / "clip").mkdir()
    for name in names:
        Image.new("RGB", (48, 32)).save(tmp_path / f"clip/{name}.jpg")
    found, _, losses = scored(tmp_path / "clip", fps=10)
    assert list(found) == pytest.approx(times)
    assert losses.lines == []
    assert len(indexed(tmp_path / "clip")[0]) == 3


def test_the_order_is_that_of_the_times(tmp_path):
    write_images(tmp_path / "clip", FRAMES, "{:03d}.png")
    for number in range(12):  # the later, the smaller the number before the time
        file = tmp_path / f"clip/{number + 1:03d}.png"
        file.rename(file.with_name(f"{20 - number:02d}_2026-01-01_08-00-{number:02d}.png"))
    np.testing.assert_array_equal(np.stack(scored(tmp_path / "clip")[1]), FRAMES)


def test_a_gap_in_the_frame_numbers_is_told_and_gone_on_from(images):
    for number in (5, 6, 9):
        (images / f"{number:03d}.png").unlink()
    times, frames, losses = scored(images, fps=10)
    kept = [0, 1, 2, 3, 6, 7, 9, 10, 11]
    np.testing.assert_allclose(times, np.array(kept) / 10)
    np.testing.assert_array_equal(np.stack(frames), FRAMES[kept])
    (line,) = losses.lines
    assert "3 frames (0.30 s) left out: clip own: missing frame 5 to 6: " in line
    assert len(indexed(images)[0]) == 9


def test_image_files_that_are_named_one_by_one_keep_their_order_and_their_times(images):
    for number in range(1, 13):
        (images / f"{number:03d}.png").rename(images / f"08-00-{number:02d}.png")
    files = sorted(images.iterdir())
    assert list(scored(files)[0]) == pytest.approx(range(12))
    times, frames, _ = scored(files[::-1])  # not in the order of their times
    np.testing.assert_allclose(times, np.arange(12) / 25)
    np.testing.assert_array_equal(np.stack(frames), FRAMES[::-1])


@pytest.mark.parametrize(
    ("number", "words", "kind"),
    [
        (24, "too many files are open at once; raise the limit", VadError),
        (13, "may not be read or written; give yourself the right", FootageError),
        (5, "drive it is on does not answer", FootageError),
    ],
)
@pytest.mark.parametrize("what", ["video", "images"])
def test_a_fault_of_the_surroundings_is_not_told_as_damage_of_footage(
    images, tmp_path, monkeypatch, number, words, kind, what
):
    path = images if what == "images" else videos.make(tmp_path, "avi")

    def refuse(*_, **__):
        raise OSError(number, "refused")

    monkeypatch.setattr("vadlib.clips.Image.open" if what == "images" else "vadlib.io.video.av.open", refuse)
    with pytest.raises(VadError, match=words) as caught:
        list(read_footage(path, "own", 25))
    assert (type(caught.value) is kind) or what == "images"
    assert "replace" not in str(caught.value)


def test_a_link_is_not_resolved(images, tmp_path):
    (tmp_path / "project").mkdir()
    (tmp_path / "project/data").symlink_to(tmp_path / "data")
    assert _probe(tmp_path / "project/data/clip", tmp_path / "project").path == "data/clip"


# Manifests


MANIFEST = Manifest(
    "mini",
    "videos",
    (
        Clip("a", "training", "data/mini/training/a.mp4", 12, 48, 32, 25.0, ()),
        Clip("Straße", "testing", "data/mini/testing/Straße", 12, 48, 32, None, ((0, 3), (5, 12))),
        Clip("c", "testing", "data/mini/testing/c", 12, 48, 32, None, None),
    ),
)


def test_a_manifest_comes_back_as_it_was_saved(tmp_path):
    save_manifest(MANIFEST, tmp_path / "mini/prepared/manifest.json")
    assert load_manifest(tmp_path / "mini/prepared/manifest.json") == MANIFEST


def test_the_same_manifest_is_the_same_bytes(tmp_path):
    save_manifest(MANIFEST, tmp_path / "a.json")
    save_manifest(MANIFEST, tmp_path / "b.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_a_manifest_splits_in_order():
    assert [clip.name for clip in MANIFEST.split("testing")] == ["Straße", "c"]


def test_labels_of_a_clip():
    labels = [clip.labels() for clip in MANIFEST.clips]
    assert labels[0].tolist() == [False] * 12
    assert labels[1].tolist() == [True] * 3 + [False] * 2 + [True] * 7
    assert labels[2] is None


def test_a_manifest_that_is_not_there_names_the_command(tmp_path):
    with pytest.raises(VadError, match=r"manifest\.json: not found; make it first with `dvc repro prepare@mini`"):
        load_manifest(tmp_path / "mini/prepared/manifest.json")


@pytest.mark.parametrize("damage", ["", "[]", "{}", '{"dataset": "a", "layout": "b", "clips": [{"name": "x"}]}'])
def test_a_damaged_manifest_names_the_command(tmp_path, damage):
    (tmp_path / "mini/prepared").mkdir(parents=True)
    (tmp_path / "mini/prepared/manifest.json").write_text(damage)
    with pytest.raises(VadError, match=r"manifest\.json: .*make it again with `dvc repro prepare@mini`"):
        load_manifest(tmp_path / "mini/prepared/manifest.json")


def test_a_manifest_with_a_text_for_a_number_is_damaged(tmp_path):
    save_manifest(MANIFEST, tmp_path / "manifest.json")
    content = json.loads((tmp_path / "manifest.json").read_text("utf-8"))
    content["clips"][0]["frames"] = "12"
    (tmp_path / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(VadError, match="must be whole numbers"):
        load_manifest(tmp_path / "manifest.json")


def test_frames_of_a_real_video(shared):
    video = shared / "videos/people.mp4"
    clip = probe_clip(video, "people", "testing", video.parent)
    assert (clip.frames, clip.width, clip.height) == (302, 1920, 1080)


@pytest.mark.parametrize("suffix", ["tif", "png", "webp"])
def test_of_several_pictures_in_one_file_the_first_is_read_and_the_others_told(tmp_path, suffix):
    (tmp_path / "clip").mkdir()
    pictures = [Image.fromarray(frame) for frame in FRAMES]
    pictures[0].save(tmp_path / f"clip/1.{suffix}", save_all=True, append_images=pictures[1:5])
    pictures[5].save(tmp_path / f"clip/2.{suffix}")
    losses = Losses()
    assert len(list(read_footage(tmp_path / "clip", "clip", 25, losses))) == 2
    assert losses.frames == 4
    assert f"1.{suffix}) is the first of 5 pictures in one file" in losses.lines[0]
    with pytest.raises(FootageError, match="; make a file of each"):
        list(read_footage(tmp_path / "clip", "clip", 25))


def test_a_preview_behind_a_picture_is_no_loss(tmp_path):
    (tmp_path / "clip").mkdir()
    Image.fromarray(FRAMES[0]).save(
        tmp_path / "clip/1.tif", save_all=True, append_images=[Image.fromarray(FRAMES[0, ::2, ::2])]
    )
    assert len(list(read_footage(tmp_path / "clip", "clip", 25))) == 1
