"""The page in a real browser, as people use it."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest

from tests.report.made import EVIL, clip, report, unlabelled
from vadlib.report.page import write_report

playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright")
CHROMIUM = next((p for p in map(Path, ("/usr/bin/chromium", "/usr/bin/chromium-browser")) if p.exists()), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium")


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    write_report(folder / "small.html", report())
    write_report(folder / "own.html", unlabelled())
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator:
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def visit(browser, pages) -> Iterator:
    """Open a page, offline, and note all that it says and asks for."""
    contexts = []

    def open_page(name: str, width: int = 1280, height: int = 800, **options) -> SimpleNamespace:
        context = browser.new_context(viewport={"width": width, "height": height}, offline=True, **options)
        contexts.append(context)
        page = context.new_page()
        seen = SimpleNamespace(page=page, messages=[], requests=[], dialogs=[])
        page.on("console", lambda message: seen.messages.append(message.text))
        page.on("pageerror", lambda error: seen.messages.append(str(error)))
        page.on("request", lambda request: seen.requests.append(request.url))
        page.on("dialog", lambda dialog: (seen.dialogs.append(dialog.message), dialog.dismiss()))
        page.goto((pages / name).as_uri())
        page.wait_for_selector("#curve .scatterlayer .trace", state="attached")
        return seen

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def small(visit) -> SimpleNamespace:
    """The small report, opened once: the charts' library takes a second to load."""
    return visit("small.html", color_scheme="light")


@pytest.fixture
def page(small):
    """The small report at its first clip."""
    small.page.mouse.move(0, 0)
    small.page.click("#clips tbody tr[data-clip='0'] .clip-button")
    return small.page


def until(page, expression: str) -> None:
    """Wait for something to be true. Playwright's own way is forbidden by the page's policy."""
    for _ in range(200):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(25)
    raise AssertionError(f"never true: {expression}")


def drawn(page) -> list:
    """The scores that the chart shows."""
    return page.evaluate("document.getElementById('curve').data[0].y")


def x_range(page) -> list:
    return page.evaluate("document.getElementById('curve').layout.xaxis.range")


def test_loads_from_disk_without_a_message_and_without_a_request(small, pages):
    seen = small
    seen.page.wait_for_selector("#histogram .barlayer .trace", state="attached")
    assert seen.messages == []
    elsewhere = [url for url in seen.requests if not url.startswith(("data:", "blob:"))]
    assert elsewhere == [(pages / "small.html").as_uri()]
    assert seen.page.inner_text("h1") == "small"
    assert "90.1 %" in seen.page.inner_text(".tiles")


def test_the_policy_forbids_what_the_page_does_not_need(page):
    blocked = """async () => {
        const images = new Promise((done) => {
            const image = new Image(); image.onerror = () => done('blocked'); image.onload = () => done('loaded');
            image.src = 'http://127.0.0.1:9/x.png'; });
        const fetched = await fetch('http://127.0.0.1:9/').then(() => 'loaded', () => 'blocked');
        const script = document.createElement('script'); script.textContent = 'window.ran = true';
        document.body.append(script);
        return [await images, fetched, window.ran === undefined]; }"""
    page.evaluate(
        "window.violations = [];"
        "addEventListener('securitypolicyviolation', (e) => violations.push(e.effectiveDirective))"
    )
    assert page.evaluate(blocked) == ["blocked", "blocked", True]
    assert sorted(page.evaluate("violations")) == ["connect-src", "img-src", "script-src-elem"]


def test_a_click_on_a_clip_shows_its_curve(page):
    assert page.inner_text("#clip-title") == "Clip 01"
    before = drawn(page)
    page.click("text='02'")
    assert page.inner_text("#clip-title") == "Clip 02"
    assert drawn(page) != before
    assert drawn(page)[0] is None  # a frame without boxes
    assert drawn(page)[1:] == pytest.approx(clip("02", start=30, peak=7.0).scores[1:], abs=1e-4)
    assert page.inner_text("#clips tr[aria-current] th") == "02"


def test_the_labelled_span_is_shaded_where_the_labels_are(page):
    shapes = page.evaluate("document.getElementById('curve').layout.shapes")
    (span,) = [shape for shape in shapes if shape["type"] == "rect"]
    assert (span["x0"], span["x1"]) == (19.5, 39.5)
    assert [shape["y0"] for shape in shapes if shape["type"] == "line"] == [1.5]  # the threshold


def over(page, frame: int | str) -> tuple[float, float]:
    """Where in the window the curve of a frame is."""
    return page.evaluate(
        """(frame) => { const l = document.getElementById('curve')._fullLayout;
        const r = document.querySelector('#curve .nsewdrag').getBoundingClientRect();
        return [r.left + l.xaxis.d2p(frame), r.top + r.height / 2]; }""",
        frame,
    )


def test_hovering_tells_frame_time_and_score(page):
    page.mouse.move(*over(page, 30))
    page.wait_for_selector("#curve .hoverlayer .hovertext")
    text = page.text_content("#curve .hoverlayer")
    expected = clip("01").scores[30]
    assert "frame 30 · 0:01.20" in text
    assert f"score {expected:.2f}" in text
    assert "labelled anomalous" in text


