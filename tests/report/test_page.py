import json
import re

import cv2
import numpy as np
import pytest

from tests.report.made import EVIL, METRICS, WHY, anomaly, clip, event, own, report, unlabelled, view
from vadlib.report import page, pictures
from vadlib.report.contents import picture_around, whole_picture
from vadlib.report.page import lasting, render, summary_of, write_report


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


def test_a_card_says_why_its_box_scored():
    why = "It is as fast as 1 in 3,400 normal objects"
    html = render(report(anomalies=[anomaly("01", 30, 5.0, reason=why), anomaly("02", 40, 7.0)]))
    assert re.findall(r'<p class="reason">(.*?)</p>', html) == [f"{why}."]
    assert EVIL[0] not in render(report(anomalies=[anomaly("01", 30, 5.0, reason=EVIL[0])]))


def test_headline_figures_come_with_their_intervals():
    html = render(report())
    tiles = dict(re.findall(r"<dt>(.*?)</dt>\s*<dd>(.*?)</dd>", html, re.DOTALL))
    assert "90.1 %" in tiles["AUROC, micro"]
    assert "95 % interval 84.5–95.3" in tiles["AUROC, micro"]
    assert "95 %" not in tiles["AUROC, macro"]
    assert "61.3 %" in tiles["AUROC of the untrained floor"]
    assert "the best of what learns nothing" in tiles["AUROC of the untrained floor"]
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


def text_of(html: str) -> str:
    """What a person reads of it, with what is folded away cut off."""
    html = re.sub(r"<(script|style|details).*?</\1>|<details.*", " ", html, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def test_a_page_of_own_footage_begins_with_what_happened_and_when():
    html = render(own())
    assert headings(html)[:2] == ["What happened", "How unusual, over time"]
    text = text_of(html)
    assert "3 events in 1 min 20 s of footage: Saturday, 31 January 2026, 08:15:00 to 08:16:19" in text
    assert f"08:15:08 4 s Person {WHY}. 0:08 into the clip · score 6.20" in text
    assert "08:15:30 less than a second Something that moves 0:30 into the clip · score 3.10" in text
    assert "08:16:01 13 s Car most unusual" in text
    assert text.count("most unusual first") == text.count("Car most unusual") == 1


def test_what_the_networks_made_of_it_is_folded_away():
    html = render(own())
    assert "reconstruct" not in html.split("<script>")[0]
    assert not {"eta", "perturbed", "cube", "redrawn"} & set(text_of(html).split())
    (folded,) = re.findall(r'<details class="experts".*</details>', html, re.DOTALL)
    assert all(word in folded for word in ("What scored highest", "redrawn", "0.002", "How it was made"))
    assert "<details open><summary>What the networks" not in html
    assert "<details open><summary>What the networks" in render(report())  # of a data set: it is what one wants to see


def test_without_a_known_time_events_have_their_place_in_the_clip():
    (plain,) = own().clips
    html = render(own(clips=[plain.__class__("street", plain.scores, times=plain.times)]))
    assert "3 events in 1 min 20 s of footage." in html
    assert "0:08 4 s Person" in text_of(html)
    assert "<video" not in html


def test_nothing_happened():
    html = render(own(events=[], events_found=0))
    assert "Nothing unusual in 1 min 20 s" in html
    assert "No frame scored above the threshold" in html
    assert "<li data-event" not in html


def test_of_very_many_events_the_page_says_how_many_there_are():
    html = render(own(events_found=1234))
    assert "The 3 most unusual of 1,234 events; segments.csv" in html
    assert "1,234 events in" in html


def test_names_and_reasons_of_events_are_only_text():
    html = render(own(events=[event(1, 2, 3.0, kind=EVIL[1], reason=EVIL[0])], events_found=1))
    assert not any(name in html for name in EVIL[:2])


def test_the_summary_tells_of_the_highest_event():
    told = summary_of(own())
    assert (told["events"], told["kind"], told["at"], told["begins"]) == (3, "Car", 61.0, "2026-01-31T08:15:00")
    assert told["picture"] == own().events[2].picture
    assert told["seconds of events"] == 17.9
    written = re.search(r'<script id="summary" type="application/json">(.*?)</script>', render(own()))
    assert json.loads(written[1]) == told


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.0, "less than a second"),
        (1, "1 s"),
        (59.4, "59 s"),
        (59.7, "1 min"),
        (80, "1 min 20 s"),
        (3599.9, "1 h"),
        (7500, "2 h 5 min"),
    ],
)
def test_lengths_as_people_say_them(seconds, said):
    assert lasting(seconds) == said


@pytest.mark.parametrize("size", [(120, 200), (1080, 1920), (300, 90)])
def test_the_whole_picture_shows_the_box_where_it_is(size):
    height, width = size
    frame = np.zeros((height, width, 3), np.uint8)
    picture = whole_picture(frame, (0.5 * width, 0.25 * height, 0.75 * width, 0.5 * height))
    assert max(picture.shape[:2]) == 480
    rows, columns = np.nonzero((picture == (255, 209, 0)).all(-1))
    high, wide = picture.shape[:2]
    found = np.array([columns.min() / wide, rows.min() / high, columns.max() / wide, rows.max() / high])
    np.testing.assert_allclose(found, [0.5, 0.25, 0.75, 0.5], atol=0.03)
    assert not frame.any()


def test_a_report_needs_a_clip():
    with pytest.raises(ValueError, match="at least one clip"):
        render(report(clips=[]))
