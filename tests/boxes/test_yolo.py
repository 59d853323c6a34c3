"""YOLO detectors: coordinates, batches, the kinds of file, and what is said where one cannot be used."""

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from vadlib.boxes.kinds import yolo
from vadlib.boxes.kinds.registry import make_detector
from vadlib.errors import VadError
from vadlib.manifest import Clip
from vadlib.settings import RuleSettings, YoloSettings

CLIP = Clip("01", "testing", "data/x/testing/frames/01", 4, 360, 240)
STREET = Path(__file__).resolve().parents[2] / "weights/synthetic/street_yolo.safetensors"
ARCHITECTURE = {
    "nc": 3,
    "channels": 3,
    "backbone": [[-1, 1, "Conv", [8, 3, 2]], [-1, 1, "Conv", [16, 3, 2]], [-1, 1, "Conv", [16, 3, 2]]],
    "head": [[[1, 2], 1, "Detect", [3]]],
}


def noise(frames: int, height: int = 240, width: int = 360) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (frames, height, width, 3)).astype(np.uint8))


@pytest.fixture
def tiny(tmp_path) -> Path:
    """An untrained detector in the project's own format."""
    from safetensors.torch import save_file

    tasks = yolo._ultralytics()
    torch.manual_seed(0)
    model = tasks.DetectionModel(ARCHITECTURE, verbose=False)
    state = {name: value.half() for name, value in model.state_dict().items()}
    path = tmp_path / "tiny.safetensors"
    save_file(state, path, {"yaml": json.dumps(ARCHITECTURE), "names": '["a", "b", "c"]', "imgsz": "64"})
    return path


def detector(path: Path, confidence: float = 0.5, **settings):
    settings = YoloSettings(weights=path.name, rules=RuleSettings(confidence=confidence), **settings)
    return make_detector(settings, path.parent, Path(), [CLIP])


def stand_in(output, end2end=False, size=None, seen=None):
    """What ultralytics' AutoBackend gives, without its network."""

    def model(images):
        if seen is not None:
            seen.append(images)
        return torch.stack([torch.as_tensor(o, dtype=torch.float32) for o in output(images)])

    model.end2end, model.device = end2end, torch.device("cpu")
    model.format, model.imgsz, model.dynamic = ("openvino", size, False) if size else ("pt", None, False)
    return model


def find_white(images):
    """One anchor that boxes what is white: (centre, width and height, two class scores) x 1."""
    for image in images:
        rows, columns = torch.nonzero(image.mean(0) > 0.9, as_tuple=True)
        x1, x2, y1, y2 = columns.min(), columns.max() + 1, rows.min(), rows.max() + 1
        yield [[(x1 + x2) / 2], [(y1 + y2) / 2], [x2 - x1], [y2 - y1], [0.3], [0.9]]


@pytest.mark.parametrize("size", [None, (640, 640)])
@pytest.mark.parametrize(("width", "height"), [(360, 240), (240, 360), (1921, 1077), (33, 500)])
def test_boxes_come_back_in_source_pixels(monkeypatch, width, height, size):
    monkeypatch.setattr(yolo, "_load", lambda path, device: stand_in(find_white, size=size))
    frame = np.zeros((height, width, 3), np.uint8)
    x1, y1, x2, y2 = width // 4, height // 3, width // 2, height * 2 // 3
    frame[y1:y2, x1:x2] = 255
    boxes = detector(Path("w.pt"))(CLIP, 0, [frame])[0]
    pixel = max(width, height) / 640  # of the network's input, in source pixels
    assert np.abs(boxes.xyxy - [[x1, y1, x2, y2]]).max() <= max(pixel, 1)
    assert boxes.score.tolist() == pytest.approx([0.9])
    assert boxes.cls.tolist() == [1]


def test_input_holds_the_longer_side_and_multiples_of_32(monkeypatch):
    seen = []
    monkeypatch.setattr(yolo, "_load", lambda path, device: stand_in(find_white, seen=seen))
    detector(Path("w.pt"), image_size=640)(CLIP, 0, [np.full((240, 360, 3), 255, np.uint8)])
    assert seen[0].shape == (1, 3, 448, 640)
    # 427 rows of the frame, the rest grey, half above and half below.
    assert (seen[0][0, 0, :, 0] == 1).nonzero().flatten().tolist() == list(range(10, 437))
    assert float(seen[0][0, 0, 0, 0]) == pytest.approx(114 / 255)


