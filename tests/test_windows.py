"""A long clip in parts: byte for byte what the whole clip gives."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests import videos
from tests.layouts import write_images
from vadlib.clips import probe_clip, read_frames
from vadlib.errors import VadError
from vadlib.manifest import Clip
from vadlib.windows import LEAD, cut_clip, read_part

# Containers that say when each frame is shown, with codecs whose key frames lean on nothing before them.
CUT = {"mp4", "faststart.mp4", "fragmented.mp4", "3gp", "mkv", "webm", "mov", "mpg", "mxf", "ts", "mts", "m2ts", "flv"}
WHOLE = set(videos.KINDS) - CUT


def cut(path: Path, window: int = 40) -> tuple[Clip, list]:
    clip = probe_clip(path, "a", "training", None)
    return clip, cut_clip(clip, window)


def same_as_whole(clip: Clip, spans: list) -> bool:
    """Whether every part's frames, with some before and after, are the whole clip's."""
    whole = list(read_frames(clip))
    assert [span[0] for span in spans][1:] == [span[1] for span in spans][:-1]
    assert (spans[0][0], spans[-1][1]) == (0, clip.frames)
    for first, stop, start in spans:
        lo, hi = max(first - LEAD, 0), min(stop + LEAD, clip.frames)
        if not np.array_equal(np.stack(list(read_part(clip, lo, hi, start))), np.stack(whole[lo:hi])):
            return False
    return True


@pytest.mark.parametrize("kind", sorted(CUT))
def test_parts_of_a_video_are_its_frames_to_the_bit(tmp_path, kind):
    clip, spans = cut(videos.make(tmp_path, kind))
    assert len(spans) >= 2
    assert same_as_whole(clip, spans)


@pytest.mark.parametrize("kind", sorted(WHOLE))
def test_a_video_of_another_kind_is_cut_the_same_or_not_at_all(tmp_path, kind):
    clip, spans = cut(videos.make(tmp_path, kind))
    assert len(spans) < 2 or same_as_whole(clip, spans)


def test_open_groups_of_pictures_are_not_cut_where_frames_lean_on_those_before(tmp_path):
    options = {"x264-params": "open-gop=1:keyint=12:min-keyint=12:scenecut=0:log-level=error"}
    path = tmp_path / "a.mp4"
    videos.write(path, codec="libx264", b_frames=2)
    clip, closed = cut(path)
    assert len(closed) >= 2
    import av

    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25, options=options)
        stream.height, stream.width, stream.pix_fmt = 96, 128, "yuv420p"
        for picture in videos.pictures():
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        file.mux(stream.encode())
    clip, spans = cut(path)
    assert len(spans) < 2 or same_as_whole(clip, spans)


def test_a_folder_of_images_is_cut_anywhere(tmp_path):
    write_images(tmp_path / "a", np.stack(list(videos.pictures(100, 32, 24))), "{:03d}.png")
    clip, spans = cut(tmp_path / "a")
    assert [span[:2] for span in spans] == [(0, 40), (40, 80), (80, 100)]
    assert same_as_whole(clip, spans)


def test_footage_that_is_not_what_was_cut_is_one_line(tmp_path):
    clip, spans = cut(videos.make(tmp_path, "mp4"))
    shutil.move(videos.write(tmp_path / "b.mp4", codec="libx264", frames=videos.pictures(50)), clip.path)
    with pytest.raises(
        VadError, match=r"clip training/a .*frames \d+ to 99 cannot all be read.*`compute.window: null`"
    ):
        list(read_part(clip, spans[-1][0], 100, spans[-1][2]))


@pytest.mark.slow
@pytest.mark.parametrize("detector", ["motion", "import"])
def test_boxes_flow_cubes_and_scores_of_a_clip_in_parts_are_those_of_the_whole(tmp_path, monkeypatch, detector):
    from tests.projects import MOTION, STAGES, artefacts, leftovers, run_stages, settings
    from vadlib.pipeline import mapping
    from vadlib.settings import ComputeSettings

    for split, count in (("training", 70), ("testing", 170)):
        frames = moving(count)
        videos.write(tmp_path / "data/mini" / split / "a.mp4", codec="libx264", b_frames=2, frames=iter(frames))
    (tmp_path / "weights/mini").mkdir(parents=True)
    (tmp_path / "data/mini/labels.csv").write_text("clip,first,last\na,100,120\n")
    kind = MOTION
    if detector == "import":
        rows = [
            f"{s}/a,{t},{t % 30},4,{t % 30 + 12},16"
            for s, n in (("training", 70), ("testing", 170))
            for t in range(n)
            if t % 50
        ]
        (tmp_path / "data/mini/boxes.csv").write_text("\n".join(["clip,frame,x1,y1,x2,y2", *rows]) + "\n")
        kind = {"kind": "import", "boxes": "boxes.csv", "rules": None, "motion": {"threshold": 10, "min_area": 4}}
    monkeypatch.chdir(tmp_path)
    used = settings(source={"layout": "videos"}, detector=kind)
    run_stages(used, STAGES, ComputeSettings(workers=1, precision="fp32", score_batch=8))
    before = artefacts(tmp_path)
    done, real = [], mapping._one
    monkeypatch.setattr(mapping, "_one", lambda *args: (done.append((args[-2], args[-1])), real(*args))[1])
    for stage in ("detect", "flow", "build_raw", "build_flow", "score"):
        done.clear()
        run_stages(used, [stage], ComputeSettings(workers=1, precision="fp32", score_batch=8, window=64))
        assert sum(span is not None for span, _ in done) >= 2, stage
        assert sum(parts is not None for _, parts in done) == 1, stage
        assert artefacts(tmp_path) == before, stage
    assert leftovers(tmp_path) == []
    assert not any(Path(".scratch").iterdir())


def moving(count: int) -> list[np.ndarray]:
    """A square that goes to and fro over noise, (96, 128, 3), and stands still at times."""
    noise = np.random.default_rng(0).integers(80, 110, (96, 128, 3), dtype=np.uint8)
    frames = []
    for number in range(count):
        frame = noise.copy()
        x = 4 + 2 * (number // 20 * 20 + min(number % 20, 14)) % 100
        frame[20:44, x : x + 18] = (220, 200, 40)
        frames.append(frame)
    return frames
