import numpy as np
import pytest
import torch
from torch import nn

from vadlib.engine.engine import Engine
from vadlib.models.state import State
from vadlib.report.inspection import TopMoments, inspect_cubes
from vadlib.scoring.perturbation import perturbed_errors
from vadlib.settings import StateSettings

ENGINE = Engine(torch.device("cpu"), torch.float32)
ETA = 0.01


@pytest.fixture(scope="module")
def networks() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    model = StateSettings(widths=(4, 8, 8), layers=1, heads=2)
    return {branch: ENGINE.for_scoring(State(model, branch, 3)) for branch in ("raw", "flow")}


def cubes(count: int, length: int) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    return torch.rand(count, length, 3, 8, 8), torch.randn(count, length, 2, 8, 8)


def test_errors_are_those_that_score(networks):
    raw, flow = cubes(4, 3)
    views = inspect_cubes(networks, raw, flow, [1] * 4, ETA, 2.0, "sum", ENGINE)
    scored = perturbed_errors(networks, raw, flow, (0.0, ETA), 2.0, "sum", ENGINE)
    assert not torch.equal(scored[0.0]["raw"], scored[ETA]["raw"])
    for branch in networks:
        before = [view.branches[branch].before.error for view in views]
        after = [view.branches[branch].after.error for view in views]
        torch.testing.assert_close(torch.tensor(before), scored[0.0][branch])
        torch.testing.assert_close(torch.tensor(after), scored[ETA][branch])


@pytest.mark.parametrize("p", [1.0, 2.0])
def test_a_map_of_a_cube_of_one_frame_sums_to_its_error(networks, p):
    (view,) = inspect_cubes(networks, *cubes(1, 1), [0], ETA, p, "sum", ENGINE)
    for seen in view.branches.values():
        for run in (seen.before, seen.after):
            assert run.error_map.shape == (8, 8)
            assert run.error_map.sum() == pytest.approx(run.error, rel=1e-5)


def test_pictures_are_of_the_frame_that_the_cube_is_of(networks):
    raw, flow = cubes(2, 3)
    first, second = inspect_cubes(networks, raw, flow, [0, 2], ETA, 2.0, "sum", ENGINE)
    np.testing.assert_array_equal(first.original, raw[0, 0].permute(1, 2, 0))
    np.testing.assert_array_equal(second.branches["flow"].target, flow[1, 2].permute(1, 2, 0))
    np.testing.assert_allclose(np.abs(second.perturbed - second.original), ETA, atol=1e-6)
    # Raw: the perturbed cube is its own target.
    powers = (first.branches["raw"].after.output - first.perturbed) ** 2
    np.testing.assert_allclose(first.branches["raw"].after.error_map, powers.sum(-1), rtol=1e-4, atol=1e-7)


def test_a_branch_alone_needs_no_flow(networks):
    (view,) = inspect_cubes({"raw": networks["raw"]}, cubes(1, 3)[0], None, [1], 0.0, 2.0, "sum", ENGINE)
    assert list(view.branches) == ["raw"]
    np.testing.assert_array_equal(view.perturbed, view.original)


def picked(clips: dict[str, list[float]], **options) -> list[tuple[str, int, float]]:
    top = TopMoments(**options)
    for clip, scores in clips.items():
        for frame, score in enumerate(scores):
            top.offer(clip, frame, score, lambda frame=frame: f"held {frame}")
        top.end_clip()
    assert all(moment.held == f"held {moment.frame}" for moment in top.moments())
    return [(moment.clip, moment.frame, moment.score) for moment in top.moments()]


def test_a_peak_is_higher_than_its_neighbours():
    assert picked({"a": [0, 1, 5, 4, 3, 2, 1, 0, 3, 0]}, gap=2) == [("a", 2, 5), ("a", 8, 3)]


def test_the_far_side_of_a_slope_is_no_peak():
    assert picked({"a": [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]}, gap=2) == [("a", 0, 9)]


def test_the_first_of_equals_is_the_peak():
    assert picked({"a": [1, 1, 1, 1, 1]}, gap=3) == [("a", 0, 1)]


def test_every_clip_comes_before_any_clips_second_peak():
    clips = {"a": [9, 0, 0, 8, 0, 0, 7], "b": [1, 0, 0], "c": [2, 0, 0]}
    assert picked(clips, top=4, gap=2) == [("a", 0, 9), ("a", 3, 8), ("c", 0, 2), ("b", 0, 1)]
    assert picked(clips, top=3, gap=2) == [("a", 0, 9), ("c", 0, 2), ("b", 0, 1)]


def test_frames_without_a_score_are_passed_by():
    nan = float("nan")
    assert picked({"a": [nan, nan], "b": [nan, 2, nan, 1]}, gap=1) == [("b", 1, 2), ("b", 3, 1)]


def test_no_more_is_held_than_is_to_be_shown():
    top, held = TopMoments(top=3, gap=2), []
    for clip in range(50):
        for frame, score in enumerate(np.random.default_rng(clip).random(200)):
            top.offer(str(clip), frame, score, lambda: held.append(1))
        top.end_clip()
    assert len(top.moments()) == 3
    assert len(top._best) == 3
    assert not top._of_clip
