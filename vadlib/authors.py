"""The authors' published checkpoints, read into this project's networks."""

import re
import zipfile
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vadlib.errors import VadError
from vadlib.models.checkpoint import first_line
from vadlib.models.registry import build_model
from vadlib.settings import Branch, StateSettings


def import_checkpoint(
    path: str | Path,
    branch: Branch,
    *,
    head_input: Literal["all", "slice"] = "slice",
    positional: Literal["stack", "shared"] = "shared",
) -> nn.Module:
    """Read one branch of a checkpoint in the authors' published layout.

    Widths, N, H and the rows of the positional encoding are inferred from the file. Only plain tensors are read
    (`torch.load(weights_only=True)`): nothing a pickle carries is executed.

    Args:
        path: a state dict saved by `torch.save`, with or without DataParallel's `module.` prefix.
        branch: "raw" or "flow" (the keys ending in `_of`).
        head_input: "slice" as the authors'; "all" holds the same function, the unseen channels' weights being zero.
        positional: "shared" as the authors'; "stack" holds the same function, each layer with its own copy.

    Returns:
        The network in evaluation mode, float32: cubes (B, L, 3, H, W) in [0, 1] to (B, L, C', H, W), for any L up to
        the rows of the encoding.

    Raises VadError naming the file and what was expected and found.
    """
    return read_authors_checkpoint(Path(path), branch, head_input=head_input, positional=positional)[0]


def read_authors_checkpoint(
    path: Path,
    branch: Branch,
    *,
    head_input: Literal["all", "slice"] = "slice",
    positional: Literal["stack", "shared"] = "shared",
) -> tuple[nn.Module, StateSettings, int]:
    """`import_checkpoint` with the settings and L that `save_model` wants."""
    weights = _branch_weights(path, branch)
    try:
        model = _settings_of(weights, head_input, positional)
        table = weights["attention"]["positionnet.positional_embedding.weight"]
        network = build_model(model, branch, len(table)).eval()
        network.load_state_dict(_renamed(weights, model), strict=True)
    except KeyError as error:
        raise VadError(f"{path}: no tensor {error} of the {branch} branch; expected the authors' layout") from None
    except (RuntimeError, ValueError) as error:
        raise VadError(f"{path}: not the authors' layout: {first_line(error)}") from None
    return network, model, len(table)


_PARTS = {"feature_embedding": "encoder", "encoder": "attention", "prediction": "decoder"}
"""The authors' names of the three parts, and the paper's. `_of` (optical flow) behind one marks the flow branch."""


def _branch_weights(path: Path, branch: Branch) -> dict[str, dict[str, Tensor]]:
    """The tensors of one branch by part: {"encoder": {...}, "attention": {...}, "decoder": {...}}."""
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise VadError(f"{path}: not found") from None
    except Exception as error:  # torch.load raises what the damage at hand makes it raise
        try:
            packed = zipfile.is_zipfile(path)
        except zipfile.BadZipFile:  # of a damaged end
            packed = False
        kind = "a zip archive of something else" if packed else "no checkpoint"
        raise VadError(f"{path}: {kind}, or it holds more than plain tensors: {first_line(error)}") from None
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise VadError(f"{path}: expected a dictionary of tensors, found {type(content).__name__}")
    weights: dict[str, dict[str, Tensor]] = {part: {} for part in _PARTS.values()}
    for key, tensor in content.items():
        part, _, name = str(key).removeprefix("module.").partition(".")
        flow = part.endswith("_of")
        if flow == (branch == "flow") and (part := part.removesuffix("_of")) in _PARTS:
            weights[_PARTS[part]][name] = tensor.float() if tensor.is_floating_point() else tensor
    return weights


def _settings_of(weights: dict[str, dict[str, Tensor]], head_input: Any, positional: Any) -> StateSettings:
    encoder, attention = weights["encoder"], weights["attention"]
    blocks = ("inc.conv", "down1.mpconv.1", "down2.mpconv.1")
    first, second, third = (len(encoder[f"{block}.conv.0.bias"]) for block in blocks)
    named = [re.match(r"encoder\.(\d+)\.attention_heads\.(\d+)\.", name) for name in attention]
    layers = {int(match[1]) for match in named if match}
    heads = {int(match[2]) for match in named if match}
    if not layers:
        raise KeyError("encoder.encoder.0.attention_heads.0")
    return StateSettings(
        widths=(first, second, third),
        layers=max(layers) + 1,
        heads=max(heads) + 1,
        head_input=head_input,
        positional=positional,
    )


def _renamed(weights: dict[str, dict[str, Tensor]], model: StateSettings) -> dict[str, Tensor]:
    """The authors' tensors under this project's names; theirs that never enter a forward pass are left out."""
    out: dict[str, Tensor] = {}
    encoder, attention, decoder = weights["encoder"], weights["attention"], weights["decoder"]

    def block(source: dict[str, Tensor], prefix: str, target: str) -> None:
        for name, tensor in source.items():
            if name.startswith(prefix):
                out[target + name.removeprefix(prefix)] = tensor

    for index, name in enumerate(("inc.conv", "down1.mpconv.1", "down2.mpconv.1")):
        block(encoder, f"{name}.conv.", f"encoder.blocks.{index}.")
    for index, name in enumerate(("up2", "up3")):
        block(decoder, f"{name}.up.", f"decoder.ups.{index}.")
        block(decoder, f"{name}.conv.conv.", f"decoder.blocks.{index}.")
    block(decoder, "out.conv.", "decoder.output.")

    table = attention["positionnet.positional_embedding.weight"]
    for index in range(1 if model.positional == "shared" else model.layers):
        out[f"positional.{index}"] = table if model.positional == "shared" else table.repeat(1, model.heads)

    for layer in range(model.layers):
        theirs, mine = f"encoder.{layer}", f"layers.{layer}"
        heads = [f"{theirs}.attention_heads.{head}" for head in range(model.heads)]
        for source, target in (("q_featuremap", "query"), ("k_v_featuremap", "key_value")):
            slices = [attention[f"{head}.{source}.conv0.0.weight"] for head in heads]
            full = model.head_input == "all"
            out[f"{mine}.attention.{target}.weight"] = _block_diagonal(slices) if full else torch.cat(slices)
            out[f"{mine}.attention.{target}.bias"] = torch.cat([attention[f"{h}.{source}.conv0.0.bias"] for h in heads])
        nets = torch.cat([attention[f"{head}.attentionmap.conv0.0.weight"] for head in heads])  # (H, 2 d/H, 3, 3)
        out[f"{mine}.attention.attend_query.weight"], out[f"{mine}.attention.attend_key.weight"] = nets.chunk(2, dim=1)
        out[f"{mine}.attention.attend_query.bias"] = torch.cat(
            [attention[f"{head}.attentionmap.conv0.0.bias"] for head in heads]
        )
        for kind in ("weight", "bias"):
            out[f"{mine}.feed_forward.{kind}"] = attention[f"{theirs}.feedforward.conv0.0.{kind}"]
            out[f"{mine}.norm.{kind}"] = attention[f"{theirs}.GN1.{kind}"]
    return out


def _block_diagonal(slices: list[Tensor]) -> Tensor:
    """A grouped convolution's weights, H times (d/H, d/H, 3, 3), as a full one's (d, d, 3, 3) with zeros."""
    size = len(slices[0])
    full = torch.zeros(size * len(slices), size * len(slices), *slices[0].shape[2:])
    for index, part in enumerate(slices):
        full[index * size : (index + 1) * size, index * size : (index + 1) * size] = part
    return full
