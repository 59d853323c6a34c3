"""Where torchvision's weights are: given, in torch's cache, or fetched once. Shared with `flow`."""

from pathlib import Path
from typing import Any

from vadlib.errors import VadError


def torchvision_weights(url: str, folder: Path) -> Path:
    """The file of torchvision's weights at `url`: in `folder`, else torch hub's cache, else fetched to
    `folder`.

    Raises VadError, with what to download and where to put it, where it is in neither and cannot be fetched.
    """
    import torch

    name = url.rsplit("/", 1)[1]
    for path in (folder / name, Path(torch.hub.get_dir()) / "checkpoints" / name):
        if path.is_file():
            return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Written aside and renamed by torch, and checked against the hash in the name.
        digest = name.rsplit(".", 1)[0].rsplit("-", 1)[1]
        torch.hub.download_url_to_file(url, str(folder / name), hash_prefix=digest, progress=False)
    except Exception as error:  # urllib's, the operating system's, or a wrong hash
        reason = " ".join(str(error).split())
        raise VadError(
            f"{folder / name}: not found, and could not be downloaded ({reason}); "
            f"download {url} and put it there"
        ) from None
    return folder / name


def load_state_dict(path: Path) -> dict[str, Any]:
    """A state dict, without running a pickle's code. Raises VadError where the file holds anything else."""
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises half a dozen kinds
        raise VadError(
            f"{path}: not a weights file, or a damaged one ({type(error).__name__}); get it again"
        ) from None
