"""What is kept on disk, and what leaves when it becomes too much."""

import json

import pytest

from vadlib.errors import VadError
from vadlib.watch.events import Event, Seen, clock
from vadlib.watch.store import Store

BEGIN = 1_769_846_400.0  # 2026-01-31T08:00:00Z


def event(hours: float, state: str = "begin") -> Event:
    seen = Seen(BEGIN + 3600 * hours, 0.0, 12.0, (1.0, 2.0, 3.0, 4.0), 1)
    stamp = clock(seen.wall).replace(":", "").replace("-", "").replace(".", "")
    return Event(f"door-{stamp}", "door", seen, seen, seen, state)


def keep(store: Store, hours: float, size: int = 10_000) -> str:
    begun = event(hours)
    folder = store.begin(begun, b"small")
    (folder / "clip.mp4").write_bytes(b"x" * size)
    store.end(event(hours, "end"), b"thumbnail")
    return begun.id


def names(store: Store) -> list[str]:
    return sorted(p.parent.name for p in store.folder.glob("events/*/*/event.json"))


def test_an_event_is_a_folder_and_a_line_and_is_found_again(tmp_path):
    store = Store(tmp_path / "out", 10**9, print)
    identity = keep(store, 0)
    folder = tmp_path / "out/events/2026-01-31" / identity
    assert json.loads((folder / "event.json").read_text())["state"] == "end"
    assert (folder / "thumbnail.jpg").read_bytes() == b"thumbnail"
    (line,) = (folder.parent / "events.jsonl").read_text().splitlines()
    assert json.loads(line)["id"] == identity
    again = Store(tmp_path / "out", 10**9, print)
    assert [row["id"] for row in again.recent] == [identity]
    assert again.file_of(identity, "clip.mp4") == folder / "clip.mp4"
    assert again.file_of("../../labels", "clip.mp4") is None


def test_the_oldest_leave_first_and_what_is_not_ours_never(tmp_path):
    told = []
    store = Store(tmp_path / "out", 45_000, told.append)
    first = keep(store, 0)
    table = store.table("door", "2026-01-31T09", None)
    table.write_text("x" * 5_000)
    (tmp_path / "out/events/2026-01-31/mine.txt").write_text("mine")
    changed = keep(store, 2)
    (tmp_path / "out/events/2026-01-31" / changed / "note.txt").write_text("mine too")
    latest = store.table("door", "2026-02-01T12", table)
    latest.write_text("rows")
    later = [keep(store, hours) for hours in (24, 25, 26, 27)]
    store.keep_quota()
    assert names(store) == sorted([changed, *later[-3:]])
    assert first not in names(store)
    assert not table.exists()
    assert latest.exists()
    assert (tmp_path / "out/events/2026-01-31/mine.txt").read_text() == "mine"
    assert len([line for line in told if line.startswith("kept, though the quota is passed")]) == 1
    assert [row["id"] for row in store.recent] == [changed, *later[-3:]]
    assert sum(p.stat().st_size for p in (tmp_path / "out").rglob("*") if p.is_file()) <= 45_000


def test_a_day_without_events_leaves_no_folder(tmp_path):
    store = Store(tmp_path / "out", 25_000, print)
    for hours in (0, 24, 48):
        keep(store, hours)
    assert [p.name for p in sorted((tmp_path / "out/events").iterdir()) if p.is_dir()] == ["2026-02-01", "2026-02-02"]


def test_what_was_going_on_at_a_kill_is_ended_by_the_next_run(tmp_path):
    begun = event(0)
    Store(tmp_path / "out", 10**9, print).begin(begun, b"small")
    again = Store(tmp_path / "out", 10**9, print)
    assert [(row["id"], row["state"]) for row in again.unended()] == [(begun.id, "end")]
    assert list(Store(tmp_path / "out", 10**9, print).unended()) == []


def test_the_last_word_on_an_event_counts_and_is_kept(tmp_path):
    store = Store(tmp_path / "out", 10**9, print)
    identity = keep(store, 0)
    assert not store.label("no such event", "real")
    assert store.label(identity, "real")
    assert store.label(identity, "normal")
    rows = [json.loads(line) for line in (tmp_path / "out/labels.jsonl").read_text().splitlines()]
    assert [row["label"] for row in rows] == ["real", "normal"]
    assert rows[0]["event"] == identity
    assert Store(tmp_path / "out", 10**9, print).labels == {identity: "normal"}


def test_a_folder_of_somebody_elses_is_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(VadError, match="not what this tool made"):
        Store(tmp_path, 10**9, print)
