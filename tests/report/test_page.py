import json
import re

import cv2
import numpy as np
import pytest

from tests.report.made import EVIL, METRICS, anomaly, clip, report, unlabelled, view
from vadlib.report import page, pictures
from vadlib.report.contents import picture_around
from vadlib.report.page import render, write_report


def data_of(html: str) -> dict:
    """What the page's script reads."""
    return json.loads(re.search(r'<script id="data" type="application/json">(.*?)</script>', html, re.DOTALL)[1])


def headings(html: str) -> list[str]:
    return re.findall(r"<h2[^>]*>(.*?)</h2>", html)


def test_the_same_report_gives_the_same_bytes(tmp_path):
    write_report(tmp_path / "a.html", report())
    write_report(tmp_path / "b.html", report())
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_plotly_is_in_the_page_once_and_nothing_is_loaded():
    html = render(report())
    assert html.count("* plotly.js v") == 1
    own = re.sub(r"<script>.*?</script>", "", html, flags=re.DOTALL)
    addresses = re.findall(r'(?:src|href)="(?!data:)([^"]*)"', own)
    assert addresses == []
    assert "http://" not in own
    assert "https://" not in own


def test_scores_are_drawn_as_they_are_and_frames_without_boxes_as_gaps():
    found = data_of(render(report()))["clips"][0]
    assert found["scores"][0] is None
    assert found["scores"][1:] == pytest.approx(clip("01").scores[1:], abs=5e-5)
    assert found["spans"] == [[20, 40]]


def test_markup_in_names_is_escaped_in_html_and_in_json():
    html = render(report(title=EVIL[0], clips=[clip(name) for name in EVIL], anomalies=[anomaly(EVIL[1], 3, 1.0)]))
    assert not any(name in html for name in EVIL)
    assert [found["name"] for found in data_of(html)["clips"]] == list(EVIL)
    assert html.count("<script") == 3


def test_headline_figures_come_with_their_intervals():
    html = render(report())
    tiles = dict(re.findall(r"<dt>(.*?)</dt>\s*<dd>(.*?)</dd>", html, re.DOTALL))
    assert "90.1 %" in tiles["AUROC, micro"]
    assert "95 % interval 84.5–95.3" in tiles["AUROC, micro"]
    assert "95 %" not in tiles["AUROC, macro"]
    assert "61.3 %" in tiles["AUROC of the untrained floor"]
    assert "RBDC" not in tiles
    assert "47.0 %" in render(report(metrics={**METRICS, "rbdc": 0.47}))


def test_what_is_missing_is_left_out():
    whole = ["Scores over time", "What scored highest", "Against the labels", "Protocols", "How it was made"]
    assert headings(render(report())) == whole
    html = render(unlabelled(threshold=None))
    assert headings(html) == ["Scores over time"]
    for absent in ("AUROC", "threshold", "labelled anomalous", "<video", "None", "nan"):
        assert absent not in re.sub(r"<(script|style).*?</\1>", "", html, flags=re.DOTALL), absent


def test_one_class_alone_has_no_roc_and_its_clip_no_auroc():
    calm = clip("calm", labels=np.zeros(60, bool))
    html = render(report(clips=[calm], anomalies=[], metrics={"auroc": {"micro": None}}))
    assert "Against the labels" not in html
    html = render(report(clips=[calm, clip("01")], anomalies=[]))
    assert "all normal or all anomalous has none" in html
    assert 'data-value="">–</td>' in html


def test_some_clips_without_labels():
    html = render(report(clips=[clip("01"), clip("02", labels=None)], anomalies=[], metrics=None))
    assert "not all labelled" in html
    assert "Against the labels" not in html


def test_no_frame_has_a_box():
    empty = clip("01", labels=None)
    empty.scores[:] = np.nan
    assert data_of(render(unlabelled(clips=[empty])))["clips"][0]["highest"] is None


def test_histograms_are_shares_of_each_class():
    found = data_of(render(report()))["histogram"]
    scored = 1 - 3 / 100  # the first frame of each of three clips has no box, and is normal
    assert sum(found["normal"]) == pytest.approx(scored, abs=1e-3)
    assert sum(found["anomalous"]) == pytest.approx(1, abs=1e-3)
    assert len(found["edges"]) == page.BINS + 1


