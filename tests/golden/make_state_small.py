"""Make `state_small.npz`: outputs of the literal reading of the paper, for `tests/test_golden.py`.

    python -m tests.golden.make_state_small

Weights and BatchNorm statistics are random, all arithmetic is float64, and the numbers come from
`benchmarks.literal`, not from the code under test.
"""

from pathlib import Path

import numpy as np
import torch

from benchmarks.literal import LiteralState, copy_weights, loss, perturbed_scores
from vadlib.models.state import State
from vadlib.settings import StateSettings

MODEL = StateSettings(widths=(4, 4, 8), layers=2, heads=2)
LENGTH, ETA = 5, 0.01


def random_state(branch: str) -> State:
    """A State with random weights and random BatchNorm statistics, in evaluation mode, float64."""
    state = State(MODEL, branch, LENGTH).double().eval()
    for name, buffer in state.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(0, 0.2)
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 1.5)
    return state


def main() -> None:
    torch.manual_seed(20221)
    arrays: dict[str, np.ndarray] = {}
    literal = {}
    for branch in ("raw", "flow"):
        state = random_state(branch)
        literal[branch] = LiteralState(MODEL, branch, LENGTH).double().eval()
        copy_weights(state, literal[branch])
        arrays |= {f"{branch}/{name}": tensor.numpy() for name, tensor in state.state_dict().items()}
    cubes = torch.rand(2, LENGTH, 3, 8, 8, dtype=torch.float64)
    flows = torch.randn(2, LENGTH, 2, 8, 8, dtype=torch.float64)
    y = cubes.clone().requires_grad_(True)
    outputs = {branch: network(y) for branch, network in literal.items()}
    error = loss(outputs["raw"], y, 2) + loss(outputs["flow"], flows, 2)
    (gradient,) = torch.autograd.grad(error, y)
    raw, flow = perturbed_scores(literal["raw"], literal["flow"], cubes, flows, ETA, 2)
    arrays |= {
        "io/cubes": cubes.numpy(),
        "io/flows": flows.numpy(),
        "io/raw_output": outputs["raw"].detach().numpy(),
        "io/flow_output": outputs["flow"].detach().numpy(),
        "io/gradient": gradient.numpy(),
        "io/raw_error_perturbed": raw.numpy(),
        "io/flow_error_perturbed": flow.numpy(),
    }
    np.savez_compressed(Path(__file__).with_name("state_small.npz"), **arrays)


if __name__ == "__main__":
    main()
