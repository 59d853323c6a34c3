"""What file names say: times, order, and names that are safe anywhere."""

import pytest

from vadlib.io.names import MOST_A_SECOND, folded, natural_key, safe_name, times_in_names


def test_natural_order():
    names = ["clip10", "clip2", "Clip1", "02", "2", "1b", "", "1"]
    assert sorted(names, key=natural_key) == ["", "1", "1b", "02", "2", "Clip1", "clip2", "clip10"]


@pytest.mark.parametrize(
    ("names", "times"),
    [
        (["12-28-11", "12-28-15", "12-29-00"], [0, 4, 49]),
        (["0107_100715-01-m", "0107_100715-02-m", "0107_100716-01-m"], [0, 0.5, 1]),
        (["2026-01-01_08-00-00", "2026-01-01_08-00-10", "2026-01-02_08-00-00"], [0, 10, 86400]),
        (["20260101080000", "20260101080002"], [0, 2]),
        (["IMG_20260101_080000123", "IMG_20260101_080001003"], [0, 0.88]),
        (["2026-01-01T08:00:00.250", "2026-01-01T08:00:00.5"], [0, 0.25]),
        (["cam 3 Screenshot 2026-01-01 at 08.00.00", "cam 3 Screenshot 2026-01-02 at 08.00.05"], [0, 86405]),
        (["01-07-2026 10.07.15", "02-07-2026 10.07.15"], [0, 86400]),
        (["12h28m11s", "12h28m12s"], [0, 1]),
        (["1767254400", "1767254401"], [0, 1]),
        (["1767254400500.front", "1767254401000.front"], [0, 0.5]),
        (["192.168.1.10_01_20260107100715512_MOTION", "192.168.1.10_01_20260107100716012_MOTION"], [0, 0.5]),
        (["a_08.00.00-1", "a_08.00.00-2", "a_08.00.00-10", "a_08.00.01-1"], [0, 1 / 3, 2 / 3, 1]),
        (["2026-01-01 at 11.59.58 AM", "2026-01-01 at 12.00.00 PM", "2026-01-01 at 1.05.09 PM"], [0, 2, 3911]),
        (["Screenshot 2026-01-01 at 12.00.01\u202fAM", "Screenshot 2026-01-01 at 9.00.00\u202fAM"], [0, 32399]),
        (["10.00.00 am gate", "10.00.00 pm gate"], [0, 43200]),
        (["2026-1-1 8-59-58", "2026-1-1 9-0-0", "2026-1-12 9-0-0"], [0, 2, 950402]),
        (["1.05.09 PM", "11.59.58 AM"], [3911, 0]),
        (["1767254400000000", "1767254400040000"], [0, 0.04]),
        (["1767254400000000000", "1767254400040000000"], [0, 0.04]),
        (["2026-10-25T02:59:59+02:00", "2026-10-25T02:00:01+01:00"], [0, 2]),  # the hour that comes twice
        (["2026-01-01T08:00:00Z", "2026-01-01T08:00:05Z"], [0, 5]),
        (["2026-01-01T08-00-00-05:00", "2026-01-01T08-00-01-05:00"], [0, 1]),
        (["23-59-58", "00-00-01"], [86397, 0]),  # of a day: there is no telling that it is the next
    ],
)
def test_times_are_read_from_names(names, times):
    assert times_in_names(names) == pytest.approx(times)


@pytest.mark.parametrize(
    "names",
    [
        ["000001", "000002"],
        ["frame_000001", "frame_000002"],
        ["2024-05-01_1", "2024-05-01_2"],  # a date, and the frame
        ["cam_2026-01-01_08-00-00_0001", "cam_2026-01-01_08-00-00_0002"],  # when it began, and the frame
        ["cam_2026-01-01_08-00-00_001", "cam_2026-01-01_08-00-00_002"],
        [f"08-00-0{n % 2}_{n:04d}" for n in range(3 * MOST_A_SECOND)],
        ["12-28-11", "012"],
        ["1-2-3", "1-2-4"],  # a scene, a shot and a frame
        ["take 1.2.3", "take 1.2.99"],
        ["2026-1-1_1", "2026-1-1_2"],
        ["12-28-11", "20260101080000"],  # not in the same way
        ["12-60-11", "12-61-11"],
        ["2026-02-30_08-00-00", "2026-02-28_08-00-00"],
        ["01_0014", "01_0015"],
        ["a", "b"],
        [],
    ],
)
def test_numbers_that_are_no_times_are_not_taken_for_some(names):
    assert times_in_names(names) is None


ODD = [
    'a"b',
    "a\nb",
    "\udcff\udcfe",
    "a:b",
    "a/b",
    "a\\b",
    "a\x1b[31mb",
    ".hidden",
    " a",
    "a ",
    "a.",
    "CON",
    "nul.x",
    "x" * 300,
]


@pytest.mark.parametrize("name", ODD)
def test_an_odd_name_becomes_a_safe_one_and_always_the_same(name):
    safe = safe_name(name)
    assert safe == safe_name(name) != name
    assert safe.isprintable()
    assert not set(safe) & set('/\\:*?"<>|')
    assert len(safe.encode()) <= 130
    assert safe == safe.strip(". ")
    assert safe.split(".")[0].lower() not in ("con", "nul")


def test_different_names_stay_different():
    names = [*ODD, "a_b", "a?b", "a*b", "a\tb", "\udcfe\udcff", "x" * 301, "b", "駅" * 100, "駅" * 101]
    safe = [safe_name(name) for name in names]
    assert len({folded(name) for name in safe}) == len(names)


@pytest.mark.parametrize(
    "name", ["01_0014", "gate 3 (north)", "Straße", "駅前", "a.b", "it's", "50 %", "-a", "#1; b & c"]
)
def test_names_that_any_system_takes_are_kept(tmp_path, name):
    assert safe_name(name) == name
    (tmp_path / name).mkdir()
    assert [path.name for path in tmp_path.iterdir()] == [name]