def test_channels_stay_red_green_blue(monkeypatch):
    seen = []
    monkeypatch.setattr(yolo, "_load", lambda path, device: stand_in(lambda images: [torch.zeros(6, 0)], seen=seen))
    detector(Path("w.pt"), image_size=64)(CLIP, 0, [np.full((64, 64, 3), (255, 0, 51), np.uint8)])
    assert seen[0][0, :, 0, 0].tolist() == pytest.approx([1, 0, 0.2])


def test_overlapping_boxes_of_a_class_are_suppressed_and_others_kept(monkeypatch):
    def output(images):
        centres = [[32.0, 33.0, 32.0], [32.0, 32.0, 32.0], [20.0] * 3, [20.0] * 3]
        return [[*centres, [0.9, 0.8, 0.0], [0.0, 0.0, 0.7]]]

    monkeypatch.setattr(yolo, "_load", lambda path, device: stand_in(output))
    boxes = detector(Path("w.pt"), image_size=64)(CLIP, 0, [np.zeros((64, 64, 3), np.uint8)])[0]
    assert boxes.score.tolist() == pytest.approx([0.9, 0.7])
    assert boxes.cls.tolist() == [0, 1]


def test_networks_that_suppress_by_themselves(monkeypatch):
    def output(images):
        return [[[1, 2, 33, 44, 0.9, 5], [3, 4, 30, 40, 0.8, 5], [0, 0, 9, 9, 0.1, 0]]]

    monkeypatch.setattr(yolo, "_load", lambda path, device: stand_in(output, end2end=True))
    boxes = detector(Path("w.pt"), image_size=64)(CLIP, 0, [np.zeros((64, 64, 3), np.uint8)])[0]
    assert boxes.xyxy.tolist() == [[1, 2, 33, 44], [3, 4, 30, 40]]


def same_boxes(detect, frames, batch) -> float:
    """The largest difference of any coordinate between one frame at a time and `batch` at a time."""
    alone = [detect(CLIP, t, [frame])[0] for t, frame in enumerate(frames)]
    together = [b for t in range(0, len(frames), batch) for b in detect(CLIP, t, frames[t : t + batch])]
    assert [b.cls.tolist() for b in together] == [b.cls.tolist() for b in alone]
    assert sum(map(len, alone)) > 0
    return max(np.abs(a.xyxy - b.xyxy).max(initial=0) for a, b in zip(alone, together, strict=True))


@pytest.mark.parametrize("batch", [3, 4])
def test_untrained_detector_gives_the_same_boxes_in_any_batch(tiny, batch):
    frames = noise(4, 64, 96)
    assert same_boxes(detector(tiny, confidence=0.0, image_size=96), frames, batch) < 0.01


@pytest.mark.skipif(not STREET.exists(), reason="needs the embedded detector")
@pytest.mark.parametrize("batch", [4, 16])
def test_embedded_detector_gives_the_same_boxes_in_any_batch(batch):
    detect = detector(STREET, confidence=0.01, image_size=320)
    blocks = [cv2.resize(f, (320, 224), interpolation=cv2.INTER_NEAREST) for f in noise(16, 7, 10)]
    assert same_boxes(detect, blocks, batch) < 0.001


@pytest.mark.parametrize("batch", [4, 16])
def test_coco_model_gives_the_same_boxes_in_any_batch(shared, batch):
    pytest.importorskip("openvino")
    folder = shared / "data/ped2/testing/frames/04"
    frames = [cv2.cvtColor(cv2.imread(str(p)), cv2.COLOR_BGR2RGB) for p in sorted(folder.glob("*.jpg"))[:16]]
    detect = detector(shared / "weights/yolo11n_int8_openvino_model", confidence=0.25)
    assert same_boxes(detect, frames, batch) < 0.001


def test_pt_file_of_ultralytics_is_read(tiny, tmp_path):
    model = yolo._from_safetensors(tiny, yolo._ultralytics())
    torch.save({"model": model, "ema": None, "train_args": {}}, tmp_path / "tiny.pt")
    frames = noise(1, 64, 96)
    settings = {"confidence": 0.0, "image_size": 96}
    ours, theirs = (detector(p, **settings)(CLIP, 0, frames)[0] for p in (tiny, tmp_path / "tiny.pt"))
    assert np.array_equal(ours.xyxy, theirs.xyxy)
    assert len(ours) > 0


