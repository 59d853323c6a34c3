"""Video files: what can be decoded is the truth, whatever headers and clocks say; what is lost is told."""

import shutil
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests import videos
from tests.videos import FPS, FRAMES, KINDS
from vadlib.errors import FootageError, Losses
from vadlib.io.video import is_video, video_frames

# Of bare streams, and H.264 in AVI, nothing says when a frame is shown.
NO_CLOCK = {"h264", "dav", "hevc", "mjpeg"}


def read(path, losses=None) -> list[float]:
    """The times of a video's frames, each decoded; what is lost is an error unless there are `losses`."""
    return [time for time, _ in video_frames(path, "clip a", losses or Losses(strict=True), FPS)]


def assert_whole(path, frames: int) -> None:
    """All frames are there, one after the other from zero, and nothing is said of them."""
    losses = Losses()
    np.testing.assert_allclose(read(path, losses), np.arange(frames) / FPS, atol=2e-3)
    assert losses == Losses()


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_container_is_read_to_the_end(tmp_path, kind):
    path = videos.make(tmp_path, kind)
    losses = Losses()
    np.testing.assert_allclose(read(path, losses), np.arange(FRAMES) / FPS, atol=2e-3)
    assert losses.lines == []
    assert bool(losses.notes) == (kind in NO_CLOCK)


@pytest.mark.parametrize("kind", sorted({kind.rsplit(".", 1)[-1] for kind in KINDS}))
def test_what_a_video_is_called_says_nothing(tmp_path, kind):
    path = videos.make(tmp_path, kind)
    for name in ("x", "x.dat", "x.jpg", "x.txt"):
        shutil.copy(path, tmp_path / name)
        assert is_video(tmp_path / name), name


@pytest.mark.parametrize("text", ["#EXTM3U\n#EXTINF:1,\na.mp4\n", "ffconcat version 1.0\nfile a.mp4\n", "v=0\nm=video"])
@pytest.mark.parametrize("suffix", [".mp4", ".ts", ".m3u8", ".sdp", ".jpg"])
def test_a_list_of_other_files_is_no_video(tmp_path, text, suffix):
    videos.make(tmp_path, "mp4")
    (tmp_path / f"list{suffix}").write_text(text)
    assert not is_video(tmp_path / f"list{suffix}")


# Headers


def late_mkv(folder):
    return videos.late(folder / "a.mkv", 3.0), 75


HEALTHY = {
    "MKV, a segment from 3 s": late_mkv,
    "WebM, a segment from 3 s": lambda f: (videos.late(f / "a.webm", 3.0, "libvpx"), 75),
    "MKV, a segment from an hour": lambda f: (videos.late(f / "a.mkv", 3600.0), 75),
    "WMV, a segment from 3 s": lambda f: (videos.late(f / "a.wmv", 3.0, "wmv2", "asf"), 75),
    "FLV, a segment from 3 s": lambda f: (videos.late(f / "a.flv", 3.0), 75),
    "TS, a segment from 3 s": lambda f: (videos.late(f / "a.ts", 3.0), 75),
    "MP4, its end trimmed by an edit list": lambda f: (videos.trimmed(videos.make(f, "mp4"), 0, 1), 25),
    "MP4, its begin trimmed by an edit list": lambda f: (videos.trimmed(videos.make(f, "mp4"), 2, 1), 25),
    "AVI that claims 1,500 frames": lambda f: (videos.claiming(videos.make(f, "avi"), 1500), 100),
    "AVI that claims 10 frames": lambda f: (videos.claiming(videos.make(f, "avi"), 10), 100),
    "MKV that claims an hour": lambda f: (videos.claiming(videos.make(f, "mkv"), 90_000), 100),
    "MKV that claims a tenth of a second": lambda f: (videos.claiming(videos.make(f, "mkv"), 2), 100),
    "FLV that claims an hour": lambda f: (videos.claiming(videos.make(f, "flv"), 90_000), 100),
}


