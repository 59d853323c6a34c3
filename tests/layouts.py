"""Every official layout in miniature, with its truth: squares that drift over a gradient, anomalies that are larger."""

from dataclasses import dataclass
from pathlib import Path

import av
import h5py
import numpy as np
import scipy.io
from PIL import Image

from vadlib.io.files import write_text

# Spans of anomalous frames, half-open, of the testing clips 01, 02, 03.
SPANS = {"01": [(3, 7)], "02": [(0, 2), (9, 12)], "03": []}
NAMES = {"training": ["01", "02"], "testing": list(SPANS)}
FRAMES = 12


@dataclass(frozen=True)
class Truth:
    """What was drawn, by `split/name`: frames uint8 RGB (n, H, W, 3), masks bool (n, H, W), labels bool (n,)."""

    frames: dict[str, np.ndarray]
    masks: dict[str, np.ndarray]

    @property
    def labels(self) -> dict[str, np.ndarray]:
        return {key: masks.any(axis=(1, 2)) for key, masks in self.masks.items()}


def draw(width: int = 48, height: int = 32, grey: bool = False) -> Truth:
    """The clips: one small square each in training; in testing a larger one joins it where anomalous."""
    truth = Truth({}, {})
    ramp = np.linspace(40, 110, width)[None, :, None] + np.linspace(0, 30, height)[:, None, None]
    for split, names in NAMES.items():
        for number, name in enumerate(names):
            frames = np.repeat(ramp.repeat(3, axis=2).astype(np.uint8)[None], FRAMES, axis=0)
            masks = np.zeros(frames.shape[:3], dtype=bool)
            anomalous = {t for span in SPANS[name] for t in range(*span)} if split == "testing" else set()
            for t in range(FRAMES):
                x, y = 2 * t, 4 + 2 * number
                frames[t, y : y + 8, x : x + 8] = 200 if grey else (210, 180 - 30 * number, 160)
                if t in anomalous:
                    masks[t, height - 16 : height - 2, width - 14 - t : width - t] = True
            frames[masks] = 240 if grey else (240, 230, 60)
            truth.frames[f"{split}/{name}"] = frames
            truth.masks[f"{split}/{name}"] = masks
    return truth


def write_images(folder: Path, frames: np.ndarray, pattern: str) -> None:
    """Frames as image files, from a pattern such as `{:03d}.jpg`, counted from 1; grey where all channels agree."""
    folder.mkdir(parents=True)
    for number, frame in enumerate(frames, 1):
        image = frame[..., 0] if frame.ndim == 3 and (frame == frame[..., :1]).all() else frame
        Image.fromarray(image).save(folder / pattern.format(number), **({"quality": 95} if "jpg" in pattern else {}))


def write_video(path: Path, frames: np.ndarray, fps: int = 25, codec: str = "mpeg4") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.bit_rate = 4_000_000
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def write_frames_folders(folder: Path, labels: str, pattern: str = "{:03d}.jpg") -> Truth:
    """`labels`: `pooled`, `objects`, `one object`, `clips` (a .npy file for each), `mat`, `mat73`, or `none`."""
    truth = draw()
    for key, frames in truth.frames.items():
        split, name = key.split("/")
        write_images(folder / split / "frames" / name, frames, pattern)
    of_clips = [truth.labels[f"testing/{name}"].astype(int) for name in NAMES["testing"]]
    if labels == "pooled":
        np.save(folder / "frame_labels_mini.npy", np.concatenate(of_clips)[None])
    if labels == "objects":
        np.save(folder / "frame_labels_mini.npy", _cells(of_clips)[0], allow_pickle=True)
    if labels == "one object":  # what numpy makes of the same list without being told
        np.save(folder / "frame_labels_mini.npy", np.array(of_clips, object), allow_pickle=True)
    if labels == "clips":
        (folder / "testing/test_frame_mask").mkdir()
        for name, values in zip(NAMES["testing"], of_clips, strict=True):
            np.save(folder / "testing/test_frame_mask" / f"{name}.npy", values)
    ranges = [np.array([(a + 1, b) for a, b in spans], dtype=np.uint8).reshape(-1, 2).T for spans in SPANS.values()]
    if labels == "mat":
        scipy.io.savemat(folder / "mini.mat", {"gt": _cells(ranges)})
    if labels == "mat73":
        write_cells_73(folder / "mini.mat", "gt", ranges)
    return truth


