"""Numbers the model has to give: the literal reading's, always, and the authors' own model's, where at hand."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.golden.make_state_small import ETA, LENGTH, MODEL
from vadlib.authors import import_checkpoint
from vadlib.engine.engine import Engine
from vadlib.models.state import State
from vadlib.scoring.perturbation import input_gradient, perturbed_errors, reconstruction_errors

ENGINE = Engine(torch.device("cpu"), torch.float32)
BRANCHES = ("raw", "flow")


def relative(found: torch.Tensor, expected: np.ndarray) -> float:
    """The largest difference, relative to the largest expected value."""
    return float(np.abs(found.detach().numpy() - expected).max() / np.abs(expected).max())


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(Path(__file__).parent / "golden" / "state_small.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def networks(golden):
    networks = {}
    for branch in BRANCHES:
        network = State(MODEL, branch, LENGTH).eval()
        weights = {k.split("/")[1]: torch.from_numpy(v) for k, v in golden.items() if k.startswith(f"{branch}/")}
        network.load_state_dict(weights)
        networks[branch] = ENGINE.for_scoring(network)
    return networks


@pytest.mark.parametrize("branch", BRANCHES)
def test_float32_outputs_are_the_literal_readings(golden, networks, branch):
    output = networks[branch](torch.from_numpy(golden["io/cubes"]).float())
    assert relative(output, golden[f"io/{branch}_output"]) < 1e-4


def test_gradient_signs_and_perturbed_errors_are_the_literal_readings(golden, networks):
    cubes, flows = (torch.from_numpy(golden[f"io/{name}"]).float() for name in ("cubes", "flows"))
    gradient, _ = input_gradient(networks, cubes, flows, 2, "sum", ENGINE)
    expected = golden["io/gradient"]
    certain = np.abs(expected) > 1e-5 * np.abs(expected).max()
    assert certain.mean() > 0.99
    assert (np.sign(gradient.numpy()) == np.sign(expected))[certain].all()
    errors = perturbed_errors(networks, cubes, flows, [ETA], 2, "sum", ENGINE)[ETA]
    for branch in BRANCHES:
        assert relative(errors[branch], golden[f"io/{branch}_error_perturbed"]) < 1e-4


@pytest.fixture(scope="module")
def authors(shared, tmp_path_factory):
    """The authors' numbers, and their weights as a checkpoint file in their layout."""
    path = shared / "golden" / "authors_state_small.npz"
    if not path.exists():
        pytest.skip("needs the numbers of the authors' own model")
    with np.load(path) as file:
        arrays = dict(file)
    weights = {k.split("/")[1]: torch.from_numpy(v) for k, v in arrays.items() if k.startswith("state_dict/")}
    checkpoint = tmp_path_factory.mktemp("authors") / "checkpoint.pth"
    torch.save({f"module.{name}": tensor for name, tensor in weights.items()}, checkpoint)
    return arrays, checkpoint


@pytest.mark.parametrize(("head_input", "positional"), [("slice", "shared"), ("all", "stack")])
def test_the_authors_model_gives_the_authors_numbers(authors, head_input, positional):
    arrays, checkpoint = authors
    networks = {
        branch: ENGINE.for_scoring(import_checkpoint(checkpoint, branch, head_input=head_input, positional=positional))
        for branch in BRANCHES
    }
    cubes, flows = (torch.from_numpy(arrays[f"io/{name}"]) for name in ("input", "flow_target"))
    with torch.no_grad():
        for branch in BRANCHES:
            assert relative(networks[branch](cubes), arrays[f"io/{branch}_out"]) < 1e-4
        errors = reconstruction_errors(networks, cubes, flows, 2, ENGINE)
    gradient, _ = input_gradient(networks, cubes, flows, 2, "mean", ENGINE)
    certain = np.abs(arrays["io/input_grad"]) > 1e-9
    assert (np.sign(gradient.numpy()) == np.sign(arrays["io/input_grad"]))[certain].all()
    eta = float(arrays["io/eta"])
    perturbed = perturbed_errors(networks, cubes, flows, [eta], 2, "mean", ENGINE)[eta]
    for branch in BRANCHES:
        assert relative(errors[branch], arrays[f"io/{branch}_score"]) < 1e-4
        assert relative(perturbed[branch], arrays[f"io/{branch}_score_perturbed"]) < 1e-4
