"""The clips of a folder of normal footage: what stage `prepare` does for a data set."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm

from vadlib.clips import probe_footage
from vadlib.errors import FootageError, Losses, VadError
from vadlib.footage.find import Footage, LeftOut, find_footage
from vadlib.io.files import write_json
from vadlib.manifest import Manifest, save_manifest
from vadlib.pipeline.places import Places
from vadlib.settings import ComputeSettings, DatasetSettings


def index_footage(places: Places, settings: DatasetSettings, compute: ComputeSettings) -> None:
    """What `prepare` does for a data set: here every clip is normal and for training, and bad ones are left out."""
    index_paths(places, [places.data], [])


def index_paths(
    places: Places,
    paths: Sequence[Path],
    more: Sequence[Footage],
    is_known: Callable[[Footage], bool] = lambda _: False,
) -> None:
    """The same, of the footage at several paths, and of `more` clips, but for those that the model has learned."""
    left_out, clips, passed = LeftOut(quiet=True), [], 0
    for footage in tqdm([*find_footage(paths, left_out), *more], desc="index", unit="clip", disable=None):
        if is_known(footage):
            passed += 1
            continue
        losses = Losses()
        try:
            clips.append(probe_footage(footage.source, footage.name, "training", losses))
        except FootageError as error:
            left_out.clip(str(error))
            continue
        losses.notes.clear()  # of times, which nothing here goes by
        left_out.of_clip(losses)
    if passed:
        left_out.note(f"the model has learned from {passed} of the clips already: they are passed over")
    if not clips:
        raise VadError("; ".join([f"{places.data}: none of the footage can be read", *left_out.lines]))
    save_manifest(Manifest(places.name, "videos", tuple(clips)), places.manifest)
    write_json(left_out_of(places), asdict(left_out))


def left_out_of(places: Places) -> Path:
    """Where a run that goes on finds what the one before left out."""
    return places.prepared / "left_out.json"
