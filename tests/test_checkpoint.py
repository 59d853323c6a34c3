"""Models on disk, and the authors' layout."""

import pickle

import pytest
import torch
from torch import Tensor, nn

from vadlib.authors import import_checkpoint, read_authors_checkpoint
from vadlib.errors import VadError
from vadlib.models.checkpoint import load_model, load_state, model_made_with, save_model, save_state
from vadlib.models.registry import build_model
from vadlib.settings import StateSettings, model_settings

SMALL = StateSettings(widths=(4, 8, 8), layers=1)


@pytest.mark.parametrize("kind", ["state", "conv_ae", "convlstm_ae", "unet"])
def test_a_saved_model_loads_with_its_settings(tmp_path, kind):
    model = model_settings({"kind": kind, "widths": SMALL.widths})
    network = build_model(model, "flow", 3).eval()
    save_model(tmp_path / "m.safetensors", network, model, "flow", 3)
    loaded, found, length = load_model(tmp_path / "m.safetensors", "flow", "x")
    assert (found, length) == (model, 3)
    x = torch.rand(1, 3, 3, 8, 8)
    assert torch.equal(loaded(x), network(x))


def test_equal_models_give_equal_bytes(tmp_path):
    network = build_model(SMALL, "raw", 3)
    for name in "ab":
        save_model(tmp_path / name, network, SMALL, "raw", 3)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_model_of_the_other_branch_or_a_damaged_one_is_named(tmp_path):
    path = tmp_path / "m.safetensors"
    with pytest.raises(VadError, match="not found; make it first with `it`"):
        load_model(path, "raw", "`it`")
    save_model(path, build_model(SMALL, "raw", 3), SMALL, "raw", 3)
    with pytest.raises(VadError, match="holds the raw branch, not the flow branch"):
        load_model(path, "flow", "`it`")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(VadError, match="not a model of this project"):
        load_model(path, "raw", "`it`")


def authors_layout(widths: tuple[int, int, int], layers: int, heads: int = 4, rows: int = 10) -> dict[str, Tensor]:
    """Random weights of both branches under the names, and in the shapes, of the authors' published checkpoints."""
    weights: dict[str, Tensor] = {}

    def put(name: str, *shape: int) -> None:
        fan_in = max(1, torch.Size(shape[1:]).numel())
        weights[name] = torch.randn(shape) / fan_in**0.5

    def block(name: str, inputs: int, outputs: int) -> None:
        for conv, norm, before in ((0, 1, inputs), (3, 4, outputs)):
            put(f"{name}.{conv}.weight", outputs, before, 3, 3)
            put(f"{name}.{conv}.bias", outputs)
            for part in ("weight", "bias", "running_mean"):
                put(f"{name}.{norm}.{part}", outputs)
            weights[f"{name}.{norm}.running_var"] = torch.rand(outputs) + 0.5
            weights[f"{name}.{norm}.num_batches_tracked"] = torch.tensor(7)

    def conv(name: str, outputs: int, inputs: int) -> None:
        put(f"{name}.conv0.0.weight", outputs, inputs, 3, 3)
        put(f"{name}.conv0.0.bias", outputs)

    w1, w2, w3 = widths
    part = w3 // heads
    for mark, channels in (("", 3), ("_of", 2)):
        block(f"feature_embedding{mark}.inc.conv.conv", 3, w1)
        block(f"feature_embedding{mark}.down1.mpconv.1.conv", w1, w2)
        block(f"feature_embedding{mark}.down2.mpconv.1.conv", w2, w3)
        for layer in ("encoderlayer", *(f"encoder.{n}" for n in range(layers))):
            for head in range(heads):
                name = f"encoder{mark}.{layer}.attention_heads.{head}"
                for net in ("q_featuremap", "k_v_featuremap", "feedforward"):
                    conv(f"{name}.{net}", part, part)
                conv(f"{name}.attentionmap", 1, 2 * part)
            conv(f"encoder{mark}.{layer}.feedforward", w3, w3)
            put(f"encoder{mark}.{layer}.GN1.weight", w3)
            put(f"encoder{mark}.{layer}.GN1.bias", w3)
        put(f"encoder{mark}.positionnet.positional_embedding.weight", rows, part)
        for up, deep, shallow in (("up2", w3, w2), ("up3", w2, w1)):
            put(f"prediction{mark}.{up}.up.weight", deep, deep, 3, 3)
            put(f"prediction{mark}.{up}.up.bias", deep)
            block(f"prediction{mark}.{up}.conv.conv", deep, shallow)
        put(f"prediction{mark}.out.conv.weight", channels, w1, 1, 1)
        put(f"prediction{mark}.out.conv.bias", channels)
    return weights


