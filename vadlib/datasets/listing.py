"""What every layout does with the clips of one split: list, check the names, probe."""

from pathlib import Path

from tqdm import tqdm

from vadlib.clips import Clip, is_clip, probe_clip
from vadlib.errors import VadError
from vadlib.io.names import natural_key


def clip_paths(folder: Path, layout: str) -> list[Path]:
    """The clips in a folder, by natural order of their names. Raises VadError where it is not there."""
    if not folder.is_dir():
        raise VadError(f"{folder}: not found; layout expected: {layout}")
    return sorted((p for p in folder.iterdir() if is_clip(p)), key=lambda p: natural_key(p.name))


def clip_name(path: Path) -> str:
    """A folder's name; a video file's without its suffix."""
    return path.name if path.is_dir() else path.stem


def probe_all(paths: list[Path], split: str, root: Path | None) -> list[Clip]:
    """Index clips, in this order. Raises VadError where two names are one on a disk that ignores case."""
    seen: dict[str, Path] = {}
    for path in paths:
        other = seen.setdefault(clip_name(path).casefold(), path)
        if other is not path:
            raise VadError(f"{path}: its clip would have the same name as that of {other.name}; rename one of them")
    anomalous = () if split == "training" else None
    return [
        probe_clip(path, clip_name(path), split, root, anomalous)
        for path in tqdm(paths, desc=f"index {split}", unit="clip", disable=None)
    ]