def test_the_share_above_the_threshold():
    scores = np.array([0.0, 2, 3, 1.5])
    html = render(unlabelled(clips=[clip("a", 4, labels=None).__class__("a", scores)]))
    assert "50.0 %" in html
    assert "2 of 4" in html


def test_very_long_footage_has_a_point_for_several_frames(monkeypatch):
    monkeypatch.setattr(page, "MOST_POINTS", 20)
    long = clip("a", 59, labels=None, times=np.arange(59) / 10, fps=None)
    html = render(unlabelled(clips=[long]))
    found = data_of(html)["clips"][0]
    blocks = [long.scores[start : start + 3] for start in range(0, 59, 3)]
    assert found["scores"] == pytest.approx([np.nanmax(block) for block in blocks], abs=5e-5)
    assert found["times"] == [frame / 10 for frame in found["at"]]
    assert [round(long.scores[frame], 4) for frame in found["at"]] == found["scores"]
    assert "one point for every 3 frames" in html


def test_cards_tell_clip_frame_time_and_label():
    html = render(report(anomalies=[anomaly("01", 30, 5.0), anomaly("01", 10, 0.5)]))
    first, second = re.findall(r"<article.*?</article>", html, re.DOTALL)
    assert "frame 30 · 0:01.20" in first
    assert "labelled anomalous" in first
    assert "below threshold" not in first
    assert "labelled normal" in second
    assert "below threshold" in second


def test_times_over_an_hour():
    assert page._clock(3725.5) == "1:02:05.50"
    assert page._clock(59.999) == "1:00.00"


def test_a_card_shows_each_branch_before_and_after():
    rows, note = pictures.card_views(view())
    assert [(row["label"], row["note"]) for row in rows] == [
        ("raw", ""), ("raw", "perturbed"), ("flow", ""), ("flow", "perturbed"),
    ]  # fmt: skip
    assert all(image["alt"] for row in rows for image in row["images"])
    assert re.fullmatch(r"Full flow colour: 1\.\d px per frame\.", note)


def test_flow_colours_tell_direction_and_speed():
    right, down, still = [[[2.0, 0]]], [[[0, 2.0]]], [[[0, 0]]]
    assert pictures.flow_picture(np.array(right), 2.0).tolist() == [[[255, 0, 0]]]
    assert pictures.flow_picture(np.array(down), 2.0)[0, 0] == pytest.approx([128, 255, 0], abs=1)
    assert pictures.flow_picture(np.array(still), 2.0).tolist() == [[[255, 255, 255]]]
    assert pictures.flow_picture(np.array(right), 4.0)[0, 0] == pytest.approx([255, 128, 128], abs=1)
    wheel = pictures.flow_wheel(101)
    assert wheel[50, 100].tolist() == [255, 0, 0]
    assert wheel[50, 50].tolist() == [255, 255, 255]


def test_a_perturbation_is_shown_from_black_to_full_colour():
    steps = np.array([[[0.002, 0, -0.002]]], np.float32)
    assert pictures.perturbation_picture(steps).tolist() == [[[255, 128, 0]]]


def test_pictures_survive_as_data():
    picture = np.random.default_rng(0).integers(0, 255, (5, 7, 3), np.uint8)
    kind, content = pictures.data_uri(picture, "png").split(",")
    assert kind == "data:image/png;base64"
    decoded = cv2.imdecode(np.frombuffer(page.base64.b64decode(content), np.uint8), cv2.IMREAD_COLOR_RGB)
    np.testing.assert_array_equal(decoded, picture)


@pytest.mark.parametrize(
    "box", [(0, 0, 5, 5), (190, 110, 200, 120), (50, 40, 60, 80), (0, 0, 200, 120), (-3, -3, 1, 1)]
)
def test_a_picture_shows_the_box_wherever_it_is(box):
    frame = np.zeros((120, 200, 3), np.uint8)
    before = frame.copy()
    picture = picture_around(frame, box)
    assert max(picture.shape[:2]) == 400
    assert (picture == (255, 209, 0)).all(-1).any()
    np.testing.assert_array_equal(frame, before)


def test_a_report_needs_a_clip():
    with pytest.raises(ValueError, match="at least one clip"):
        render(report(clips=[]))