@pytest.mark.parametrize(("branch", "channels"), [("raw", 3), ("flow", 2)])
def test_a_full_size_checkpoint_of_five_layers_gives_the_same_in_every_setting(tmp_path, branch, channels):
    torch.manual_seed(0)
    path = tmp_path / "authors.pth"
    torch.save(authors_layout((32, 64, 128), layers=5), path)
    cubes = torch.rand(2, 7, 3, 32, 32)
    outputs = []
    with torch.inference_mode():
        for head_input in ("slice", "all"):
            for positional in ("shared", "stack"):
                network, model, rows = read_authors_checkpoint(
                    path, branch, head_input=head_input, positional=positional
                )
                assert (model.widths, model.layers, model.heads, rows) == ((32, 64, 128), 5, 4, 10)
                outputs.append(network(cubes))
    assert outputs[0].shape == (2, 7, channels, 32, 32)
    for output in outputs[1:]:
        torch.testing.assert_close(output, outputs[0], rtol=1e-4, atol=1e-4 * float(outputs[0].abs().max()))


@pytest.mark.parametrize(
    "wrap", [lambda w: w, lambda w: {f"module.{k}": v for k, v in w.items()}, lambda w: {"state_dict": w}]
)
def test_the_layouts_wrappings_are_read(tmp_path, wrap):
    torch.manual_seed(0)
    torch.save(wrap(authors_layout((4, 8, 8), layers=2, heads=2)), tmp_path / "c.pth")
    assert isinstance(import_checkpoint(tmp_path / "c.pth", "raw"), nn.Module)


def test_an_imported_model_can_be_saved_and_loaded(tmp_path):
    torch.save(authors_layout((4, 8, 8), layers=2), tmp_path / "c.pth")
    network, model, rows = read_authors_checkpoint(tmp_path / "c.pth", "flow")
    save_model(tmp_path / "m.safetensors", network, model, "flow", rows)
    cubes = torch.rand(1, 7, 3, 8, 8)
    assert torch.equal(load_model(tmp_path / "m.safetensors", "flow", "")[0](cubes), network(cubes))


class Hostile:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("kind", ["absent", "text", "pickle", "tensors of something else", "not a dictionary", "half"])
def test_other_files_are_refused_in_one_line_and_run_nothing(tmp_path, kind):
    path = tmp_path / "c.pth"
    weights = authors_layout((4, 8, 8), layers=1)
    if kind == "text":
        path.write_text("hello")
    elif kind == "pickle":
        path.write_bytes(pickle.dumps({"state_dict": Hostile(tmp_path / "made")}, protocol=2))
    elif kind == "tensors of something else":
        torch.save({"conv.weight": torch.zeros(3)}, path)
    elif kind == "not a dictionary":
        torch.save([torch.zeros(3)], path)
    elif kind == "half":
        torch.save({k: v for k, v in weights.items() if "attentionmap" not in k}, path)
    with pytest.raises(VadError, match=r"c\.pth: ") as caught:
        import_checkpoint(path, "raw")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "made").exists()


def test_a_damaged_state_is_told_and_the_training_begins_anew(tmp_path, capsys):
    path = tmp_path / "state.pt"
    save_state(path, {"step": 3, "losses": [0.5]})
    assert load_state(path) == {"step": 3, "losses": [0.5]}
    whole = path.read_bytes()
    for number, damaged in enumerate((whole[:-300], b"", whole.replace(b"losses", b"lossed"))):
        path.write_bytes(damaged)
        assert load_state(path) is None
        told = capsys.readouterr().err
        assert f"{path}: damaged (" in told
        assert told.count("\n") == 1
        assert (tmp_path / f"damaged/{number}-state.pt").read_bytes() == damaged
        save_state(path, {"step": 3, "losses": [0.5]})  # which it is no hindrance to
        assert path.read_bytes() == whole


def test_what_a_file_says_of_its_model_may_be_nested_without_end(tmp_path):
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "m.safetensors", {"vadlib": "[" * 50_000})
    for read in (lambda path: load_model(path, "raw", "`it`"), lambda path: model_made_with(path, "`it`")):
        with pytest.raises(VadError, match=r"not a model of this project \(nested too deep\)"):
            read(tmp_path / "m.safetensors")
