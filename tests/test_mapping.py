"""The one way over clips: in parallel, restartable, and never with what other settings left."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from tests.conftest import ended_by_a_kill
from vadlib.errors import VadError
from vadlib.io import ownership
from vadlib.io.files import write_text
from vadlib.io.ownership import alone_in, publish
from vadlib.io.progress import progress
from vadlib.manifest import Clip
from vadlib.pipeline import mapping
from vadlib.pipeline.mapping import fingerprint, map_clips, scratch_folder
from vadlib.settings import ComputeSettings, CubeSettings, DisSettings

CLIPS = [Clip(name, split, "", 5, 4, 4) for split in ("training", "testing") for name in ("01", "02", "03")]
OUT = Path("work/mini/out")
KEYS = ComputeSettings.model_fields


@pytest.fixture(autouse=True)
def _in_tmp(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


# Work functions are of this module, so that other processes find them.


def copy_name(text: str, clip: Clip, path: Path) -> dict[str, int]:
    write_text(path, f"{text} {clip.key}")
    return {"clips": 1, "frames": clip.frames}


def note_and_copy(log: Path, clip: Clip, path: Path) -> dict[str, int]:
    with log.open("a") as file:
        file.write(f"{clip.key} {os.getpid()}\n")
    return copy_name("x", clip, path)


def fail_at(key: str, error: type[BaseException], log: Path, clip: Clip, path: Path) -> dict[str, int]:
    if clip.key == key:
        write_text(path.with_name(f".{path.name}.partial"), "what a kill leaves")
        raise error(f"clip {key}: frame 3 is unreadable; replace it")
    return note_and_copy(log, clip, path)


def die(clip: Clip, path: Path) -> dict[str, int]:
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def wait_for_ever(started: Path, clip: Clip, path: Path) -> dict[str, int]:
    write_text(started / clip.name, "now")
    while True:
        time.sleep(0.05)


def run(work, mark="0" * 64, workers=1, clips=CLIPS, **more):
    compute = ComputeSettings(workers=workers, **{key: more.pop(key) for key in list(more) if key in KEYS})
    return map_clips(work, clips, OUT, suffix=".txt", fingerprint=mark, compute=compute, label="test", **more)


def made() -> dict[str, str]:
    return {p.relative_to(OUT).as_posix(): p.read_text() for p in sorted(OUT.rglob("*")) if p.is_file()}


WHOLE = {f"{clip.key}.txt": f"x {clip.key}" for clip in sorted(CLIPS, key=lambda c: c.key)}


def done_in(log: Path) -> list[str]:
    return [line.split()[0] for line in log.read_text().splitlines()] if log.exists() else []


@pytest.mark.parametrize("workers", [1, 2])
def test_every_clip_gets_its_artefact_and_counts_add_up(workers):
    assert run(partial(copy_name, "x"), workers=workers) == {"clips": 6, "frames": 30}
    assert made() == WHOLE
    assert list(Path(".scratch").iterdir()) == []


def test_no_clips_leave_an_empty_folder():
    assert run(partial(copy_name, "x"), workers=2, clips=[]) == {}
    assert OUT.is_dir()
    assert made() == {}


def test_an_output_from_before_is_replaced_whole():
    write_text(Path("earlier/training/99.txt"), "of a clip that is gone")
    publish(Path("earlier"), OUT)
    run(partial(copy_name, "x"))
    assert made() == WHOLE


def test_after_an_error_there_is_no_output_and_finished_clips_are_not_made_again(tmp_path):
    log = tmp_path / "log"
    with pytest.raises(VadError, match=r"clip testing/02: frame 3"):
        run(partial(fail_at, "testing/02", VadError, log))
    assert not OUT.exists()
    assert done_in(log) == ["training/01", "training/02", "training/03", "testing/01"]
    log.unlink()
    assert run(partial(note_and_copy, log)) == {"clips": 6, "frames": 30}
    assert done_in(log) == ["testing/02", "testing/03"]
    assert made() == WHOLE


def test_after_an_error_the_output_from_before_is_untouched(tmp_path):
    run(partial(copy_name, "x"))
    with pytest.raises(VadError):
        run(partial(fail_at, "training/02", VadError, tmp_path / "log"))
    assert made() == WHOLE


def test_ctrl_c_keeps_finished_clips(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(partial(fail_at, "training/03", KeyboardInterrupt, tmp_path / "log"))
    run(partial(note_and_copy, tmp_path / "log"))
    assert done_in(tmp_path / "log")[2:] == ["training/03", "testing/01", "testing/02", "testing/03"]


def test_an_artefact_without_its_note_is_made_again(tmp_path):
    """A kill between the two."""
    scratch = scratch_folder(OUT, "0" * 64)
    write_text(scratch / "made/training/01.txt", "of the killed run")
    run(partial(copy_name, "x"))
    assert made() == WHOLE


def test_other_fingerprints_do_not_meet_and_their_scratch_is_removed(tmp_path):
    with pytest.raises(VadError):
        run(partial(fail_at, "testing/02", VadError, tmp_path / "log"), mark="a" * 64)
    (left,) = Path(".scratch").iterdir()
    with pytest.raises(VadError):
        run(partial(fail_at, "training/01", VadError, tmp_path / "log"), mark="b" * 64)
    assert not left.exists()
    run(partial(copy_name, "x"), mark="b" * 64)
    assert made() == WHOLE


def test_scratch_of_other_outputs_stays():
    others = [Path("work/mini/out2"), Path("work/mini/out/raw"), Path("work/mini2/out"), Path("work/min/out")]
    kept = [scratch_folder(output, "a" * 64) for output in others]
    scratch_folder(OUT, "b" * 64)
    assert all(folder.is_dir() for folder in kept)


def test_scratch_of_an_absolute_output_lies_beside_it(tmp_path, monkeypatch):
    """So that it is found again from any folder, and no two outputs of one name meet."""
    outputs = [tmp_path / "a" / "o[1]", tmp_path / "b" / "o[1]"]
    kept = [scratch_folder(output, "a" * 64) for output in outputs]
    assert [folder.parent for folder in kept] == [tmp_path / "a" / ".scratch", tmp_path / "b" / ".scratch"]
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert scratch_folder(outputs[0], "a" * 64) == kept[0]
    scratch_folder(outputs[0], "b" * 64)
    assert not kept[0].exists()
    assert kept[1].is_dir()
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_an_error_in_a_worker_process_is_the_same_one_line(tmp_path):
    with pytest.raises(VadError) as caught:
        run(partial(fail_at, "training/02", VadError, tmp_path / "log"), workers=2)
    assert str(caught.value) == "clip training/02: frame 3 is unreadable; replace it"
    assert not OUT.exists()
    log = set(done_in(tmp_path / "log"))
    (tmp_path / "log").unlink()
    run(partial(note_and_copy, tmp_path / "log"), workers=2)
    assert log | set(done_in(tmp_path / "log")) == {clip.key for clip in CLIPS}
    assert made() == WHOLE


def test_two_workers_are_two_other_processes(tmp_path):
    run(partial(note_and_copy, tmp_path / "log"), workers=2)
    pids = {line.split()[1] for line in (tmp_path / "log").read_text().splitlines()}
    assert str(os.getpid()) not in pids


def test_a_worker_that_is_killed_is_one_readable_line():
    with pytest.raises(
        VadError, match=r"a worker process was killed, .* set `compute.workers` lower .* clips are kept"
    ):
        run(die, workers=2)
    assert not OUT.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="no process groups")
def test_ctrl_c_with_workers_prints_nothing_and_ends_them(tmp_path):
    """As the terminal sends it: to all processes at once."""
    script = (
        "import faulthandler; from functools import partial; from pathlib import Path\n"
        "from tests import test_mapping as t\n"
        "if __name__ == '__main__':\n"
        "    faulthandler.dump_traceback_later(100, exit=True)\n"  # where it hangs, should it hang
        "    try: t.run(partial(t.wait_for_ever, Path('started')), workers=2)\n"
        "    except KeyboardInterrupt: print('interrupted')\n"
    )
    write_text(tmp_path / "script.py", script)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    process = subprocess.Popen(
        [sys.executable, "script.py"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, env=environment,
    )  # fmt: skip
    try:
        while len(list(Path("started").glob("0*"))) < 2:
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)
        out, errors = process.communicate(timeout=150)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert (out, errors) == ("interrupted\n", "")


BEGUN = {
    "clips": "t.run(partial(t.wait_for_ever, Path('started')), workers=2)",
    "rendering": "write_footage(StreetSettings(training_clips=2, testing_clips=2), Path('started'), workers=2)",
}


@pytest.mark.skipif(sys.platform == "win32", reason="no process groups")
@pytest.mark.parametrize("what", BEGUN)
def test_a_kill_of_the_one_process_that_is_known_ends_those_it_began(tmp_path, what):
    """As by a system that lacks memory. They would wait for work for ever, with all their memory."""
    script = (
        "from functools import partial; from pathlib import Path\n"
        "from tests import test_mapping as t\n"
        "from vadlib.datasets.synthetic.footage import write_footage\n"
        "from vadlib.settings import StreetSettings\n"
        f"if __name__ == '__main__': {BEGUN[what]}\n"
    )
    write_text(tmp_path / "script.py", script)
    ended_by_a_kill(tmp_path / "script.py", lambda: any(path.is_file() for path in Path("started").rglob("*")))


# Finishing


def test_finish_makes_the_output_of_the_folder_of_artefacts():
    def join(folder: Path, output: Path) -> None:
        write_text(output, "".join(f"{(folder / f'{clip.key}.txt').read_text()}\n" for clip in CLIPS))

    run(partial(copy_name, "x"), finish=join)
    assert OUT.read_text().splitlines() == [f"x {clip.key}" for clip in CLIPS]
    assert list(Path(".scratch").iterdir()) == []


def test_an_error_in_finish_loses_no_clip(tmp_path):
    def fail(folder: Path, output: Path) -> None:
        raise VadError("the disk is full")

    with pytest.raises(VadError):
        run(partial(note_and_copy, tmp_path / "log"), finish=fail)
    (tmp_path / "log").unlink()
    assert run(partial(note_and_copy, tmp_path / "log")) == {"clips": 6, "frames": 30}
    assert done_in(tmp_path / "log") == []
    assert made() == WHOLE


def other_disk(monkeypatch):
    """Renames from scratch fail as between two disks."""
    real = os.rename

    def rename(source, target, **more):
        if ".scratch" in str(source) and ".scratch" not in str(target):
            raise OSError(18, "Invalid cross-device link")
        return real(source, target, **more)

    monkeypatch.setattr(os, "rename", rename)


def test_an_output_on_another_disk_is_copied_then_renamed(monkeypatch):
    other_disk(monkeypatch)
    run(partial(copy_name, "x"))
    assert made() == WHOLE
    assert sorted(p.name for p in OUT.parent.iterdir()) == [ownership.LEDGER, "out"]


def test_a_copy_that_fails_leaves_no_output_and_loses_no_clip(monkeypatch, tmp_path):
    def full(source, target):
        shutil.copytree(source / "training", target / "training")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as context:
        context.setattr(ownership.shutil, "move", full)
        with pytest.raises(OSError, match="No space left on device"):
            run(partial(note_and_copy, tmp_path / "log"))
    assert list(OUT.parent.iterdir()) == []
    (tmp_path / "log").unlink()
    run(partial(note_and_copy, tmp_path / "log"))
    assert done_in(tmp_path / "log") == []
    assert made() == WHOLE


def test_publish_takes_the_place_of_what_a_killed_copy_left():
    ownership.begin(OUT.with_name(".out.partial"))
    write_text(OUT.with_name(".out.partial") / "old.txt", "old")
    write_text(Path("made/new.txt"), "new")
    publish(Path("made"), OUT)
    assert made() == {"new.txt": "new"}


# Fingerprints

mark = partial(fingerprint, "vadlib.pipeline.detect")


def test_fingerprints_are_equal_for_equal_settings_and_differ_for_others():
    assert mark(DisSettings(), "raw") == mark(DisSettings(), "raw")
    parts = [
        (DisSettings(), "raw"),
        (DisSettings(preset="fast"), "raw"),
        (DisSettings(), "flow"),
        (CubeSettings(), "raw"),
        ("raw", DisSettings()),
        (DisSettings(),),
        (DisSettings(), "ra", "w"),
        (DisSettings(), 1),
        (DisSettings(), "1"),
        (DisSettings(), {"eta": [0.1]}),
        (DisSettings(), {"eta": [0.2]}),
    ]
    assert len({mark(*part) for part in parts}) == len(parts)


def test_fingerprints_know_names_sizes_and_times_of_files():
    def one(name="a", text="x", time=1_000_000_000):
        shutil.rmtree("folder", ignore_errors=True)
        write_text(Path("folder/in") / name, text)
        os.utime(Path("folder/in") / name, ns=(time, time))
        return mark(Path("folder"))

    assert one() == one()
    assert len({one(), one(name="b"), one(text="xy"), one(time=2_000_000_000)}) == 4


def test_fingerprints_follow_links_to_folders_and_end_where_they_go_round():
    write_text(Path("elsewhere/clip/001.jpg"), "x")
    Path("data").mkdir()
    Path("data/training").symlink_to(Path("elsewhere").absolute())
    Path("elsewhere/clip/round").symlink_to(Path("elsewhere").absolute())
    before = mark(Path("data"))
    assert mark(Path("data")) == before
    write_text(Path("elsewhere/clip/002.jpg"), "x")
    assert mark(Path("data")) != before


def test_a_path_that_is_not_there_has_a_fingerprint_until_it_is():
    before = mark(Path("weights"))
    write_text(Path("weights/a"), "x")
    assert mark(Path("weights")) != before


def test_fingerprints_change_with_the_code(monkeypatch):
    before = mark("x"), fingerprint("vadlib.pipeline.flow", "x")
    assert len(set(before)) == 2
    monkeypatch.setattr(mapping, "code_digest", lambda module: f"other code, but of {module}")
    assert not {mark("x"), fingerprint("vadlib.pipeline.flow", "x")} & set(before)


# Progress


def test_progress_is_silent_where_standard_error_is_no_terminal(capsys):
    run(partial(copy_name, "x"))
    assert capsys.readouterr() == ("", "")


def test_progress_on_a_terminal_counts_clips_and_begins_where_a_killed_run_ended(capsys, monkeypatch, tmp_path):
    with pytest.raises(VadError):
        run(partial(fail_at, "testing/02", VadError, tmp_path / "log"))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    run(partial(copy_name, "x"))
    shown = capsys.readouterr().err
    assert re.findall(r"(\d)/6", shown)[0] == "4"
    assert re.findall(r"(\d)/6", shown)[-1] == "6"
    assert shown.startswith("\rtest:")


def test_progress_of_an_unknown_total_is_silent_too(capsys):
    with progress(None, "x", "step") as bar:
        bar.update()
    assert capsys.readouterr() == ("", "")


def in_the_middle(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] + b"?" + content[len(content) // 2 + 1 :])


@pytest.mark.parametrize("spoil", [lambda path: path.write_bytes(path.read_bytes()[:-3]), in_the_middle])
@pytest.mark.parametrize("what", ["made/training/01.txt", "counts/training/01.json"])
@pytest.mark.parametrize("ends", [1 << 16, 1])
def test_unfinished_work_that_was_damaged_meanwhile_is_made_again(tmp_path, monkeypatch, what, spoil, ends):
    """Whole files are looked at, not what tells whose they are: their ends."""
    monkeypatch.setattr(ownership, "_ENDS", ends)
    log = tmp_path / "log"
    with pytest.raises(VadError):
        run(partial(fail_at, "testing/03", VadError, log))
    (kept,) = Path(".scratch").glob(f"*/{what}")
    spoil(kept)
    before = log.read_text().count("\n")
    assert run(partial(note_and_copy, log)) == {"clips": 6, "frames": 30}
    assert [line.split()[0] for line in log.read_text().splitlines()[before:]] == ["training/01", "testing/03"]
    assert made() == WHOLE


def test_two_runs_do_not_work_on_one_output(tmp_path):
    with (
        alone_in(scratch_folder(OUT, "0" * 64)),
        pytest.raises(VadError, match="another run is at work there; wait until it has ended"),
    ):
        run(partial(copy_name, "x"))
    assert not OUT.exists()