@pytest.mark.parametrize("case", HEALTHY)
def test_a_healthy_file_is_whole_whatever_its_header_claims(tmp_path, case):
    path, frames = HEALTHY[case](tmp_path)
    assert_whole(path, frames)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("mp4", "mov", "3gp", "hevc")])
def test_a_file_whose_second_half_is_missing_is_said_to_be_cut_and_its_frames_are_read(tmp_path, kind):
    losses = Losses()
    times = read(videos.cut(videos.make(tmp_path, kind)), losses)
    np.testing.assert_allclose(times, np.arange(len(times)) / FPS, atol=2e-3)
    assert 40 <= len(times) <= 60
    (line,) = losses.lines
    assert f": cut at {times[-1]:.1f} s, after frame {len(times) - 1}" in line
    if kind in ("faststart.mp4", "avi", "mkv", "webm", "flv", "mxf"):  # whose headers name a length
        assert "of the 100 its header names" in line
        assert losses.frames == FRAMES - len(times)
        assert losses.seconds == pytest.approx((FRAMES - len(times)) / FPS)
    with pytest.raises(FootageError, match=r"clip a.*(cut|damaged|decoded).*; replace the file, or re-encode"):
        read(tmp_path / ("a." + kind if "." not in kind else kind))


@pytest.mark.parametrize("kind", ["mp4", "mov", "3gp"])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.95])
def test_a_file_that_was_cut_before_its_index_is_told_as_such(tmp_path, kind, share):
    path = videos.cut(videos.make(tmp_path, kind), share)
    with pytest.raises(FootageError, match=r"clip a \(.*cannot be opened as a video \(its index is missing: it"):
        read(path, Losses())


@pytest.mark.parametrize("kind", ["avi", "mkv", "ts", "flv"])
def test_a_cut_file_that_claims_less_is_cut_all_the_same(tmp_path, kind):
    path = videos.cut(videos.make(tmp_path, kind), 0.8)
    if kind != "ts":
        videos.claiming(path, 10)
    losses = Losses()
    assert len(read(path, losses)) > 70
    assert ": cut at " in losses.lines[0]


def test_a_tape_of_dv_is_read_and_said_to_be_cut(tmp_path):
    path = videos.write(
        tmp_path / "a.dv", "dvvideo", frames=[np.full((576, 720, 3), 9 * n, np.uint8) for n in range(4)]
    )
    assert_whole(path, 4)
    losses = Losses()
    assert len(read(videos.cut(path, 0.7), losses)) == 2 + 1  # what is left of a frame is shown
    assert ": cut at 0.1 s, after frame 2" in losses.lines[0]


@pytest.mark.parametrize(
    "pixels", ["yuv420p", "yuv422p", "yuv411p", "yuv444p", "gray", "yuv420p10le", "yuv422p12le", "gray10le", "gray16le"]
)
def test_a_raw_video_of_any_samples_is_whole_or_cut(tmp_path, pixels):
    path = tmp_path / "a.y4m"
    with av.open(str(path), "w", format="yuv4mpegpipe", container_options={"strict": "-1"}) as file:
        stream = file.add_stream("wrapped_avframe", rate=FPS, options={"strict": "-1"})
        stream.width, stream.height, stream.pix_fmt = 97, 63, pixels
        for picture in videos.pictures(4, 97, 63):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=pixels)))
        file.mux(stream.encode())
    assert_whole(path, 4)
    losses = Losses()
    assert len(read(videos.cut(path, 0.99), losses)) == 3
    assert ": cut at 0.1 s, after frame 2" in losses.lines[0]


# What lies behind the end

BEHIND = {
    "text": b"a recorder's own: 52.1,13.2 2026-01-01 08:00:00\n" * 50,
    "room set aside": bytes(100_001),
    "what divides pictures sent one by one": b"\r\n--boundary--\r\n",
}


