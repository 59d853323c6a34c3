"""Clips: what is read from image folders and video files, and what is refused."""

import json
import struct
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tests.layouts import draw, write_images, write_video
from vadlib.clips import (
    Clip,
    Manifest,
    claimed_length,
    load_manifest,
    natural_key,
    probe_clip,
    read_footage,
    read_frames,
    save_manifest,
)
from vadlib.errors import VadError

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


def test_a_link_is_not_resolved(images, tmp_path):
    (tmp_path / "project").mkdir()
    (tmp_path / "project/data").symlink_to(tmp_path / "data")
    assert _probe(tmp_path / "project/data/clip", tmp_path / "project").path == "data/clip"


def test_natural_order():
    names = ["clip10", "clip2", "Clip1", "02", "2", "1b", "", "1"]
    assert sorted(names, key=natural_key) == ["", "1", "1b", "02", "2", "Clip1", "clip2", "clip10"]


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
