"""What of a camera's pictures counts: masks, classes, sizes, every n-th frame; for training, scoring and watching."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from tests import layouts
from tests.projects import COMPUTE, MOTION, settings
from vadlib.boxes.table import APPEARANCE, Boxes
from vadlib.cli.main import app, masks_of
from vadlib.errors import VadError
from vadlib.footage import train as training
from vadlib.footage.find import Footage
from vadlib.footage.scene import WHOLE, Scene, changed, make_scene, read_mask, read_scene
from vadlib.footage.score import score_footage
from vadlib.footage.stream import make_scorer
from vadlib.footage.train import train_on_footage
from vadlib.scoring.model_folder import read_package
from vadlib.settings import MotionDetectorSettings, OnnxSettings, SceneSettings, YoloSettings, load_group

CHROMIUM = next((p for p in map(Path, ("/usr/bin/chromium", "/usr/bin/chromium-browser")) if p.exists()), None)
COCO_YOLO = YoloSettings()
SMALL = settings(detector={**MOTION, "motion": {"threshold": 10, "min_area": 4, "kernel": 3, "grow": 0}})
TREE = (4, 24)  # px, left and right: something waves there all the time
WIDTH, HEIGHT = 96, 64


def scene_with_a_tree(path: Path, *, frames: int = 36, seed: int = 0) -> Path:
    """Left a square that jumps about, right one that walks."""
    rng = np.random.default_rng(seed)
    pictures = np.full((frames, HEIGHT, WIDTH, 3), 60, np.uint8)
    for number in range(frames):
        x, y = rng.integers(TREE[0], TREE[1] - 10), rng.integers(4, 50)
        pictures[number, y : y + 10, x : x + 10] = (60, 220, 60)
        x = 46 + number % 36
        pictures[number, 20:36, x : x + 12] = (220, 60, 60)
    layouts.write_video(path, pictures)
    return path


@pytest.fixture
def mask(tmp_path):
    """Black where the tree is."""
    picture = np.full((HEIGHT // 2, WIDTH // 2), 255, np.uint8)
    picture[:, : TREE[1] // 2 + 4] = 0
    Image.fromarray(picture).save(tmp_path / "mask.png")
    return tmp_path / "mask.png"


@pytest.fixture
def footage(tmp_path):
    for number in range(2):
        scene_with_a_tree(tmp_path / f"normal/{number}.mp4", seed=number)
    return tmp_path / "normal"


def vad(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def boxes_of(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "frames.csv")


# Which boxes count


def test_a_box_counts_where_more_than_half_of_it_does(tmp_path):
    left = [[0, 0], [0.5, 0], [0.5, 1], [0, 1]]
    (tmp_path / "m.json").write_text(json.dumps({"ignore": [left]}))
    scene = make_scene(SceneSettings(mask="m.json"), SMALL.detector, tmp_path)
    boxes = Boxes.of([[0, 0, 40, 20], [40, 0, 58, 20], [45, 0, 65, 20], [99, 49, 100, 50]], APPEARANCE)
    assert scene.wants(boxes, 100, 50, SMALL.detector).tolist() == [False, False, True, True]
    (tmp_path / "m.json").write_text(json.dumps({"watch": [left], "ignore": [[[0, 0], [0.25, 0], [0.25, 1], [0, 1]]]}))
    scene = make_scene(SceneSettings(mask="m.json"), SMALL.detector, tmp_path)
    wanted = Boxes.of([[0, 0, 20, 20], [26, 0, 46, 20], [60, 0, 80, 20]], APPEARANCE)
    assert scene.keep(wanted, 100, 50, SMALL.detector).xyxy[:, 0].tolist() == [26]


def test_a_picture_counts_where_it_is_bright_and_what_is_transparent_is_not_painted(tmp_path):
    picture = np.zeros((10, 20, 4), np.uint8)
    picture[:, 10:] = (0, 0, 0, 255)
    Image.fromarray(picture).save(tmp_path / "m.png")
    assert read_mask(tmp_path / "m.png")[5].tolist() == [True] * 10 + [False] * 10


def test_kinds_and_sizes_of_objects():
    boxes = Boxes.of([[0, 0, 10, 10], [0, 0, 50, 50], [0, 0, 10, 20]], APPEARANCE, ids=[0, 2, 15])  # person, car, cat
    moving = boxes.followed_by(Boxes.of([[0, 0, 10, 10]], "motion"))

    def kept(detector=COCO_YOLO, **keys) -> list[int]:
        return np.flatnonzero(make_scene(SceneSettings(**keys), detector).wants(moving, 100, 100, detector)).tolist()

    assert kept() == [0, 1, 2, 3]
    assert kept(classes=("person", "car")) == [0, 1]
    assert kept(classes=("person", "motion"), detector=OnnxSettings()) == [0, 3]
    assert kept(ignore=("cat",)) == [0, 1, 3]
    assert kept(smallest=1.5) == [1, 2]
    assert kept(largest=2.0) == [0, 2, 3]
    own = YoloSettings(weights="street.safetensors")
    assert kept(classes=("class 2",), detector=own) == [1]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("{}", 'expected {"ignore": '),
        ('{"ignor": []}', 'expected {"ignore": '),
        ('{"ignore": [[[0, 0], [1, 1]]]}', r"ignore\[0\]: not three or more corners"),
        ('{"ignore": [[[0, 0], [640, 0], [640, 360]]]}', "x and y being shares of width and height"),
        ('{"ignore": [[[0, 0], [1, 0], [1, 1], [0, 1]]]}', "nothing of the frame is left to look at"),
        ("nothing", r"m.json: damaged|not JSON|m.json"),
    ],
)
def test_a_mask_that_is_none_is_one_line(tmp_path, content, line):
    (tmp_path / "m.json").write_text(content)
    with pytest.raises(VadError, match=line) as caught:
        read_mask(tmp_path / "m.json")
    assert "\n" not in str(caught.value)
    (tmp_path / "m.png").write_text(content)
    with pytest.raises(VadError, match=r"m.png: not a picture"):
        read_mask(tmp_path / "m.png")


def test_names_that_the_detector_does_not_know_and_no_size_are_one_line():
    with pytest.raises(VadError, match=r"class 'persn': the detector \(yolo\) knows person, bicycle"):
        make_scene(SceneSettings(classes=("persn",)), YoloSettings())
    with pytest.raises(VadError, match=r"class 'person': the detector \(motion\) tells no classes apart"):
        make_scene(SceneSettings(ignore=("person",)), MotionDetectorSettings(kind="motion"))
    with pytest.raises(VadError, match="no size of objects is left"):
        make_scene(SceneSettings(smallest=50.0, largest=20.0), YoloSettings())


def test_masks_of_cameras(tmp_path):
    assert masks_of(["a.png", "door=b.png"], ["yard", "door"]) == {"yard": Path("a.png"), "door": Path("b.png")}
    assert masks_of(["door=b.png"], ["yard", "door"]) == {"yard": None, "door": Path("b.png")}
    with pytest.raises(VadError, match="no camera 'dor'; there are: yard, door"):
        masks_of(["dor=b.png"], ["yard", "door"])


# Training, scoring and watching


def test_a_model_remembers_its_mask_and_nothing_of_what_it_hides_is_learned_or_scored(footage, mask, tmp_path):
    (tmp_path / "s.yaml").write_text(json.dumps(SMALL.model_dump(mode="json")))
    given = ["train", footage, "--settings", tmp_path / "s.yaml"]
    done = vad(*given, "--output", tmp_path / "model", "--mask", mask)
    assert done.exit_code == 0, done.output
    whole = vad(*given, "--output", tmp_path / "whole")
    cubes, all_cubes = (int(out.stdout.split(" cubes")[0].split(" ")[-1]) for out in (done, whole))
    assert 50 < cubes < all_cubes - 50
    assert not (tmp_path / "whole/scene.json").exists()
    for model, tree in (("model", False), ("whole", True)):
        scored = vad("score", footage / "0.mp4", "--model", tmp_path / model, "--output", tmp_path / f"{model} out")
        assert scored.exit_code == 0, scored.output
        assert "note:" not in scored.stderr
        found = boxes_of(tmp_path / f"{model} out")
        assert (found["x1"] < TREE[1]).any() == tree
        assert (found["x1"] > 40).any()
    # Learned with a mask and scored with another, or the other way round: it is said.
    other = vad(
        "score", footage / "0.mp4", "--model", tmp_path / "whole", "--output", tmp_path / "masked", "--mask", mask
    )
    assert other.stderr.count("note: a mask: so was nothing that the model learned from") == 1
    assert not (boxes_of(tmp_path / "masked")["x1"] < TREE[1]).any()
    watched = vad(
        "watch", footage / "0.mp4", "--model", tmp_path / "model", "--output", tmp_path / "watched", "--no-page"
    )
    assert watched.exit_code == 0, watched.output
    (table,) = (tmp_path / "watched/tables/0").glob("*.csv")
    found = pd.read_csv(table)
    assert (found["x1"] > 40).sum() > 10
    assert not (found["x1"] < TREE[1]).any()


def test_every_third_frame_is_learned_and_scored(footage, tmp_path):
    scene = Scene(SceneSettings(every=3))
    counts = train_on_footage(footage, tmp_path / "model", SMALL, COMPUTE, scene=scene)
    all_counts = train_on_footage(footage, tmp_path / "whole", SMALL, COMPUTE)
    assert 0.25 < counts["cubes"] / all_counts["cubes"] < 0.42
    package = read_package(tmp_path / "model")
    scorer = make_scorer(package, COMPUTE)
    clip = Footage("0", footage / "0.mp4")
    score_footage(clip, scorer, package.threshold, tmp_path / "out")
    found = boxes_of(tmp_path / "out")
    assert found["frame"].tolist() == list(range(0, 36, 3))
    assert found["time_s"].iloc[1] == pytest.approx(0.12)
    score_footage(clip, make_scorer(package, COMPUTE, scene=WHOLE), package.threshold, tmp_path / "all")
    every = boxes_of(tmp_path / "all")
    # The same boxes: motion is between neighbours, whichever frames are looked at.
    assert found["boxes"].tolist() == every["boxes"][::3].tolist()


def test_other_masks_are_learned_anew_after_a_kill(footage, mask, tmp_path, monkeypatch):
    def stop(*_) -> None:
        raise KeyboardInterrupt

    stages = list(training._STAGES)
    monkeypatch.setattr(training, "_STAGES", [*stages[:2], ("flow", stages[2][1], stop)])
    table = tmp_path / "model.work/boxes.parquet"
    masked = make_scene(SceneSettings(mask=str(mask)), SMALL.detector)
    for scene, tree in ((masked, False), (WHOLE, True), (masked, False)):
        with pytest.raises(KeyboardInterrupt):
            train_on_footage(footage, tmp_path / "model", SMALL, COMPUTE, scene=scene)
        assert (pd.read_parquet(table)["x1"] < TREE[1]).any() == tree


def test_a_damaged_memory_is_one_line_and_options_go_before_it(footage, mask, tmp_path):
    masked = make_scene(SceneSettings(mask=str(mask), smallest=0.1), SMALL.detector)
    train_on_footage(footage, tmp_path / "model", SMALL, COMPUTE, scene=masked)
    found = read_scene(tmp_path / "model", SMALL.detector)
    assert found.mark == masked.mark
    other = changed(found, {"largest": 10.0}, SMALL.detector)
    assert (other.settings.smallest, other.settings.largest) == (0.1, 10.0)
    assert np.array_equal(other.watched, masked.watched)
    (tmp_path / "model/mask.png").unlink()
    with pytest.raises(VadError, match=r"mask.png: not found"):
        make_scorer(read_package(tmp_path / "model"), COMPUTE)
    (tmp_path / "model/scene.json").write_text('{"everi": 2}')
    with pytest.raises(VadError, match=r"scene.json: damaged \(everi: unknown key; valid here: classes, every"):
        read_scene(tmp_path / "model", SMALL.detector)
    (tmp_path / "model/scene.json").write_text('{"mask": "../../mask.png"}')
    with pytest.raises(VadError, match=r"scene.json: damaged \(mask: "):
        read_scene(tmp_path / "model", SMALL.detector)


# The page that masks are drawn on


def test_a_mask_drawn_in_a_browser_is_read_as_it_was_drawn(tmp_path):
    playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright")
    if CHROMIUM is None:
        pytest.skip("needs Debian's chromium")
    scene_with_a_tree(tmp_path / "a <b>.mp4", frames=3)
    done = vad("draw-mask", tmp_path / "a <b>.mp4", "--output", tmp_path / "draw.html")
    assert done.exit_code == 0, done.output
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        for width, height in ((1280, 800), (390, 844)):
            page = chromium.new_context(viewport={"width": width, "height": height}).new_page()
            said: list[str] = []
            page.on("console", lambda message, said=said: said.append(message.text))
            page.on("pageerror", lambda error, said=said: said.append(str(error)))
            page.goto((tmp_path / "draw.html").as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            place = page.locator("canvas").bounding_box()
            assert place["width"] / place["height"] == pytest.approx(WIDTH / HEIGHT, rel=0.02)

            def click(x: float, y: float, page=page, place=place) -> None:
                page.locator("canvas").click(position={"x": x * place["width"], "y": y * place["height"]})

            for corner in ((0.01, 0.01), (0.3, 0.01), (0.3, 0.6), (0.3, 0.99), (0.9, 0.9)):
                click(*corner)
            page.click("#undo")
            click(0.01, 0.99)
            page.click("#close")
            assert page.inner_text("#said") == "1 to ignore, 0 to watch."
            with page.expect_download() as download:
                page.click("#save")
            download.value.save_as(tmp_path / "mask.json")
            ((*corners,),) = json.loads((tmp_path / "mask.json").read_text())["ignore"]
            np.testing.assert_allclose(
                corners, [(0.01, 0.01), (0.3, 0.01), (0.3, 0.6), (0.3, 0.99), (0.01, 0.99)], atol=0.01
            )
            watched = read_mask(tmp_path / "mask.json")
            assert watched[500, 350:].all()
            assert not watched[500, 20:280].any()
            assert said == []
            page.screenshot(path=tmp_path / f"{width}.png", full_page=True)
        chromium.close()


def test_nothing_to_draw_on_is_one_line(tmp_path):
    done = vad("draw-mask", tmp_path, "--output", tmp_path / "draw.html")
    assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
    assert "no frame there to draw on" in done.stderr


# Settings


def test_a_part_of_the_settings_lies_over_what_there_is_without(tmp_path):
    from vadlib.settings import OWN_FOOTAGE

    def load(text: str):
        (tmp_path / "mine.yaml").write_text(text)
        return load_group(tmp_path / "mine.yaml")

    found, scene = load("training: {epochs: 9}\nscene: {every: 2, classes: [person]}\n")
    assert found == OWN_FOOTAGE.model_copy(update={"training": OWN_FOOTAGE.training.model_copy(update={"epochs": 9})})
    assert scene == SceneSettings(every=2, classes=("person",))
    found, scene = load("detector: {kind: onnx, rules: {confidence: 0.4}}\n")
    assert found.detector == OnnxSettings(
        rules=OWN_FOOTAGE.detector.rules.model_copy(update={"confidence": 0.4}), motion=OWN_FOOTAGE.detector.motion
    )
    assert (found.model, scene) == (OWN_FOOTAGE.model, SceneSettings())
    assert load("detector: {motion: null}")[0].detector.motion is None
    assert load("flow: {kind: raft_small}")[0].flow.kind == "raft_small"
    assert load(json.dumps(SMALL.model_dump(mode="json")))[0] == SMALL
    with pytest.raises(VadError, match=r"mine.yaml: everi: unknown key; valid here: classes, every"):
        load("scene: {everi: 2}")
    with pytest.raises(VadError, match=r"mine.yaml: every: input should be less than or equal to 6, not 7"):
        load("scene: {every: 7}")