@pytest.mark.parametrize("behind", BEHIND)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("ivf", "y4m")])  # which no recorder writes
def test_what_lies_behind_the_end_is_no_loss(tmp_path, kind, behind):
    path = videos.make(tmp_path, kind, frames=list(videos.pictures(30, 64, 48)))
    with path.open("ab") as file:
        file.write(BEHIND[behind])
    losses = Losses()
    np.testing.assert_allclose(read(path, losses), np.arange(30) / FPS, atol=2e-3)
    assert losses.lines == []
    read(path)  # nor where nothing may be lost


@pytest.mark.parametrize("kind", ["mkv", "ts", "flv", "gif", "mjpeg"])
def test_a_file_that_is_cut_is_so_though_room_was_set_aside(tmp_path, kind):
    path = videos.cut(videos.make(tmp_path, kind, frames=list(videos.pictures(30, 64, 48))), 0.6)
    with path.open("ab") as file:
        file.write(bytes(100_001))
    losses = Losses()
    assert len(read(path, losses)) < 30
    assert losses.lines


@pytest.mark.parametrize("kind", ["mp4", "fragmented.mp4", "mov", "3gp", "wmv"])
def test_a_second_recording_that_a_container_has_no_room_for_is_told(tmp_path, kind):
    path = videos.make(tmp_path, kind, frames=list(videos.pictures(30, 64, 48)))
    size = path.stat().st_size
    path.write_bytes(path.read_bytes() * 2)
    losses = Losses()
    assert 30 <= len(read(path, losses)) < 60
    assert f"another recording begins at byte {size:,}, and is not read whole" in losses.lines[0]
    with pytest.raises(FootageError, match=r"another recording begins.*; make a file of its own of it"):
        read(path)


# Clocks


def shuffled_times(path):
    """Every second frame at the time of the one before, as some recorders write them."""
    return videos.write(path, "libvpx", shown=[n - n % 2 for n in range(FRAMES)])


CLOCKS = {
    "H.264 with B-frames in AVI": (lambda f: videos.make(f, "avi", codec="libx264", b_frames=2), 100, FPS),
    "H.264 with many B-frames in AVI": (lambda f: videos.make(f, "avi", codec="libx264", b_frames=7, fps=10), 100, 10),
    "MPEG-4 with B-frames in AVI": (lambda f: videos.make(f, "avi", b_frames=2), 100, FPS),
    "bare H.264 at 10 frames/s": (lambda f: videos.make(f, "h264", fps=10), 100, 10),
    "bare HEVC at 50 frames/s": (lambda f: videos.make(f, "hevc", fps=50), 100, 50),
    "bare MJPEG": (lambda f: videos.make(f, "mjpeg"), 100, FPS),
}


@pytest.mark.parametrize("case", CLOCKS)
def test_times_that_nothing_stores_are_made_from_the_frame_rate_and_said_to_be(tmp_path, case):
    make, frames, fps = CLOCKS[case]
    losses = Losses()
    np.testing.assert_allclose(read(make(tmp_path), losses), np.arange(frames) / fps, atol=1e-6)
    (note,) = losses.notes
    assert f"made from the frame rate ({fps} frames/s" in note
    assert losses.lines == []


def test_a_clock_that_is_set_back_goes_on_from_where_it_was(tmp_path):
    """Two recordings in one file, as cameras and `cat` make them."""
    path = videos.make(tmp_path, "ts")
    path.write_bytes(path.read_bytes() * 3)
    losses = Losses()
    times = read(path, losses)
    np.testing.assert_allclose(times, np.arange(300) / FPS, atol=2e-3)
    assert "the times of 2 of 300 frames were made" in losses.notes[0]


def joined(path, *starts: float) -> Path:
    """Recordings of 20 frames whose clocks begin at these seconds, in one transport stream."""
    path.write_bytes(b"".join(videos.late(path.with_name("one.ts"), at, count=20).read_bytes() for at in starts))
    return path


