"""Stages by a Ray cluster: the same bytes as by this process, whatever becomes of the workers."""

import os
import shutil
import time
from functools import partial
from pathlib import Path

import pytest

from tests.test_mapping import WHOLE, made, run
from tests.work import copy_name, fails, killed_once, note_process
from vadlib.errors import VadError
from vadlib.pipeline import mapping
from vadlib.settings import ComputeSettings

ray = pytest.importorskip("ray", reason="needs Ray: pip install 'vadlib[ray]'")

CLUSTER = ComputeSettings(executor="ray", workers=2, precision="fp32")
SHARED_OUT = ["detect", "flow", "build_raw", "build_flow", "score"]


@pytest.fixture(scope="module", autouse=True)
def _cluster():
    """One cluster of this machine for all tests: it takes seconds to begin. Where another was is nothing to it. It is
    told of a GPU, which Ray deals out without looking for it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ADDRESS", "127.0.0.1:1")
        patch.setattr(ray, "init", partial(ray.init, num_gpus=1))
        yield
    ray.shutdown()


@pytest.fixture(autouse=True)
def _in_tmp(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    from tests.projects import make_packaged

    return make_packaged(tmp_path_factory.mktemp("local") / "project")


@pytest.mark.slow
def test_a_worker_killed_in_each_stage_leaves_the_bytes_of_the_local_executor(finished, tmp_path, monkeypatch):
    from tests.projects import MOTION, artefacts, leftovers, run_stages, settings

    project = tmp_path / "project"
    shutil.copytree(finished, project, symlinks=True)
    monkeypatch.chdir(project)
    real = mapping.run
    for stage in SHARED_OUT:
        flag = tmp_path / f"killed in {stage}"
        monkeypatch.setattr(
            mapping, "run", lambda work, *more, flag=flag: real(partial(killed_once, flag, work), *more)
        )
        before = artefacts(project)
        counts = run_stages(settings(source={"layout": "videos"}, detector=MOTION), [stage], CLUSTER)
        assert flag.exists(), f"nobody was killed in {stage}"
        assert counts[stage]["clips"] == (3 if stage == "score" else 5)
        assert artefacts(project) == before, stage
    assert leftovers(project) == []
    assert not any(Path(".scratch").iterdir())
    assert artefacts(project) == artefacts(finished)


def test_workers_are_two_other_processes(tmp_path):
    (tmp_path / "log").mkdir()
    assert run(partial(note_process, tmp_path / "log", 2), workers=2, executor="ray") == {"clips": 6, "frames": 30}
    pids = {int(path.name) for path in (tmp_path / "log").iterdir()}
    assert len(pids) == 2
    assert os.getpid() not in pids
    assert made() == WHOLE


@pytest.mark.parametrize(("share", "workers", "seen"), [(0.5, 2, "0"), (1.0, 1, "0"), (0.0, 2, "")])
def test_workers_get_the_share_of_a_gpu_that_the_settings_say(tmp_path, share, workers, seen):
    """Two at half of the one GPU; of those that take all of it one at a time, so that the first does everything; who
    asks for none sees none."""
    (tmp_path / "log").mkdir()
    run(partial(note_process, tmp_path / "log", workers), workers=2, executor="ray", worker_gpus=share)
    assert [path.read_text("ascii") for path in (tmp_path / "log").iterdir()] == [seen] * workers
    assert made() == WHOLE


def test_ctrl_c_keeps_finished_clips_and_ends_the_workers(tmp_path, monkeypatch):
    (tmp_path / "log").mkdir()
    real = ray.wait

    def wait(*given, **more):
        if len(list(Path(".scratch").glob("*/made/*/*.txt"))) >= 3:
            raise KeyboardInterrupt
        return real(*given, **more)

    monkeypatch.setattr(ray, "wait", wait)
    with pytest.raises(KeyboardInterrupt):
        run(partial(note_process, tmp_path / "log", 2), workers=2, executor="ray")
    monkeypatch.setattr(ray, "wait", real)
    until = time.monotonic() + 60
    workers = [Path("/proc") / path.name for path in (tmp_path / "log").iterdir()]
    while any(worker.exists() for worker in workers) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(worker.exists() for worker in workers)
    assert run(partial(copy_name, "made anew"), workers=2, executor="ray")["clips"] == 6
    assert sum(text.startswith("x ") for text in made().values()) in (3, 4)  # two may have been done at once


def test_a_clip_that_fails_is_tried_again(tmp_path, capsys):
    (tmp_path / "log").mkdir()
    assert run(partial(fails, 2, tmp_path / "log"), workers=2, executor="ray", retries=2)["clips"] == 6
    assert len(list((tmp_path / "log").glob("*.try"))) == 3
    assert made() == WHOLE
    told = capsys.readouterr().err
    assert "clip training/02: OSError: [Errno 5] try 1; it is tried again (1 of 2 times)" in told


def test_a_poisoned_clip_is_named_after_its_last_try_and_loses_no_other(tmp_path):
    (tmp_path / "log").mkdir()
    with pytest.raises(VadError, match=r"^1 task failed in each of 2 tries: clip training/02: OSError: .*try 2.* kept"):
        run(partial(fails, 9, tmp_path / "log"), workers=2, executor="ray", retries=1)
    (folder,) = [path for path in Path(".scratch").iterdir() if path.is_dir()]
    kept = {path.relative_to(folder / "made").as_posix() for path in (folder / "made").rglob("*.txt")}
    assert kept == WHOLE.keys() - {"training/02.txt"}
    assert run(partial(copy_name, "x"), workers=2, executor="ray")["clips"] == 6
    assert made() == WHOLE


def test_an_address_where_no_cluster_is_is_one_line(monkeypatch):
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", lambda **more: (_ for _ in ()).throw(ConnectionError("no answer")))
    with pytest.raises(
        VadError, match=r"compute.address: no Ray cluster at 10.0.0.9:6379 .* start one with `ray start"
    ):
        run(partial(copy_name, "x"), executor="ray", address="10.0.0.9:6379")


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(VadError, match=r"compute.executor: ray needs Ray: pip install 'vadlib\[ray\]'"):
        run(partial(copy_name, "x"), executor="ray")
