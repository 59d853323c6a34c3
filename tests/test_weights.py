"""Weights: what they made says which they were, and other weights are never taken for them."""

import hashlib
import json
from pathlib import Path

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from tests.layouts import write_images
from tests.projects import MOTION, run_stages, settings
from vadlib.boxes.kinds import yolo
from vadlib.io.weights import record
from vadlib.pipeline import detect

YOLO = {"kind": "yolo", "weights": "mine.safetensors", "image_size": 64, "rules": {"confidence": 0.0}}
RAFT = {"kind": "raft_small"}
RAFT_FILE = "raft_small_C_T_V2-01064c6d.pth"


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """Three frames of noise to train on and three to test, detector weights, and a place for those of flow."""
    noise = np.random.default_rng(0).integers(0, 256, (3, 32, 48, 3)).astype(np.uint8)
    for split in ("training", "testing"):
        write_images(tmp_path / "data/mini" / split / "frames/01", noise, "{:03d}.png")
    (tmp_path / "weights/mini").mkdir(parents=True)
    (tmp_path / "weights/flow").mkdir()
    monkeypatch.chdir(tmp_path)
    write_detector(Path("weights/mini/mine.safetensors"), seed=0)
    return tmp_path


def write_detector(path: Path, seed: int) -> None:
    """A small YOLO with random weights, in the project's own format."""
    from safetensors.torch import save_file

    conv = [[-1, 1, "Conv", [8, 3, 2]]] * 3
    architecture = {"nc": 1, "channels": 3, "backbone": conv, "head": [[[1, 2], 1, "Detect", [1]]]}
    tasks = yolo._ultralytics()
    torch.manual_seed(seed)
    state = tasks.DetectionModel(architecture, verbose=False).state_dict()
    save_file({name: v.half() for name, v in state.items()}, path, {"yaml": json.dumps(architecture), "names": '["a"]'})


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def recorded_in_boxes() -> dict[str, str]:
    metadata = pq.read_schema("work/mini/boxes.parquet").metadata or {}
    return {key.decode(): value.decode() for key, value in metadata.items()}


def recorded_in_flow() -> dict[str, str]:
    with h5py.File("work/mini/flow/testing/01.h5") as file:
        return {key: value for key, value in file["flow"].attrs.items() if key.startswith("weights")}


def test_boxes_and_flow_name_the_weights_that_made_them(project):
    from torchvision import models

    torch.manual_seed(0)
    torch.save(models.get_model("raft_small", weights=None).state_dict(), project / "weights/flow" / RAFT_FILE)
    run_stages(settings(detector=YOLO, flow=RAFT), ["prepare", "detect", "flow"])
    assert recorded_in_boxes() == {
        "weights": "mine.safetensors",
        "weights_sha256": digest(project / "weights/mini/mine.safetensors"),
    }
    assert recorded_in_flow() == {
        "weights": RAFT_FILE,
        "weights_sha256": digest(project / "weights/flow" / RAFT_FILE),
    }


def test_what_needs_no_weights_names_none(project):
    run_stages(settings(detector=MOTION), ["prepare", "detect", "flow"])
    assert recorded_in_boxes() == recorded_in_flow() == {}


def test_a_folder_of_weights_is_known_by_all_its_files(tmp_path):
    folder = tmp_path / "x_openvino_model"
    folder.mkdir()
    found = []
    for name, content in (("x.xml", "a"), ("x.bin", "b"), ("x.bin", "c")):
        (folder / name).write_text(content)
        found.append(record(folder))
    assert {one["weights"] for one in found} == {"x_openvino_model"}
    assert len({one["weights_sha256"] for one in found}) == 3


@pytest.mark.parametrize("exchanged", [False, True])
def test_finished_clips_are_kept_only_for_the_weights_that_made_them(project, monkeypatch, exchanged):
    chosen, begun, real = settings(detector=YOLO), [], detect.read_frames

    def killed(clip):
        begun.append(clip.key)
        if len(begun) == 2:
            raise KeyboardInterrupt
        return real(clip)

    run_stages(chosen, ["prepare"])
    monkeypatch.setattr(detect, "read_frames", killed)
    with pytest.raises(KeyboardInterrupt):
        run_stages(chosen, ["detect"])
    if exchanged:
        write_detector(project / "weights/mini/mine.safetensors", seed=1)
    run_stages(chosen, ["detect"])
    assert begun[2:] == (["training/01", "testing/01"] if exchanged else ["testing/01"])
    assert recorded_in_boxes()["weights_sha256"] == digest(project / "weights/mini/mine.safetensors")