@pytest.mark.parametrize(
    ("starts", "seconds"),
    [
        ((7200, 3600), 1.56),  # set back, by more than a minute
        ((20_000, 10), 1.56),
        ((95_443.2, 10), 11.28),  # run over its 33 bits within the first, and then 9.76 s without a recording
        ((10, 10.3), 1.3),  # set back by less than a second: as long as that may be disorder, a little at a time
    ],
)
def test_a_clock_that_runs_over_or_is_set_costs_no_frames(tmp_path, starts, seconds):
    losses = Losses()
    times = read(joined(tmp_path / "a.ts", *starts), losses)
    assert len(times) == 20 * len(starts)
    assert np.diff(times).min() > 0
    assert times[-1] == pytest.approx(seconds, abs=0.1)
    assert losses.frames == 0


def with_times(path, times) -> Path:
    """Matroska with these times, in ms, whatever they are."""
    with (
        av.open(
            str(videos.write(path.with_suffix(".mp4"), frames=list(videos.pictures(len(times), 64, 48))))
        ) as source,
        av.open(str(path), "w") as target,
    ):
        stream = target.add_stream_from_template(source.streams.video[0])
        for time, packet in zip(times, (p for p in source.demux(video=0) if p.size), strict=True):
            packet.time_base, packet.pts, packet.dts, packet.stream = Fraction(1, 1000), time, time, stream
            target.mux(packet)
    return path


def test_a_clock_that_stands_is_gone_on_with_by_the_frame_rate(tmp_path):
    losses = Losses()
    times = read(with_times(tmp_path / "a.mkv", [0] * 40), losses)
    np.testing.assert_allclose(np.diff(times)[8:], 1 / FPS)  # until then it may be disorder
    assert "the times of 39 of 40 frames were made" in losses.notes[0]


def test_a_clock_that_was_set_from_1970_leaves_no_gap(tmp_path):
    losses = Losses()
    times = read(with_times(tmp_path / "a.mkv", [40 * n + 1_760_000_000_000 * (n >= 10) for n in range(40)]), losses)
    np.testing.assert_allclose(times, np.arange(40) / FPS, atol=2e-3)
    assert "the times of 1 of 40 frames were made" in losses.notes[0]


def test_a_time_far_from_all_others_is_told_as_no_loss(tmp_path):
    losses = Losses()
    times = read(joined(tmp_path / "a.ts", 10, 20_000, 10.8), losses)
    assert (len(times), losses.frames) == (60, 0)
    assert np.diff(times).min() > 0


def test_a_clock_with_gaps_is_believed(tmp_path):
    """A camera that records when something moves, or drops frames: nothing is lost that was there."""
    shown = [n + 500 * (n >= 40) + 3 * (n >= 70) for n in range(FRAMES)]
    for kind in ("mkv", "mp4", "ts"):
        losses = Losses()
        times = read(videos.make(tmp_path, kind, b_frames=0, shown=shown), losses)
        np.testing.assert_allclose(times, np.array(shown) / FPS, atol=2e-3)
        assert losses == Losses(), kind