@pytest.mark.skipif(not STREET.exists(), reason="needs the embedded detector")
def test_onnx_export_gives_the_same_boxes(tmp_path):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    model = yolo._from_safetensors(STREET, yolo._ultralytics())
    model.model[-1].export = True
    names = {"input_names": ["images"], "output_names": ["output0"]}
    torch.onnx.export(model, torch.zeros(1, 3, 224, 320), tmp_path / "street.onnx", dynamo=False, **names)
    content = onnx.load(tmp_path / "street.onnx")
    metadata = {"task": "detect", "imgsz": "[224, 320]", "names": "{0: 'object'}", "stride": "32"}
    onnx.helper.set_model_props(content, metadata)
    onnx.save(content, tmp_path / "street.onnx")
    frame = cv2.resize(noise(1, 7, 10)[0], (320, 224), interpolation=cv2.INTER_NEAREST)
    settings = {"confidence": 0.01, "image_size": 320}
    ours, theirs = (detector(p, **settings)(CLIP, 0, [frame])[0] for p in (STREET, tmp_path / "street.onnx"))
    assert np.abs(ours.xyxy - theirs.xyxy).max() < 0.001
    assert len(ours) > 0


class Touch:
    """Unpickled, it would leave a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_code_in_a_pt_file_does_not_run(tmp_path):
    torch.save({"model": Touch(tmp_path / "ran")}, tmp_path / "hostile.pt")
    with pytest.raises(VadError, match=r"hostile\.pt: cannot be loaded"):
        detector(tmp_path / "hostile.pt")
    assert not (tmp_path / "ran").exists()


def test_expression_in_a_safetensors_file_is_not_evaluated(tiny, tmp_path):
    from safetensors.torch import load_file, save_file

    hostile = ARCHITECTURE | {"activation": f"__import__('os').mkdir({str(tmp_path / 'ran')!r})"}
    save_file(load_file(tiny), tiny, {"yaml": json.dumps(hostile), "names": "[]"})
    with pytest.raises(VadError, match="cannot be loaded"):
        detector(tiny)
    assert not (tmp_path / "ran").exists()


def test_safetensors_without_architecture_is_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors", {"names": "[]"})
    with pytest.raises(VadError, match="its metadata lacks yaml"):
        detector(tmp_path / "other.safetensors")


def test_truncated_file_is_one_line(tiny):
    tiny.write_bytes(tiny.read_bytes()[:-100])
    with pytest.raises(VadError, match=r"tiny\.safetensors: cannot be loaded as a YOLO detector") as error:
        detector(tiny)
    assert "\n" not in str(error.value)


def test_openvino_folder_without_its_files_is_one_line(tmp_path):
    pytest.importorskip("openvino")
    (tmp_path / "x_openvino_model").mkdir()
    with pytest.raises(VadError, match="x_openvino_model: cannot be loaded"):
        detector(tmp_path / "x_openvino_model")


@pytest.mark.parametrize(
    ("name", "advice"),
    [("x_openvino_model", r"pip install 'vadlib\[openvino\]'"), ("x.onnx", r"pip install 'vadlib\[onnx\]'")],
)
def test_missing_runtime_says_what_to_install(tmp_path, monkeypatch, name, advice):
    monkeypatch.setattr(yolo.importlib.util, "find_spec", lambda package: None)
    with pytest.raises(VadError, match=advice):
        detector(tmp_path / name)


def test_unknown_kind_of_weights_is_refused(tmp_path):
    with pytest.raises(VadError, match=r"not a kind of YOLO weights; expected \.pt"):
        detector(tmp_path / "x.engine")


def test_name_nobody_publishes_is_not_looked_for(tmp_path):
    with pytest.raises(VadError, match=r"mine\.pt: not found; put the weights there"):
        detector(tmp_path / "mine.pt")


def test_failed_download_says_what_from_where_and_where_to(tmp_path, monkeypatch):
    yolo._ultralytics()
    from ultralytics.utils import downloads

    def fail(path):
        Path(path).write_bytes(b"half")
        raise ConnectionError("no network")

    monkeypatch.setattr(downloads, "attempt_download_asset", fail)
    with pytest.raises(VadError) as error:
        detector(tmp_path / "ped2" / "yolo11n.pt")
    assert str(error.value) == (
        f"{tmp_path}/ped2/yolo11n.pt: not found, and could not be downloaded (no network); "
        "download it from https://github.com/ultralytics/assets/releases and put it there"
    )
    assert list((tmp_path / "ped2").iterdir()) == []


def test_importing_ultralytics_installs_nothing_and_keeps_threads_and_image_reader():
    from PIL import Image

    cv2.setNumThreads(1)
    opened = Image.open
    tasks = yolo._ultralytics()
    from ultralytics.utils import checks

    assert cv2.getNumThreads() == 1
    assert Image.open is opened
    assert Image.open.__module__ == "PIL.Image"
    assert checks.AUTOINSTALL is False
    assert tasks._SafeLoad.restricted()
