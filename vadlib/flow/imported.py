"""Optical flow computed elsewhere: a field a frame as .npy, .flo (Middlebury) or 16-bit .png (KITTI)."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np

from vadlib.clips import Clip
from vadlib.errors import VadError
from vadlib.flow.fields import EstimateFlow, resize_flow
from vadlib.io.names import natural_key
from vadlib.settings import ImportedFlowSettings

FLO_MAGIC = b"PIEH"  # 202021.25 as float32, which opens every .flo
MAX_PIXELS = 1 << 26  # of a PNG
UNKNOWN = 1e9  # px: .flo's mark of a pixel without flow


def make_estimator(
    settings: ImportedFlowSettings, weights_folder: Path, data_folder: Path, device: str
) -> EstimateFlow:
    """An estimator that reads `<data_folder>/<settings.fields>/<split>/<clip>/`, in natural order.

    A clip of n frames has n - 1 fields there, or n, of which the last is not used. A field has the size of
    the frames, or `settings.size`, and is then rescaled. Raises VadError naming file, clip and frame for
    another number of fields, another size, and pixels without flow.
    """

    def estimate(clip: Clip, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        files = _files(data_folder / settings.fields / clip.split / clip.name, clip)
        width, height = settings.size or (clip.width, clip.height)
        for number, frame in enumerate(frames):
            if number == 0:
                continue  # a field needs two frames
            place = f"{files[number - 1]}: clip {clip.name}, frame {number - 1}"
            field = _read(files[number - 1], place)
            if field.shape != (height, width, 2):
                found = "x".join(str(side) for side in field.shape)
                raise VadError(f"{place}: expected a field of {height}x{width}x2 (rows, columns, u v), found {found}")
            if not (np.abs(field) < UNKNOWN).all():  # nor is NaN
                raise VadError(f"{place}: holds pixels without flow (NaN, or marked unknown); a dense field is needed")
            yield resize_flow(field, frame.shape[1], frame.shape[0])

    return estimate


def weights_file(settings: ImportedFlowSettings, weights_folder: Path) -> None:
    """It has no weights."""
    return None


def _files(folder: Path, clip: Clip) -> list[Path]:
    if not folder.is_dir():
        raise VadError(f"{folder}: not found; put the flow of clip {clip.name} there, or mend flow.fields")
    files = sorted(
        (path for path in folder.iterdir() if path.suffix.lower() in READERS),
        key=lambda path: natural_key(path.name),
    )
    if len(files) not in (clip.frames, clip.frames - 1):
        raise VadError(
            f"{folder}: clip {clip.name} has {clip.frames} frames, so {clip.frames - 1} or {clip.frames} fields "
            f"({', '.join(READERS)}) are expected; found {len(files)}"
        )
    return files


def _read(path: Path, place: str) -> np.ndarray:
    try:
        return READERS[path.suffix.lower()](path).astype(np.float32)
    except (OSError, ValueError) as error:
        raise VadError(f"{place}: not a flow field ({' '.join(str(error).split())})") from None


def _read_npy(path: Path) -> np.ndarray:
    from vadlib.io.npy import read_array

    return read_array(path)


def _read_flo(path: Path) -> np.ndarray:
    content = path.read_bytes()
    if content[:4] != FLO_MAGIC or len(content) < 12:
        raise ValueError("it does not begin as a .flo does")
    width, height = np.frombuffer(content, "<i4", 2, offset=4).tolist()
    if min(width, height) < 1 or len(content) != 12 + width * height * 8:
        raise ValueError(f"{len(content)} bytes do not hold {width}x{height} px")
    return np.frombuffer(content, "<f4", offset=12).reshape(height, width, 2)


def _read_kitti(path: Path) -> np.ndarray:
    """Red and green are 64 u + 2^15 and 64 v + 2^15, blue is 1 where there is flow (KITTI's development kit)."""
    content = np.fromfile(path, np.uint8)
    # A small file may claim any size: its header is read first.
    if len(content) < 24 or np.prod(content[16:24].view(">u4"), dtype=np.int64) > MAX_PIXELS:
        raise ValueError(f"expected a PNG of at most {MAX_PIXELS:,} px")
    image = cv2.imdecode(content, cv2.IMREAD_UNCHANGED)  # blue, green, red
    if image is None or image.dtype != np.uint16 or image.ndim != 3:
        raise ValueError("expected a PNG with three channels of 16 bits")
    field = (image[..., :0:-1].astype(np.float32) - 2**15) / 64
    field[image[..., 0] == 0] = np.nan
    return field


READERS = {".npy": _read_npy, ".flo": _read_flo, ".png": _read_kitti}
