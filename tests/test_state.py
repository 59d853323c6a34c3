"""The model against the paper: the literal oracle over random sizes, and equation (1) by hand."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.literal import LiteralState, copy_weights
from vadlib.models.registry import build_model
from vadlib.models.state import ConvolutionalAttention, State
from vadlib.settings import ModelSettings, StateSettings, model_settings

sizes = st.fixed_dictionaries(
    {
        "widths": st.tuples(st.integers(1, 6), st.integers(1, 6), st.sampled_from([4, 8, 12])),
        "layers": st.integers(1, 3),
        "heads": st.sampled_from([1, 2, 4]),
        "slope": st.floats(0, 0.9),
        "head_input": st.sampled_from(["all", "slice"]),
        "positional": st.sampled_from(["stack", "shared"]),
    }
)


def pair(model: ModelSettings, branch: str, length: int, seed: int) -> tuple[State, LiteralState]:
    torch.manual_seed(seed)
    fast, literal = State(model, branch, length).double(), LiteralState(model, branch, length).double()
    copy_weights(fast, literal)
    return fast, literal


@settings(max_examples=25, deadline=None)
@given(
    sizes,
    st.sampled_from(["raw", "flow"]),
    st.integers(1, 6),
    st.integers(1, 3),
    st.sampled_from([(8, 4), (8, 12), (16, 4)]),
    st.integers(0, 2**31),
)
def test_fast_attention_equals_the_literal_paper_forward_and_backward(model, branch, length, cubes, patch, seed):
    fast, literal = pair(StateSettings(**model), branch, length, seed)
    x = torch.rand(cubes, length, 3, *patch, dtype=torch.float64)
    target = torch.randn(fast(x).shape, dtype=torch.float64)
    mine, theirs = x.clone().requires_grad_(True), x.clone().requires_grad_(True)
    outputs = fast(mine), literal(theirs)
    torch.testing.assert_close(*outputs, rtol=1e-5, atol=1e-9)
    for output in outputs:
        (output - target).square().sum().backward()
    torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-5, atol=1e-8)
    # Every weight's gradient: carry the fast one's into the literal layout and compare name by name.
    expected = {name: p.grad.clone() for name, p in literal.named_parameters()}
    with torch.no_grad():
        for p in fast.parameters():
            p.copy_(p.grad)
    copy_weights(fast, literal)
    for name, p in literal.named_parameters():
        torch.testing.assert_close(p.detach(), expected[name], rtol=1e-5, atol=1e-7, msg=name)


def centre_tap(conv: torch.nn.Conv2d, values: list[list[float]]) -> None:
    """Make a 3x3 convolution a 1x1 one: on 1x1 maps only the centre tap sees anything."""
    with torch.no_grad():
        conv.weight.zero_()
        conv.weight[:, :, 1, 1] = torch.tensor(values)
        if conv.bias is not None:
            conv.bias.zero_()


def test_equation_1_by_hand():
    """Two heads of one channel, two frames, 1x1 maps: z_1 = (1, 2), z_2 = (3, -1), identity W_Q and W_KV, slope 0.2.

    Q = K = V: (1, 2) and (3, -0.2). Encoding e_1 = (0, 1), e_2 = (1, 0). F = q + 2 k for head 1, and -q + k for head 2.
    Head 1: q = (1, 4), k = (1, 4): A = leaky((3, 9), (6, 12)); both rows' softmax of a difference of 6.
    Head 2: q = k = (3, -0.2): A = leaky((0, -3.2), (3.2, 0)) = ((0, -0.64), (3.2, 0)).
    """
    attention = ConvolutionalAttention(2, heads=2, slope=0.2, head_input="all")
    centre_tap(attention.query, [[1, 0], [0, 1]])
    centre_tap(attention.key_value, [[1, 0], [0, 1]])
    centre_tap(attention.attend_query, [[1], [-1]])
    centre_tap(attention.attend_key, [[2], [1]])
    z = torch.tensor([[1.0, 2.0], [3.0, -1.0]])[:, :, None, None]
    out = attention(z, torch.tensor([[0.0, 1.0], [1.0, 0.0]]), cubes=1)[:, :, 0, 0]

    def mix(a: float, b: float, v_1: float, v_2: float) -> float:
        return (math.exp(a) * v_1 + math.exp(b) * v_2) / (math.exp(a) + math.exp(b))

    expected = torch.tensor([[mix(0, 6, 1, 3), mix(0, -0.64, 2, -0.2)], [mix(0, 6, 1, 3), mix(3.2, 0, 2, -0.2)]])
    torch.testing.assert_close(out, expected)


def test_attention_maps_are_weights_over_j():
    attention = ConvolutionalAttention(8, heads=2, slope=0.2, head_input="all")
    q, k = torch.randn(2, 6, 8, 3, 5)
    maps = attention.attention(q, k, torch.randn(3, 8), cubes=2)
    assert maps.shape == (2, 3, 5, 2, 3, 3)
    torch.testing.assert_close(maps.sum(-1), torch.ones(2, 3, 5, 2, 3))


def test_a_sliced_head_sees_only_its_own_channels():
    attention = ConvolutionalAttention(8, heads=4, slope=0.2, head_input="slice")
    z = torch.randn(3, 8, 4, 4)
    changed = z.clone()
    changed[:, 2:] += 1  # all but the first head's two channels
    encoding = torch.zeros(3, 8)
    first, other = (attention(x, encoding, cubes=1) for x in (z, changed))
    torch.testing.assert_close(first[:, :2], other[:, :2])
    assert not torch.allclose(first[:, 2:], other[:, 2:])


def test_the_papers_sizes_have_the_authors_number_of_used_parameters():
    """3,312,261 in the authors' code, of which 744,200 never enter a forward pass: each head's feed-forward, and the
    layer that theirs are copied from."""
    model = StateSettings(head_input="slice", positional="shared")
    used = sum(p.numel() for branch in ("raw", "flow") for p in State(model, branch, 10).parameters())
    head_feed_forward, template = 3 * 4 * 9248, 4 * (3 * 9248 + 577) + 147584 + 256
    assert used == 3312261 - 2 * (head_feed_forward + template)


@pytest.mark.parametrize("kind", ["state", "conv_ae", "convlstm_ae", "unet"])
@pytest.mark.parametrize(("branch", "channels"), [("raw", 3), ("flow", 2)])
def test_every_kind_maps_cubes_to_cubes_of_the_branchs_channels(kind, branch, channels):
    network = build_model(model_settings({"kind": kind, "widths": (4, 8, 8)}), branch, 5)
    assert network(torch.rand(2, 5, 3, 16, 12)).shape == (2, 5, channels, 16, 12)


@pytest.mark.parametrize("kind", ["state", "conv_ae", "convlstm_ae", "unet"])
@pytest.mark.parametrize("shape", [(2, 5, 3, 16), (2, 5, 1, 16, 16), (2, 5, 3, 16, 18)])
def test_cubes_of_another_shape_are_refused(kind, shape):
    with pytest.raises(ValueError, match="expected cubes"):
        build_model(model_settings({"kind": kind, "widths": (4, 8, 8)}), "raw", 5)(torch.rand(shape))


def test_a_cube_longer_than_the_encoding_is_refused_and_a_shorter_one_is_not():
    network = State(StateSettings(widths=(4, 8, 8)), "raw", 5)
    assert network(torch.rand(1, 3, 3, 8, 8)).shape == (1, 3, 3, 8, 8)
    with pytest.raises(ValueError, match="7 frames"):
        network(torch.rand(1, 7, 3, 8, 8))