@pytest.mark.parametrize("kind", ["mkv", "webm", "mp4"])
def test_times_rise_though_frames_share_them(tmp_path, kind):
    path = videos.make(tmp_path, kind, b_frames=0)
    twice = tmp_path / f"twice.{kind}"
    with av.open(str(path)) as source, av.open(str(twice), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(p for p in source.demux(video=0) if p.size):
            packet.time_base = Fraction(1, 1000)
            packet.pts = packet.dts = 40 * (number - number % 2) + (number % 2 if kind == "mp4" else 0)
            packet.stream = stream
            target.mux(packet)
    losses = Losses()
    times = read(twice, losses)
    assert len(times) == FRAMES
    assert np.diff(times).min() > 0
    assert times[-1] == pytest.approx(FRAMES / FPS, abs=0.1)


# Damage


@pytest.mark.parametrize(
    ("kind", "lost"),
    [
        ("mp4", 1), ("faststart.mp4", 1), ("fragmented.mp4", 1), ("3gp", 1), ("avi", 1), ("ts", 1), ("mts", 1),
        ("m2ts", 1), ("mxf", 1), ("wmv", 2), ("mpg", 2), ("mkv", 8), ("webm", 8), ("flv", 8),
    ],
)  # fmt: skip
def test_a_damaged_packet_costs_no_more_than_it_must(tmp_path, kind, lost):
    """Containers that are read in sequence go on at the next place that can be found, FLV and H.264 at a key frame."""
    path = videos.damaged(videos.make(tmp_path, kind), 40)
    losses = Losses()
    times = read(path, losses)
    assert (len(times), losses.frames) == (FRAMES - lost, lost)
    assert losses.seconds == pytest.approx(lost / FPS)
    assert np.diff(times).min() > 0
    assert times[-1] == pytest.approx((FRAMES - 1) / FPS, abs=2e-3)
    (line,) = losses.lines
    assert line.startswith(f"{lost} frame")
    assert f"({path})" in line
    with pytest.raises(FootageError, match=r"clip a: frame (3|4)\d \(.*\) at 1\.\d+ s (cannot|is)"):
        read(path)


@pytest.mark.parametrize("packets", [[0], [98, 99], [40, 41, 42], range(10, 90, 10), [5, 50, 95]])
@pytest.mark.parametrize("kind", ["mp4", "avi", "mov"])
def test_many_damaged_packets_are_passed_over_one_by_one(tmp_path, kind, packets):
    path = videos.damaged(videos.make(tmp_path, kind), *packets, size=10**6)
    losses = Losses()
    times = read(path, losses)
    assert len(times) + losses.frames == FRAMES
    assert len(packets) <= losses.frames <= 12 * len(packets)  # at most up to the next key frame
    assert np.diff(times).min() > 0


def test_a_file_of_which_no_frame_can_be_decoded_is_refused(tmp_path):
    path = videos.damaged(videos.make(tmp_path, "mov"), *range(FRAMES), size=10**6)
    with pytest.raises(FootageError, match=r"clip a \(.*a\.mov\): the video has no frames that can be decoded: "):
        read(path, Losses())


@pytest.mark.parametrize("content", [b"", b"hello", b"\0" * 5000, bytes(range(256)) * 200])
@pytest.mark.parametrize("suffix", [".mp4", ".ts", ".h264", ".dav", ".gif"])
def test_what_is_no_video_is_refused_in_one_line(tmp_path, content, suffix):
    (tmp_path / f"a{suffix}").write_bytes(content)
    with pytest.raises(FootageError, match=rf"clip a \(.*a\{suffix}\): (cannot be opened|holds no video|the video)"):
        read(tmp_path / f"a{suffix}", Losses())


def test_sound_and_a_cover_picture_are_no_video(tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as file:
        stream = file.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        file.mux(stream.encode(frame))
        file.mux(stream.encode())
    with pytest.raises(FootageError, match=r"a\.mp4\): holds no video; replace"):
        read(tmp_path / "a.mp4", Losses())
    assert not is_video(tmp_path / "a.mp4")


def test_of_two_videos_in_one_file_the_first_is_read_and_the_other_told(tmp_path):
    with av.open(str(tmp_path / "a.mkv"), "w") as file:
        streams = [file.add_stream("libx264", rate=FPS) for _ in range(2)]
        for stream, size in zip(streams, ((64, 48), (96, 64)), strict=True):
            stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for pair in zip(videos.pictures(10, 64, 48), videos.pictures(10, 96, 64), strict=True):
            for stream, picture in zip(streams, pair, strict=True):
                file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        for stream in streams:
            file.mux(stream.encode())
    losses = Losses()
    assert len(read(tmp_path / "a.mkv", losses)) == 10
    assert losses.lines == []
    assert "holds 2 videos; the first is read, and no other (96x64)" in losses.notes[0]
