"""The permissively licensed detector, with untrained weights in the place of torchvision's."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision import models

from vadlib.boxes.kinds.registry import make_detector
from vadlib.boxes.kinds.torchvision_detector import _coco_ids
from vadlib.errors import VadError
from vadlib.manifest import Clip
from vadlib.settings import RuleSettings, TorchvisionDetectorSettings

NAME = "ssdlite320_mobilenet_v3_large"  # the smallest of them
CLIP = Clip("01", "testing", "data/x/testing/frames/01", 3, 96, 64)


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """A folder with a file of the name and layout of torchvision's."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    model = models.get_model(NAME, weights=None, weights_backbone=None)
    torch.save(model.state_dict(), folder / models.get_model_weights(NAME).DEFAULT.url.rsplit("/", 1)[1])
    return folder


def detector(folder: Path, name: str = NAME):
    settings = TorchvisionDetectorSettings(model=name, rules=RuleSettings(confidence=0.0))
    return make_detector(settings, folder, Path(), [CLIP])


def test_boxes_do_not_depend_on_the_batch(weights):
    frames = list(np.random.default_rng(0).integers(0, 256, (3, 64, 96, 3)).astype(np.uint8))
    detect = detector(weights)
    together = detect(CLIP, 0, frames)
    alone = [detect(CLIP, t, [frame])[0] for t, frame in enumerate(frames)]
    for a, b in zip(together, alone, strict=True):
        assert len(a) > 0
        assert np.allclose(a.score, b.score, atol=1e-5)
        assert np.allclose(a.xyxy, b.xyxy, atol=1e-2)
        assert a.cls.tolist() == b.cls.tolist()


def test_boxes_are_in_source_pixels(weights):
    boxes = detector(weights)(CLIP, 0, [np.zeros((64, 96, 3), np.uint8)])[0]
    assert boxes.xyxy.min() >= 0
    assert boxes.xyxy[:, [0, 2]].max() <= 96
    assert boxes.xyxy[:, [1, 3]].max() <= 64


def test_labels_become_coco_classes_from_zero():
    categories = models.get_model_weights(NAME).DEFAULT.meta["categories"]
    ids = _coco_ids(categories)
    assert ids[categories.index("person")] == 0
    assert ids[categories.index("toothbrush")] == 79
    assert ids[0] == -1


def test_unknown_name_lists_the_known(tmp_path):
    with pytest.raises(VadError, match=f"has no detector 'yolo'; it has: .*{NAME}"):
        detector(tmp_path, "yolo")


def test_weights_that_cannot_be_downloaded_say_from_where_and_where_to(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    with pytest.raises(VadError) as error:
        detector(tmp_path / "w")
    url = models.get_model_weights(NAME).DEFAULT.url
    file = tmp_path / "w" / url.rsplit("/", 1)[1]
    assert str(error.value) == (
        f"{file}: not found, and could not be downloaded (no network); download {url} and put it there"
    )


def test_damaged_weights_are_one_line(tmp_path):
    file = tmp_path / models.get_model_weights(NAME).DEFAULT.url.rsplit("/", 1)[1]
    file.write_bytes(b"PK not a file of torch")
    with pytest.raises(VadError, match="not weights, or damaged"):
        detector(tmp_path)


def test_weights_of_another_model_are_refused(tmp_path):
    file = tmp_path / models.get_model_weights(NAME).DEFAULT.url.rsplit("/", 1)[1]
    torch.save({"x": torch.zeros(1)}, file)
    with pytest.raises(VadError, match=f"not the weights of torchvision's {NAME}"):
        detector(tmp_path)