def test_dragging_zooms_and_a_double_click_shows_all(page):
    whole = x_range(page)
    (left, y), (right, _) = over(page, 15), over(page, 45)
    page.mouse.move(left, y)
    page.mouse.down()
    page.mouse.move(right, y, steps=4)
    page.mouse.up()
    until(page, "document.getElementById('curve').layout.xaxis.range[0] > 5")
    assert x_range(page) == pytest.approx([15, 45], abs=1)
    page.mouse.dblclick((left + right) / 2, y)
    until(page, "document.getElementById('curve').layout.xaxis.range[0] < 5")
    assert x_range(page) == pytest.approx(whole, abs=1)


def test_a_click_on_an_anomaly_moves_the_curve_to_it(page):
    page.click(".card >> nth=0 >> .jump")
    assert page.inner_text("#clip-title") == "Clip 02"
    assert page.inner_text("#status") == "frame 40 · 0:01.60 · score 7.00"
    low, high = x_range(page)
    assert low <= 40 <= high
    assert page.evaluate("document.getElementById('curve').getBoundingClientRect().top < innerHeight")


def test_columns_sort(page):
    names = "[...document.querySelectorAll('#clips tbody th')].map((cell) => cell.innerText)"
    assert page.evaluate(names) == ["01", "02", EVIL[0]]
    page.click("#clips thead >> text=peak")
    assert page.evaluate(names) == ["02", "01", EVIL[0]]
    page.click("#clips thead >> text=peak")
    assert page.evaluate(names) == [EVIL[0], "01", "02"]


def test_a_name_full_of_markup_is_only_text(visit, pages):
    evil = [clip(name) for name in EVIL]
    write_report(pages / "evil.html", report(title=EVIL[1], clips=evil, anomalies=[]))
    seen = visit("evil.html")
    assert seen.page.inner_text("h1") == EVIL[1]
    for name in EVIL:
        seen.page.locator(".clip-button", has_text=name).click()
        assert seen.page.inner_text("#clip-title") == f"Clip {name}"
    assert seen.dialogs == []
    assert seen.messages == []


@pytest.mark.parametrize("name", ["small.html", "own.html"])
def test_a_phone_has_nothing_to_scroll_sideways(visit, name):
    page = visit(name, width=390, height=844, device_scale_factor=2, has_touch=True).page
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    wide = "[...document.querySelectorAll('main *')].filter(e => !e.closest('.table-scroll, .visually-hidden, svg')"
    assert page.evaluate(f"{wide} && e.getBoundingClientRect().right > 391).map(e => e.className)") == []


def test_dark_mode_changes_page_and_chart(page):
    look = """() => [getComputedStyle(document.body).backgroundColor,
        document.getElementById('curve').data[0].line.color, document.getElementById('roc').data[1].line.color]"""
    light = page.evaluate(look)
    page.emulate_media(color_scheme="dark")
    until(page, f"document.getElementById('curve').data[0].line.color !== {json.dumps(light[1])}")
    assert all(a != b for a, b in zip(light, page.evaluate(look), strict=True))
    page.emulate_media(color_scheme="light")


def test_unlabelled_footage_has_a_time_axis_and_no_empty_sections(visit):
    page = visit("own.html").page
    assert page.text_content("#curve .xtitle") == "time"
    drawn_at = page.evaluate("document.getElementById('curve').calcdata[0].map((point) => point.x)")
    assert drawn_at == [None] + [80 * frame for frame in range(1, 80)]  # ms; the first frame has no boxes
    page.mouse.move(*over(page, "1970-01-01T00:00:02.4"))
    page.wait_for_selector("#curve .hoverlayer .hovertext")
    assert "frame 30 · 0:02.40" in page.text_content("#curve .hoverlayer")
    assert page.query_selector("#roc") is None
    assert page.query_selector(".cards") is None
    assert page.query_selector("#clips") is None
    assert "frames above the threshold" in page.inner_text(".tiles")


def test_the_annotated_video_is_shown_and_follows_a_jump(visit, pages):
    with av.open(str(pages / "clip 1.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for level in range(60):
            picture = np.full((48, 64, 3), 4 * level, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode())
    write_report(pages / "video.html", report(clips=[clip("01", video="clip 1.mp4"), clip("02")]))
    seen = visit("video.html")
    page = seen.page
    assert page.is_visible("#video")
    until(page, "document.getElementById('video').readyState >= 1")
    assert page.evaluate("document.getElementById('video').videoWidth") == 64
    page.click(".card >> nth=1 >> .jump")  # clip 01, frame 30
    until(page, "Math.abs(document.getElementById('video').currentTime - 1.2) < 0.01")
    page.mouse.move(*over(page, 35))
    page.wait_for_selector("#curve .hoverlayer .hovertext")
    page.mouse.click(*over(page, 35))
    until(page, "Math.abs(document.getElementById('video').currentTime - 1.4) < 0.01")
    page.click("text='02'")  # which has no video
    assert not page.is_visible("#video-figure")
    assert seen.messages == []
