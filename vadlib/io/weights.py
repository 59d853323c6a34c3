"""Weights of detectors and flow estimators: where torchvision's are, what is recorded of them, and their device."""

from pathlib import Path
from typing import Any

from vadlib.errors import VadError
from vadlib.io.files import disk_full, is_disk_full, sha256, surroundings
from vadlib.io.ownership import check


def record(weights: Path | None) -> dict[str, str]:
    """What an artefact says of the weights that made it: their name and SHA-256 (a folder's: `files.sha256`)."""
    return {} if weights is None else {"weights": weights.name, "weights_sha256": sha256(weights)}


def torch_device(name: str) -> Any:
    """The torch.device of `auto` (a GPU where there is one), `cpu` or `cuda`. Raises VadError for a missing GPU."""
    import torch

    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise VadError("compute.device: cuda asked for, but torch sees no GPU; set it to auto or cpu")
    return torch.device(name if name != "auto" else "cuda" if there else "cpu")


def torchvision_weights(model: str, folder: Path) -> Path:
    """The file of a torchvision model's weights: in `folder`, else torch hub's cache, else fetched to
    `folder`.

    Any of the weights torchvision publishes for it will do where they are; the newest are fetched. Raises
    VadError, with what to download and where to put it, where they are in neither and cannot be fetched.
    """
    import torch
    from torchvision import models

    published = models.get_model_weights(model)
    urls = [published.DEFAULT.url, *(weights.url for weights in published)]
    for place in (folder, Path(torch.hub.get_dir()) / "checkpoints"):
        for url in urls:
            if (path := place / _file(url)).is_file():
                return path
    url, path = urls[0], folder / _file(urls[0])
    return fetched(path, url, path.stem.rsplit("-", 1)[1])


def fetched(path: Path, url: str, digest: str) -> Path:
    """Fetch a file whose SHA-256 begins with `digest` to `path`. Raises VadError, with the remedy, where that fails."""
    import torch

    check(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Written aside, checked and renamed by torch.
        torch.hub.download_url_to_file(url, str(path), hash_prefix=digest, progress=False)
    except Exception as error:  # urllib's, the operating system's, or a wrong hash
        if is_disk_full(error):
            raise disk_full(path) from None
        reason = " ".join(str(error).split())
        raise VadError(
            f"{path}: not found, and could not be downloaded ({reason}); download {url} and put it there"
        ) from None
    return path


def _file(url: str) -> str:
    return url.rsplit("/", 1)[1]


def load_into(model: Any, path: Path, name: str) -> None:
    """Fill a torchvision model, without running a pickle's code. Raises VadError where the file does not fit."""
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises half a dozen kinds
        if (cause := surroundings(error)) is not None:
            raise VadError(f"{path}: {cause}") from None
        raise VadError(f"{path}: not weights, or damaged ({type(error).__name__}); get the file again") from None
    try:
        model.load_state_dict(state)
    except (RuntimeError, TypeError):  # other names or shapes; no state dict
        raise VadError(f"{path}: not the weights of torchvision's {name}; get the file again") from None
