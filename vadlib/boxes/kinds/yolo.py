"""Appearance boxes by an ultralytics YOLO: .pt, .onnx, an OpenVINO folder, or a .safetensors of this project.

ultralytics is AGPL-3.0. This is the only module of the library that imports it, and only where a YOLO is
asked for.
"""

import atexit
import importlib.util
import os
import shutil
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from vadlib.boxes.table import APPEARANCE, Boxes, DetectFrames
from vadlib.errors import VadError
from vadlib.io.files import disk_full, is_disk_full, parsed_json
from vadlib.io.ownership import check
from vadlib.io.weights import torch_device
from vadlib.manifest import Clip
from vadlib.settings import YoloSettings

RELEASES = "https://github.com/ultralytics/assets/releases"
STRIDE = 32  # of every YOLO here; the sides of its input are multiples
GREY = 114  # what ultralytics pads with in training
NMS_IOU = 0.7  # ultralytics' default
MAX_BOXES = 300  # of a frame; ultralytics' default


def make_detector(
    settings: YoloSettings, weights_folder: Path, data_folder: Path, clips: Sequence[Clip], device: str
) -> DetectFrames:
    """The YOLO in `weights_folder` that the settings name. No class is filtered out.

    A frame is resized so that its longer side is `settings.image_size` and padded to multiples of 32 (an
    export of a fixed size has that size), each frame by itself, so that its boxes do not depend on its
    batch. A name ultralytics publishes (yolo11n.pt) is downloaded where the file is missing. Raises VadError
    where it cannot be, where the file is damaged or of an unknown kind, or a package its format needs is not
    installed.
    """
    import torch
    from torchvision.ops import batched_nms

    model = _load(weights_folder / settings.weights, device)
    size = _export_size(model)

    @torch.inference_mode()
    def detect(clip: Clip, first: int, frames: Sequence[np.ndarray]) -> list[Boxes]:
        height, width = frames[0].shape[:2]
        scale, shape = _fit(width, height, settings.image_size, size)
        inner = tuple(max(round(side * scale), 1) for side in (height, width))
        corner = tuple((outer - side) // 2 for outer, side in zip(shape, inner, strict=True))
        images = torch.from_numpy(np.stack([_letterbox(frame, shape, inner, corner) for frame in frames]))
        images = images.to(model.device).permute(0, 3, 1, 2).contiguous().float() / 255
        output = model(images)
        output = (output[0] if isinstance(output, (list, tuple)) else output).float().cpu()
        # Sides are rounded to whole pixels, so the two scales differ a little.
        scales = torch.tensor([inner[1] / width, inner[0] / height] * 2)
        origin = torch.tensor([corner[1], corner[0]] * 2)
        return [boxes(one, origin, scales) for one in output]

    def boxes(output: torch.Tensor, origin: torch.Tensor, scales: torch.Tensor) -> Boxes:
        if model.end2end:  # (300, 6): xyxy, score, class, already suppressed
            xyxy, score, ids = output[:, :4], output[:, 4], output[:, 5]
        else:  # (4 + classes, anchors): centre, width and height, a score for each class
            score, ids = output[4:].max(dim=0)
            centre, half = output[:2].T, output[2:4].T / 2
            xyxy = torch.cat([centre - half, centre + half], dim=1)
        sure = score > settings.rules.confidence
        xyxy, score, ids = xyxy[sure], score[sure], ids[sure]
        if not model.end2end:
            # ultralytics' own suppression stops after two seconds, with the boxes it has: not the same each
            # time.
            kept = batched_nms(xyxy, score, ids, NMS_IOU)[:MAX_BOXES]
            xyxy, score, ids = xyxy[kept], score[kept], ids[kept]
        return Boxes.of(((xyxy - origin) / scales).numpy(), APPEARANCE, score.numpy(), ids.numpy())

    return detect


def _fit(width: int, height: int, image_size: int, fixed: tuple[int, int] | None) -> tuple[float, tuple[int, int]]:
    """The scale of a frame, and the (height, width) of the network's input that then holds it."""
    if fixed is not None:
        return min(fixed[0] / height, fixed[1] / width), fixed
    scale = image_size / max(width, height)
    rows, columns = (-(-max(round(side * scale), 1) // STRIDE) * STRIDE for side in (height, width))
    return scale, (rows, columns)


def _letterbox(
    frame: np.ndarray, shape: tuple[int, int], inner: tuple[int, int], corner: tuple[int, int]
) -> np.ndarray:
    """The frame resized to `inner`, at `corner` of a grey image of `shape`; each (height, width)."""
    image = np.full((*shape, 3), GREY, np.uint8)
    (top, left), (height, width) = corner, inner
    image[top : top + height, left : left + width] = cv2.resize(frame, (width, height), interpolation=cv2.INTER_LINEAR)
    return image


def _check_installed() -> None:
    if importlib.util.find_spec("ultralytics") is None:
        raise VadError(
            "detector.kind: yolo needs ultralytics (AGPL-3.0): pip install 'vadlib[yolo]'; or take another kind: "
            "onnx or torchvision, or motion, which needs no weights"
        )


@cache
def _ultralytics() -> Any:
    """ultralytics' `nn.tasks`, imported so that it installs, sends and prints nothing.

    Its settings go to a folder of this process; its look-up of whether there is a network is skipped; the
    number of OpenCV's threads, which it sets to none, and Pillow's `Image.open`, which it replaces by one that
    wants further packages for a file that is no image, are put back.
    """
    _check_installed()
    folder = tempfile.mkdtemp(prefix="vadlib-ultralytics-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    wanted = {"YOLO_CONFIG_DIR": folder, "YOLO_VERBOSE": "false", "YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false"}
    before, threads = {name: os.environ.get(name) for name in wanted}, cv2.getNumThreads()
    open_image = Image.open
    os.environ.update(wanted)
    try:
        from ultralytics.nn import tasks
        from ultralytics.utils import checks
    finally:
        cv2.setNumThreads(threads)
        Image.open = open_image
        os.environ.update({name: value for name, value in before.items() if value is not None})
        for name in (name for name, value in before.items() if value is None):
            del os.environ[name]
    checks.AUTOINSTALL = False  # where ultralytics was imported before, too
    if not (hasattr(tasks, "SAFE_LOAD") and tasks._SafeLoad.SUPPORTED):
        raise VadError(
            "ultralytics is too old to load weights without running code in them: "
            "pip install -U ultralytics-opencv-headless"
        )
    tasks.SAFE_LOAD = True
    return tasks


def _load(weights: Path, device: str) -> Any:
    """ultralytics' AutoBackend for a file: images (n, 3, H, W) in [0, 1] to raw predictions."""
    _fetched(weights)
    tasks = _ultralytics()
    from ultralytics.nn.autobackend import AutoBackend

    try:
        if weights.suffix == ".pt":
            checkpoint, _ = tasks.torch_safe_load(str(weights), safe_only=True)
            model = (checkpoint.get("ema") or checkpoint["model"]).float().eval()
        elif weights.suffix == ".safetensors":
            model = _from_safetensors(weights, tasks)
        else:
            model = str(weights)
        model = AutoBackend(model, device=torch_device(device), fuse=True, verbose=False)
    except VadError:
        raise
    except Exception as error:  # each format and its runtime raise their own kinds
        reason = " ".join(str(error).split())[:200]
        raise VadError(f"{weights}: cannot be loaded as a YOLO detector ({reason}); get the file again") from None
    # A file's own metadata need not name its task; a .pt of another kind has other outputs.
    task = getattr(model.model, "task", None) or model.task
    if task not in (None, "detect"):
        raise VadError(f"{weights}: a YOLO for {task}, not for detection; take one such as yolo11n.pt from {RELEASES}")
    return model.eval()


def weights_file(settings: YoloSettings, weights_folder: Path) -> Path:
    """The weights' file or folder, once there is something at it: a name ultralytics publishes is downloaded.

    Raises VadError where that fails, for other names, for formats that cannot be read here, and without ultralytics.
    """
    _check_installed()
    return _fetched(weights_folder / settings.weights)


def _fetched(weights: Path) -> Path:
    _check_kind(weights)
    if not weights.exists():
        _download(weights)
    return weights


def _check_kind(weights: Path) -> None:
    """Raises VadError where the format is unknown, or its runtime is not installed."""
    needed: tuple[str, str] | None
    needs = {".pt": None, ".safetensors": None, ".onnx": ("onnxruntime", "pip install 'vadlib[onnx]'")}
    if weights.name.endswith("_openvino_model"):
        needed = ("openvino", "pip install 'vadlib[openvino]'")
    elif weights.suffix in needs:
        needed = needs[weights.suffix]
    else:
        raise VadError(
            f"{weights}: not a kind of YOLO weights; expected .pt, .onnx, .safetensors or a folder *_openvino_model"
        )
    if needed and importlib.util.find_spec(needed[0]) is None:
        raise VadError(f"{weights}: needs the package {needed[0]}: {needed[1]}")


def _from_safetensors(weights: Path, tasks: Any) -> Any:
    """A DetectionModel from a half-precision state dict; metadata holds its architecture and class names."""
    from safetensors import safe_open

    with safe_open(weights, "pt") as file:
        metadata = file.metadata() or {}
        missing = {"yaml", "names"} - metadata.keys()
        if missing:
            raise VadError(
                f"{weights}: not a detector of this project: its metadata lacks {', '.join(sorted(missing))}"
            )
        state = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118, not a dict
    model = tasks.DetectionModel(parsed_json(metadata["yaml"]), verbose=False)
    model.load_state_dict(state)
    names = parsed_json(metadata["names"])
    model.names = dict(enumerate(names)) if isinstance(names, list) else {int(k): v for k, v in names.items()}
    return model.eval()


def _download(weights: Path) -> None:
    """Fetch a file ultralytics publishes to where it belongs, whole or not at all."""
    _ultralytics()
    from ultralytics.utils.downloads import GITHUB_ASSETS_NAMES, attempt_download_asset

    advice = f"download it from {RELEASES} and put it there"
    if weights.name not in GITHUB_ASSETS_NAMES:
        raise VadError(f"{weights}: not found; put the weights there, or name a file of {RELEASES}")
    check(weights)
    weights.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=weights.parent, prefix=".partial-") as folder:
        try:
            fetched = Path(attempt_download_asset(str(Path(folder) / weights.name)))
        except Exception as error:
            if is_disk_full(error):
                raise disk_full(weights) from None
            reason = " ".join(str(error).split())
            raise VadError(f"{weights}: not found, and could not be downloaded ({reason}); {advice}") from None
        if not fetched.is_file():
            raise VadError(f"{weights}: not found, and could not be downloaded; {advice}")
        fetched.replace(weights)


def _export_size(model: Any) -> tuple[int, int] | None:
    """(height, width) of an export with a fixed input; None where any multiple of 32 will do."""
    if model.format == "pt" or getattr(model, "dynamic", False):
        return None
    size = getattr(model, "imgsz", None)
    return None if size is None else tuple(size)
