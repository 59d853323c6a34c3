"""The page over the pages of a folder of results; and the clock that names of recordings tell."""

import re
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from tests.report.made import EVIL, own
from vadlib.errors import VadError
from vadlib.footage import overview
from vadlib.footage.clock import begin_of
from vadlib.footage.find import LeftOut, find_footage
from vadlib.footage.overview import write_overview
from vadlib.report.page import write_report

playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright")
CHROMIUM = next((p for p in map(Path, ("/usr/bin/chromium", "/usr/bin/chromium-browser")) if p.exists()), None)


@pytest.mark.parametrize(
    ("path", "begins"),
    [
        ("cam1_20260131_081500.mp4", "2026-01-31T08:15:00"),
        ("2026-01-31T08-15-00.mp4", "2026-01-31T08:15:00"),
        ("2026-01-31 08.15.00.mkv", "2026-01-31T08:15:00"),
        ("NVR_ch1_20260131081500_20260131083000.mp4", "2026-01-31T08:15:00"),
        ("20260131_081500123.mp4", "2026-01-31T08:15:00"),
        ("2026-01-31/08-15-00.mp4", "2026-01-31T08:15:00"),
        ("20260131/000123.mp4", None),  # as well a number
        ("VID_20260231_081500.mp4", None),
        ("20260131_256100.mp4", None),
        ("clip_0001234567890123.mp4", None),
        ("20260131.mp4", None),
        ("20260131_08.mp4", None),
    ],
)
def test_when_a_recording_begins_by_its_name(path, begins):
    assert begin_of(Path("/recordings") / path) == (begins and datetime.fromisoformat(begins))


def test_a_folder_of_images_begins_with_its_first(tmp_path):
    for name in ("20260131_081500_9.jpg", "20260131_081502_1.jpg", "20260131_081459_7.jpg"):
        (tmp_path / name).touch()
    assert begin_of(tmp_path) == datetime(2026, 1, 31, 8, 14, 59)
    assert begin_of(iter([tmp_path / "20260131_081500.jpg"])) is None  # still coming
    assert begin_of([tmp_path / "20260131_081500_9.jpg"]) == datetime(2026, 1, 31, 8, 15)


def leave(folder: Path, begins: datetime | None, **more) -> None:
    """What scoring a clip leaves, as far as the overview asks."""
    (clip,) = own().clips
    folder.mkdir(parents=True)
    write_report(folder / "report.html", own(title=folder.name, clips=[replace(clip, begins=begins)], **more))


@pytest.fixture
def results(tmp_path) -> Path:
    leave(tmp_path / "b #2", datetime(2026, 1, 31, 23, 59, 50))
    leave(tmp_path / "cam/a", datetime(2026, 1, 30, 7))
    leave(tmp_path / "calm", datetime(2026, 1, 31, 8), events=[], events_found=0)
    leave(tmp_path / "no name", None)
    write_overview(tmp_path)
    return tmp_path


@pytest.fixture
def page(results):
    if CHROMIUM is None:
        pytest.skip("needs Debian's chromium")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        page = browser.new_context(viewport={"width": 390, "height": 844}, offline=True).new_page()
        page.set_default_timeout(120_000)  # ms, on a machine with other work
        page.goto((results / "index.html").as_uri())
        yield page
        browser.close()


def test_days_and_their_clips_lead_to_the_pages(page, results):
    assert page.inner_text("h1") == "9 events in 4 recordings"
    assert page.locator("h2").all_inner_texts() == [
        "Friday, 30 January 2026", "Saturday, 31 January 2026", "Day not known",
    ]  # fmt: skip
    assert page.locator(".event-when").all_inner_texts() == [
        "07:00:00 1 min 20 s", "08:00:00 1 min 20 s", "23:59:50 1 min 20 s", "no name 1 min 20 s",
    ]  # fmt: skip
    highest = "Car. It goes as unusual a way as 1 in 800 normal objects."
    assert page.locator(".event-reason").all_inner_texts() == [
        f"07:01:01: {highest}", f"00:00:51: {highest}", f"1:01 into it: {highest}",
    ]  # fmt: skip
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert page.is_visible("text=Nothing unusual")
    page.check("#only")
    assert not page.is_visible("text=Nothing unusual")
    links = page.evaluate(
        "[...document.querySelectorAll('a')].map((a) => decodeURIComponent(new URL(a.href).pathname))"
    )
    assert links == [str(results / clip / "report.html") for clip in ("cam/a", "calm", "b #2", "no name")]


def test_clips_of_later_runs_are_added_and_others_pages_are_not_read(results, tmp_path):
    leave(tmp_path / "later", datetime(2026, 2, 1, 8))
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign/report.html").write_text((tmp_path / "later/report.html").read_text("utf-8"), "utf-8")
    write_overview(tmp_path)
    text = (tmp_path / "index.html").read_text("utf-8")
    assert "12 events in 5 recordings" in text
    assert "Sunday, 1 February 2026" in text
    assert "foreign" not in text


def test_of_very_many_recordings_the_most_unusual_have_pictures(results, tmp_path, monkeypatch):
    leave(tmp_path / "odd", None, events=[replace(own().events[1], score=99.0)], events_found=1)
    leave(tmp_path / "odder", None, events=[replace(own().events[1], score=100.0)], events_found=1)
    monkeypatch.setattr(overview, "PICTURES", 2)
    overview.write_overview(tmp_path)
    text = (tmp_path / "index.html").read_text("utf-8")
    cards = re.findall(r'<a class="event".*?</a>', text, re.DOTALL)
    assert [name for card in cards if "<img" in card for name in re.findall(r'href="(.*?)/', card)] == ["odd", "odder"]
    assert text.count("its page has the picture") == 3


def test_without_a_page_there_is_no_overview(tmp_path):
    write_overview(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_somebody_elses_page_is_left_alone(tmp_path):
    leave(tmp_path / "a", None)
    (tmp_path / "index.html").write_text("mine", "utf-8")
    with pytest.raises(VadError, match=r"index\.html: already there"):
        write_overview(tmp_path)
    assert (tmp_path / "index.html").read_text("utf-8") == "mine"


def test_names_are_only_text_and_the_overview_is_no_footage(tmp_path):
    leave(tmp_path / "a", None, events=[replace(own().events[0], kind=EVIL[0], reason=EVIL[1])], events_found=1)
    write_overview(tmp_path)
    text = (tmp_path / "index.html").read_text("utf-8")
    assert "1 event in 1 recording<" in text
    assert "<script" not in text
    assert EVIL[0] not in text
    left_out = LeftOut(quiet=True)
    assert list(find_footage([tmp_path], left_out)) == []
    assert left_out.others == 0
