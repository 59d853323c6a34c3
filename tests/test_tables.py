"""Parquet tables, written and read clip by clip; CSV tables for git."""

import socket
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from tests.conftest import ROOT
from vadlib.errors import VadError
from vadlib.io.files import harm_of_table
from vadlib.io.tables import read_metadata, read_table, write_csv, write_table


def part(clip: str, rows: int) -> pd.DataFrame:
    return pd.DataFrame({"clip": [clip] * rows, "frame": range(rows), "score": [rows + 0.5] * rows}).astype(
        {"clip": "str", "frame": "int32"}
    )


def test_parts_come_back_in_order_a_row_group_for_each(tmp_path):
    parts = [part("01", 3), part("02", 0), part("03", 2)]
    assert write_table(tmp_path / "a.parquet", iter(parts)) == 5
    assert pq.ParquetFile(tmp_path / "a.parquet").metadata.num_row_groups >= 2
    pd.testing.assert_frame_equal(
        read_table(tmp_path / "a.parquet", "x"), pd.concat([parts[0], parts[2]], ignore_index=True)
    )


@pytest.mark.parametrize("empty", [0, 1])
def test_an_empty_part_fits_the_others_wherever_it_comes(tmp_path, empty):
    """An empty column of objects, which is how pandas 2 holds text, tells nothing of its type."""
    parts = [part("01", 2), part("02", 2)]
    parts[empty] = pd.DataFrame({"clip": [], "frame": [], "score": []}).astype(
        {"clip": object, "frame": "int32", "score": "float64"}
    )
    write_table(tmp_path / "a.parquet", parts)
    assert len(read_table(tmp_path / "a.parquet", "x")) == 2


def test_the_same_parts_are_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        write_table(tmp_path / name, [part("01", 3), part("02", 1)])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_rows_are_chosen_by_values_and_other_row_groups_left_alone(tmp_path):
    write_table(tmp_path / "a.parquet", [part("01", 3), part("02", 4)])
    found = read_table(tmp_path / "a.parquet", "x", clip="02", frame=1)
    assert found.to_dict("records") == [{"clip": "02", "frame": 1, "score": 4.5}]
    assert len(read_table(tmp_path / "a.parquet", "x", clip="03")) == 0


@pytest.mark.parametrize("name", ["memory", "rows", "metadata"])
def test_what_arrow_makes_of_damage_is_one_line(name):
    """Such files were found by tests/fuzz.py: Arrow 26 takes 15 GB for `memory`, waits for ever for a filter of `rows`,
    and gives metadata that is no text. Other versions have errors of their own."""
    if sys.platform != "linux" and name == "memory":
        pytest.skip("no process is held to an amount of memory there")
    path = ROOT / f"tests/damaged/{name}.parquet"
    with pytest.raises(VadError, match=rf"{name}\.parquet: not a whole table \(.+\); make it again with x"):
        read_metadata(path, "x") if name == "metadata" else read_table(path, "x", clip="a")


@pytest.mark.skipif(sys.platform == "win32", reason="no such files")
def test_what_is_the_surroundings_fault_is_not_the_tables(tmp_path, monkeypatch):
    """Of a socket the system says that it cannot be opened, as of files without rights."""
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("a.parquet")
        assert harm_of_table(Path("a.parquet")) is None


def test_parts_that_do_not_fit_leave_no_file(tmp_path):
    with pytest.raises(ValueError, match="schema"):
        write_table(tmp_path / "a.parquet", [part("01", 3), part("02", 1).drop(columns="score")])
    assert list(tmp_path.iterdir()) == []


def test_no_parts_leave_no_file(tmp_path):
    with pytest.raises(ValueError, match="no tables"):
        write_table(tmp_path / "a.parquet", [])
    assert list(tmp_path.iterdir()) == []


def test_an_error_while_a_part_is_made_leaves_no_file(tmp_path):
    def parts():
        yield part("01", 3)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_table(tmp_path / "a.parquet", parts())
    assert list(tmp_path.iterdir()) == []


def test_a_missing_or_damaged_table_names_file_and_command(tmp_path):
    path = tmp_path / "a.parquet"
    with pytest.raises(VadError, match=r"a\.parquet: not found; make it first with `the command`"):
        read_table(path, "`the command`")
    write_table(path, [part("01", 3)])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(VadError, match=r"a\.parquet: not a whole table \(.*; make it again with `the command`"):
        read_table(path, "`the command`")


def test_csv_has_six_digits_and_lf_ends(tmp_path):
    write_csv(tmp_path / "a.csv", pd.DataFrame({"eta": [0.002, 1 / 3], "n": [1, 1234567]}))
    assert (tmp_path / "a.csv").read_bytes() == b"eta,n\n0.002,1\n0.333333,1234567\n"


def test_a_damaged_footer_is_an_error_and_not_waited_for(tmp_path):
    """A column said to have no gaps though its statistics count them: Arrow's filters wait for ever."""
    path = tmp_path / "a.parquet"
    write_table(path, [part("01", 3)])
    content = path.read_bytes()
    assert content.count(b"\x25\x02\x18\x04clip") == 1
    path.write_bytes(content.replace(b"\x25\x02\x18\x04clip", b"\x25\x00\x18\x04clip"))
    code = "import sys; from pathlib import Path; from vadlib.io.tables import read_table as read\n"
    code += "read(Path(sys.argv[1]), 'x', clip='01')"
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, timeout=60, check=False)
    assert "not a whole table" in done.stderr.splitlines()[-1]
