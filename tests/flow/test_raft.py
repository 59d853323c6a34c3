"""RAFT: what it is given, and what is said where it cannot work. Its weights are not in the repository."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision import models

from vadlib.errors import VadError
from vadlib.flow.fields import flow_of_clip
from vadlib.flow.kinds import raft
from vadlib.flow.kinds.raft import make_estimator
from vadlib.manifest import Clip
from vadlib.settings import RaftSettings

CLIP = Clip("01", "testing", "data/x/testing/frames/01", 4, 160, 136)
FILE = "raft_small_C_T_V2-01064c6d.pth"


@pytest.fixture(scope="module")
def untrained(tmp_path_factory) -> Path:
    """A weights folder with a file of the name and layout of torchvision's."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    torch.save(models.get_model("raft_small", weights=None).state_dict(), folder / FILE)
    return folder


def noise(frames: int, height: int, width: int) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (frames, height, width, 3)).astype(np.uint8))


def flow(folder: Path, frames, **settings) -> list[np.ndarray]:
    estimator = make_estimator(RaftSettings(kind="raft_small", **settings), folder, Path("data"), "cpu")
    return list(flow_of_clip(CLIP, frames, estimator))


@pytest.mark.parametrize(("height", "width"), [(128, 128), (50, 60), (130, 141)])
def test_fields_have_the_size_of_the_frames(untrained, height, width):
    fields = flow(untrained, noise(2, height, width))
    assert [field.shape for field in fields] == [(height, width, 2)] * 2


def test_flow_does_not_depend_on_the_batch(untrained, monkeypatch):
    frames = noise(3, 128, 136)
    together = flow(untrained, frames)
    monkeypatch.setattr(raft, "MAX_BATCH", 1)
    alone = flow(untrained, frames)
    assert len(together) == len(alone) == 3
    for a, b in zip(together, alone, strict=True):
        assert np.abs(a - b).max() < 1e-3 * max(np.abs(b).max(), 1)


def test_one_frame_clip_has_no_motion(untrained):
    assert not flow(untrained, noise(1, 128, 128))[0].any()


def test_clip_without_frames_has_no_flow(untrained):
    assert flow(untrained, []) == []


def test_frames_too_large_for_the_memory_ask_for_a_working_size(untrained):
    with pytest.raises(VadError, match=r"needs 5\.2 GiB for frames of 1920x1080 px; .*flow\.size: \[960, 544\]"):
        flow(untrained, [np.zeros((1080, 1920, 3), np.uint8)] * 2)


def test_weights_that_cannot_be_downloaded_say_from_where_and_where_to(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    with pytest.raises(VadError) as error:
        flow(tmp_path / "w", [])
    assert str(error.value) == (
        f"{tmp_path}/w/{FILE}: not found, and could not be downloaded (no network); "
        f"download https://download.pytorch.org/models/{FILE} and put it there"
    )


def test_damaged_weights_are_one_line(tmp_path):
    (tmp_path / FILE).write_bytes(b"no weights")
    with pytest.raises(VadError, match="not weights, or damaged"):
        flow(tmp_path, [])


def test_weights_in_torchs_cache_are_found(untrained, tmp_path, monkeypatch):
    (tmp_path / "hub/checkpoints").mkdir(parents=True)
    (tmp_path / "hub/checkpoints" / FILE).write_bytes((untrained / FILE).read_bytes())
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert flow(tmp_path / "none", []) == []


@pytest.mark.parametrize(("size", "tolerance"), [(None, 0.1), ((144, 128), 0.2)])
def test_trained_raft_finds_a_shift(shared, size, tolerance):
    import cv2

    path = shared / "data/ped2/testing/frames/01/001.jpg"
    image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    image = cv2.resize(image, (400, 280), interpolation=cv2.INTER_CUBIC)
    frames = [image[70:206, 100:260], image[68:204, 97:257]]
    field = flow(shared / "weights", frames, size=size)[0]
    assert np.abs(field[40:-40, 40:-40].mean((0, 1)) - [3, 2]).max() < tolerance
