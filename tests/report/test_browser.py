"""The page in a real browser, as people use it."""

import configparser
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest

from tests.conftest import ROOT
from tests.report.made import EVIL, clip, own, report, unlabelled
from vadlib.report.page import write_report

playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright")
CHROMIUM = next((p for p in map(Path, ("/usr/bin/chromium", "/usr/bin/chromium-browser")) if p.exists()), None)
SLOWEST = 120_000  # ms that a page may take, on a machine with other work
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
        context.set_default_timeout(SLOWEST)
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
    for _ in range(SLOWEST // 25):
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


def write_video(path: Path, frames: int, rate: int = 25) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(frames):
            picture = np.full((48, 64, 3), 4 * (number % 60), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode())


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
    write_video(pages / "clip 1.mp4", 60)
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


def test_the_plots_of_dvc_are_drawn_without_a_network(browser, pages):
    """By the template that DVC's settings name, of our plots and of DVC's own."""
    render = pytest.importorskip("dvc_render", reason="needs DVC")
    from dvc_render.vega import VegaRenderer

    settings = configparser.ConfigParser()
    settings.read(ROOT / ".dvc/config")
    template = ROOT / ".dvc" / settings["plots"]["html_template"].strip()
    assert template.is_file()

    def plot(name: str, rows: list[dict], **more: str) -> VegaRenderer:
        return VegaRenderer(rows, name, template_dir=str(ROOT / ".dvc/plots"), **more)

    loss = [
        {"epoch": str(n / 4), "loss": str(1 / (n + 1)), "rev": rev} for rev in ("main", "workspace") for n in range(9)
    ]
    sweep = [
        {"eta": e, "micro": "0.9", "configuration": c, "rev": "a"} for e in ("0", "0.002") for c in ("best", "paper")
    ]
    frames = [
        {"clip": c, "frame": str(n), "score": "" if n == 4 else str(n % 5), "label": str(int(n >= 10)), "rev": "a"}
        for c in ("01", "02", EVIL[0])
        for n in range(20)
    ]
    bars = [{"actual": "a", "predicted": "b", "rev": "a"}]
    plots = [
        plot("loss", loss, template="linear", x="epoch", y="loss", title="training loss"),
        plot("one", loss[:1], template="simple", x="epoch", y="loss", title=""),
        plot("eta", sweep, template="sweep", x="eta", y="micro", y_label="AUROC", title="AUROC by eta"),
        plot("frames", frames, template="clips", x="frame", y="score", title="frame scores"),
        plot("bars", bars, template="confusion", x="actual", y="predicted", title="no line"),
    ]
    render.render_html(plots, pages / "plots.html", html_template=template)
    page = browser.new_context(viewport={"width": 390, "height": 800}, offline=True).new_page()
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.on("request", lambda request: asked.append(request.url))
    page.goto((pages / "plots.html").as_uri())
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [(pages / "plots.html").as_uri()]
    assert page.locator("h2").all_inner_texts() == ["training loss", "one", "AUROC by eta", "frame scores", "no line"]
    assert page.locator(".key span").all_inner_texts() == ["main", "workspace", "a · best", "a · paper"]
    drawn = page.evaluate(
        "[...document.querySelectorAll('main > div')].map((plot) => ['path', 'circle', 'rect'].map((name) =>"
        " plot.querySelectorAll(`svg ${name}`).length))"
    )
    assert drawn == [[2, 18, 0], [1, 1, 0], [2, 4, 0], [3, 0, 30], [0, 0, 0]]
    assert page.locator("figcaption").all_inner_texts() == ["clip 01", "clip 02", f"clip {EVIL[0]}"]
    gaps = page.evaluate("document.querySelector('#frames path').getAttribute('d').match(/M/g).length")
    assert gaps == 2  # a frame without boxes has no score
    assert "is no line" in page.inner_text("#bars")
    assert page.evaluate("document.documentElement.scrollWidth") == 390


@pytest.fixture(scope="module")
def events(pages) -> str:
    """A page of own footage with its annotated video beside it."""
    (pages / "own").mkdir()
    write_video(pages / "own/annotated.mp4", 160, rate=2)
    write_report(pages / "own/report.html", own())
    return "own/report.html"


def test_a_click_on_an_event_plays_it_and_shows_it_in_the_curve(visit, events):
    seen = visit(events)
    page = seen.page
    when = "[...document.querySelectorAll('#events time')].map((time) => time.innerText)"
    until(page, "document.getElementById('video').readyState >= 1")
    page.evaluate(
        "window.begun = []; document.getElementById('video').addEventListener('seeking', (e) =>"
        " begun.push(e.target.currentTime))"
    )
    page.click("#events .event >> nth=2")
    until(page, "!document.getElementById('video').paused")
    assert page.evaluate("begun") == pytest.approx([59], abs=0.6)  # two seconds before it
    current = "[...document.querySelectorAll('#events li[aria-current]')].map((li) => li.dataset.event)"
    assert page.evaluate(current) == ["2"]
    assert page.inner_text("#status") == "08:16:07 · frame 844 · 1:07.52 · score 9.80"
    low, high = x_range(page)
    assert low.replace(" ", "T").startswith("2026-01-31T08:15:56")
    assert high.replace(" ", "T").startswith("2026-01-31T08:16:19")
    assert page.text_content("#curve .xtitle") == "time of day"
    assert not page.is_visible(".card >> nth=0")  # folded away
    page.click("#experts > summary")
    assert page.is_visible(".card >> nth=0")
    assert page.evaluate(when) == ["08:15:08", "08:15:30", "08:16:01"]
    page.click("[data-order='value']")
    assert page.evaluate(when) == ["08:16:01", "08:15:08", "08:15:30"]
    assert page.get_attribute("[data-order='value']", "aria-pressed") == "true"
    page.click("[data-order='start']")
    assert page.evaluate(when) == ["08:15:08", "08:15:30", "08:16:01"]
    assert seen.messages == []


def test_on_a_phone_events_come_first_and_the_video_when_it_is_asked_for(visit, events):
    page = visit(events, width=390, height=844, device_scale_factor=2, has_touch=True).page
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert not page.is_visible("#video")
    page.tap("#events .event >> nth=1")
    until(page, "!document.getElementById('video').paused")
    top, bottom = page.evaluate(
        "(({ top, bottom }) => [top, bottom])(document.getElementById('video').getBoundingClientRect())"
    )
    assert 0 <= top < bottom <= 844


def test_a_page_without_its_video_says_so(visit, pages):
    (pages / "alone").mkdir()
    write_report(pages / "alone/report.html", own())
    page = visit("alone/report.html").page
    page.wait_for_selector("#video-missing", state="visible")
    assert "annotated.mp4 is not beside this page" in page.inner_text("#video-missing")


def test_a_table_that_goes_on_shows_that_it_scrolls(visit, small, pages):
    many = [clip(f"a rather long name of a clip, {number}", peak=1 + number) for number in range(40)]
    write_report(pages / "many.html", report(clips=many, anomalies=[]))
    page = visit("many.html", width=390, height=844).page
    until(page, "document.querySelector('.table-panel .table-scroll').classList.contains('more-below')")
    assert "The table goes on" in page.inner_text(".table-panel .scroll-hint")
    page.evaluate("document.querySelector('.table-panel .table-scroll').scrollTo(9999, 99999)")
    until(page, "!document.querySelector('.table-panel .table-scroll').className.includes('more-')")
    assert small.page.evaluate("document.querySelectorAll('.more-right, .more-below').length") == 0
    assert not small.page.is_visible(".table-panel .scroll-hint")