def write_ucsd(folder: Path, script: bool, masks: bool) -> Truth:
    truth = draw(grey=True)
    for key, frames in truth.frames.items():
        split, name = key.split("/")
        split = {"training": "Train", "testing": "Test"}[split]
        clip = folder / split / f"{split}0{name}"
        write_images(clip, frames, "{:03d}.tif")
        if masks and split == "Test":
            drawn = truth.masks[key].astype(np.uint8)[..., None].repeat(3, axis=3) * 255
            write_images(clip.with_name(f"{clip.name}_gt"), drawn, "{:03d}.bmp")
    if script:
        lines = ["TestVideoFile = {};", "% TestVideoFile{end+1}.gt_frame = [1:2];"]
        for spans in SPANS.values():
            text = ", ".join(f"{a + 1}:{b}" for a, b in spans)
            lines.append(f"TestVideoFile{{end+1}}.gt_frame = [{text}];")
        write_text(folder / "Test/UCSDmini.m", "\n".join(lines) + "\n")
    # The published archive was packed on a Mac.
    (folder / "Test/._Test001").write_bytes(b"\0")
    (folder / "Test/Test001/._001.tif").write_bytes(b"\0")
    return Truth(*({_ucsd(key): value for key, value in part.items()} for part in (truth.frames, truth.masks)))


def _ucsd(key: str) -> str:
    split, name = key.split("/")
    return f"{split}/{'Train' if split == 'training' else 'Test'}0{name}"


def write_avenue(folder: Path, masks: str) -> Truth:
    """`masks`: `mat`, `mat73` or `none`."""
    truth = draw()
    for key, frames in truth.frames.items():
        split, name = key.split("/")
        write_video(folder / f"{split}_videos" / f"{name}.avi", frames)
        if masks != "none" and split == "testing":
            file = folder / "ground_truth_demo/testing_label_mask" / f"{int(name)}_label.mat"
            file.parent.mkdir(parents=True, exist_ok=True)
            of_frames = list(truth.masks[key].astype(np.uint8))
            if masks == "mat":
                scipy.io.savemat(file, {"volLabel": _cells(of_frames)})
            else:
                write_cells_73(file, "volLabel", of_frames)
    return truth


def write_shanghaitech(folder: Path, frame_masks: bool, pixel_masks: bool) -> Truth:
    drawn = draw()
    names = {f"{s}/{n}": f"{s}/01_{int(n):0{3 if s == 'training' else 4}d}" for s, ns in NAMES.items() for n in ns}
    truth = Truth(*({names[key]: value for key, value in part.items()} for part in (drawn.frames, drawn.masks)))
    for key, frames in truth.frames.items():
        split, name = key.split("/")
        if split == "training":
            write_video(folder / "training/videos" / f"{name}.avi", frames)
            continue
        write_images(folder / "testing/frames" / name, frames, "{:03d}.jpg")
        for wanted, kind, content in (
            (frame_masks, "test_frame_mask", truth.labels[key].astype(np.int8)),
            (pixel_masks, "test_pixel_mask", truth.masks[key].astype(np.uint8)),
        ):
            if wanted:
                (folder / "testing" / kind).mkdir(parents=True, exist_ok=True)
                np.save(folder / "testing" / kind / f"{name}.npy", content)
    return truth


def write_videos(folder: Path, labels: bool) -> Truth:
    """A user's own footage: video files, and one folder of images."""
    truth = draw()
    for key, frames in truth.frames.items():
        if key == "testing/02":
            write_images(folder / key, frames, "frame_{:d}.png")
        else:
            write_video(folder / f"{key}.mp4", frames)
    if labels:
        rows = [f"{name},{a},{b - 1}" for name, spans in SPANS.items() for a, b in spans]
        write_text(folder / "labels.csv", "\n".join(["clip,first,last", *rows]) + "\n")
    return truth


def _cells(arrays: list[np.ndarray]) -> np.ndarray:
    """A 1 x n object array: what SciPy writes as a cell array."""
    cells = np.empty((1, len(arrays)), dtype=object)
    for i, array in enumerate(arrays):
        cells[0, i] = array
    return cells


def write_cells_73(file: Path, variable: str, arrays: list[np.ndarray]) -> None:
    """A cell array as MATLAB's version 7.3 keeps it: references, axes reversed, empty arrays as their shape."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(file, "w", userblock_size=512) as content:
        cells = content.create_dataset(variable, (len(arrays), 1), dtype=h5py.ref_dtype)
        for i, array in enumerate(arrays):
            stored = np.array(array.shape, dtype=np.uint64) if array.size == 0 else np.ascontiguousarray(array.T)
            cell = content.create_dataset(f"#refs#/{i}", data=stored)
            if array.size == 0:
                cell.attrs["MATLAB_empty"] = 1
            cells[i, 0] = cell.ref
    data = bytearray(file.read_bytes())
    data[:19] = b"MATLAB 7.3 MAT-file"
    file.write_bytes(data)
