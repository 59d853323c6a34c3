"""Models on disk: safetensors with their settings; and the state of a training to go on from."""

import contextlib
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from vadlib.errors import VadError
from vadlib.io import ownership
from vadlib.io.files import missing, parsed_json, surroundings, written_aside, written_unrefusing
from vadlib.models.registry import build_model
from vadlib.settings import Branch, ModelSettings, model_settings


def save_model(
    path: Path,
    network: nn.Module,
    model: ModelSettings,
    branch: Branch,
    length: int,
    made_with: Mapping[str, str | int] | None = None,
) -> None:
    """Write weights (float32), what is needed to build the network again, and what made it.

    Equal models, made with the same, give equal bytes.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    # One entry: safetensors orders several as its hash map happens to.
    about = {"model": model.model_dump(mode="json"), "branch": branch, "length": length, "made_with": made_with}
    with written_aside(path) as aside:
        save_file(tensors, aside, metadata={"vadlib": json.dumps(about, sort_keys=True)})


def load_model(path: Path, branch: Branch, made_by: str) -> tuple[nn.Module, ModelSettings, int]:
    """The network in evaluation mode, its settings and L. Raises VadError where the file is absent, damaged, foreign
    or of the other branch."""
    if not path.exists():
        raise missing(path, made_by)
    try:
        path.open("rb").close()  # of whatever keeps it from opening a file, safetensors says that there is none
        with safe_open(path, "pt") as file:
            about = parsed_json((file.metadata() or {})["vadlib"])
            model = model_settings(about["model"])
            found, length = about["branch"], int(about["length"])
            network = build_model(model, branch, length)
            if found == branch:
                network.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except (
        SafetensorError,
        KeyError,
        TypeError,
        ValueError,
        ValidationError,
        RuntimeError,
        OSError,
    ) as error:
        if (cause := surroundings(error)) is not None:
            raise VadError(f"{path}: {cause}") from None
        raise VadError(
            f"{path}: not a model of this project ({first_line(error)}); make it again with {made_by}"
        ) from None
    if found != branch:
        raise VadError(f"{path}: holds the {found} branch, not the {branch} branch")
    return network.eval(), model, length


def model_made_with(path: Path, made_by: str) -> dict[str, str | int]:
    """What a model was made with, as its file says; nothing where it does not. Raises VadError as `load_model` does."""
    if not path.exists():
        raise missing(path, made_by)
    try:
        with safe_open(path, "pt") as file:
            return dict(parsed_json((file.metadata() or {})["vadlib"])["made_with"] or {})
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        raise VadError(
            f"{path}: not a model of this project ({first_line(error)}); make it again with {made_by}"
        ) from None


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Keep an unfinished training's state: tensors, numbers and lists, nothing that needs code to load."""
    with written_unrefusing(path) as file:  # of a full disk torch says that a position is unexpected
        buffered = io.BufferedWriter(file, 1 << 20)
        torch.save(state, buffered)
        buffered.flush()
        buffered.detach()


def load_state(path: Path) -> dict[str, Any] | None:
    """What `save_state` kept, or None where nothing was, or what was is damaged: then it is out of the way, and the
    training begins anew."""
    if not path.exists():
        return None
    try:
        with zipfile.ZipFile(path) as archive:  # torch itself looks at no checksum
            if (part := archive.testzip()) is not None:
                raise ValueError(f"{part} has another checksum")
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # torch raises half a dozen kinds
        if (cause := surroundings(error)) is not None:
            raise VadError(f"{path}: {cause}") from None
        with contextlib.suppress(FileNotFoundError):  # another process of the same training was first
            ownership.set_aside(path, path.with_name("damaged"), f"damaged ({first_line(error)})")
        return None


def first_line(error: BaseException) -> str:
    """The first line of a library's message, cut to a readable length."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200]
