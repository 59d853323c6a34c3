"""What a library is expected to be: a face, packages that are declared, and no need of those that not everybody has."""

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import vadlib
from tests.conftest import ROOT
from tests.projects import make_packaged
from vadlib.version import __version__

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

# Imported packages that come with another: their distributions have names of their own.
CALLED = {"ruamel": "ruamel.yaml", "efficientnet_lite_pytorch": "efficientnet-lite-pytorch"}

BLOCKED = ("ultralytics", "dvc", "dvclive", "scmrepo", "matplotlib", "onnxruntime", "openvino")

# Finds nothing of these packages, as where they are not installed.
HOOK = f"""
import sys

class Without:
    def __init__(self, finder):
        self.finder = finder
    def __getattr__(self, name):
        return getattr(self.finder, name)
    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in {BLOCKED} else self.finder.find_spec(name, path, target)

sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
"""


def run(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a script in a fresh interpreter, in a folder."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, env=environment)


def names(requirements: list[str]) -> set[str]:
    """The distributions that requirements name, as metadata writes them."""
    return {normal(re.match(r"[\w.-]+", requirement)[0]) for requirement in requirements}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def imported_in(folder: str) -> set[str]:
    """The packages that a folder's modules import, but for Python's own and this project's."""
    found = set()
    for file in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    own = {"vadlib", "benchmarks", "scripts", "stages", "tests", "environment"}
    return found - own - set(sys.stdlib_module_names)


def undeclared(packages: set[str], declared: set[str]) -> set[str]:
    known = packages_distributions()
    return {name for name in packages if not declared & {normal(CALLED.get(d, d)) for d in known.get(name, [name])}}


def test_everything_imported_is_declared():
    extras = {name: names(wanted) for name, wanted in PROJECT["optional-dependencies"].items()}
    base = names(PROJECT["dependencies"])
    of_users = base.union(*(extras[name] for name in extras if name != "dev"))
    assert undeclared(imported_in("vadlib"), of_users) == set()
    for folder in ("stages", "scripts", "benchmarks", "tests"):
        assert undeclared(imported_in(folder), of_users | extras["dev"]) == set(), folder


def test_an_installation_brings_nothing_under_agpl_and_no_dvc():
    assert not names(PROJECT["dependencies"]) & {"ultralytics", "ultralytics-opencv-headless", "dvc", "dvclive"}
    assert "ultralytics-opencv-headless" in names(PROJECT["optional-dependencies"]["yolo"])
    assert "dvc" in names(PROJECT["optional-dependencies"]["pipeline"])


def test_the_face_is_imported_when_it_is_asked_for():
    assert vadlib.__version__ == __version__
    assert set(vadlib.__all__) <= set(dir(vadlib))
    for name in vadlib.__all__:
        assert getattr(vadlib, name)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        vadlib.nothing  # noqa: B018
    light = "import sys, vadlib; vadlib.VadError; assert 'torch' not in sys.modules and 'cv2' not in sys.modules"
    assert run(light, ROOT).stderr == ""
    assert (ROOT / "vadlib/py.typed").is_file()


@pytest.fixture(scope="module")
def footage(tmp_path_factory) -> Path:
    """A folder with a model, `model`, and a video, `today.mp4`, of which the pipeline has the scores."""
    folder = make_packaged(tmp_path_factory.mktemp("library"))
    (folder / "models/mini").rename(folder / "model")
    (folder / "data/mini/testing/01.mp4").rename(folder / "today.mp4")
    return folder


def of_pipeline(footage: Path) -> pd.DataFrame:
    table = pd.read_parquet(footage / "work/mini/scores/eta_0.002/frames.parquet")
    return table[table["clip"] == "01"]


def test_a_loaded_model_scores_footage_as_the_pipeline_does(footage):
    scorer = vadlib.load(str(footage / "model"), device="cpu")
    frames = list(scorer.score(str(footage / "today.mp4")))
    assert [frame.number for frame in frames] == of_pipeline(footage)["frame"].tolist()
    # In fp32 or bf16, as this machine has it, where the pipeline of the tests has fp32.
    np.testing.assert_allclose([frame.score for frame in frames], of_pipeline(footage)["best"], rtol=0.05, atol=0.05)
    content = json.loads((footage / "model/calibration.json").read_text(encoding="utf-8"))
    assert scorer.threshold == content["thresholds"]["best"]["value"]


def test_a_folder_of_images_is_scored_at_the_rate_that_is_said(footage, tmp_path):
    for number in range(4):
        Image.fromarray(np.full((32, 32, 3), 60 * number, np.uint8)).save(tmp_path / f"{number}.png")
    frames = list(vadlib.load(footage / "model").score(tmp_path, fps=10))
    assert [frame.time for frame in frames] == [0, 0.1, 0.2, 0.3]


def test_a_model_or_footage_that_cannot_be_read_is_an_error_of_the_face(footage, tmp_path):
    with pytest.raises(vadlib.VadError, match=r"nothing: no model folder there; `vad train` makes one"):
        vadlib.load(tmp_path / "nothing")
    with pytest.raises(vadlib.VadError, match=r"y\.pt: not found; expected a YOLO's weights"):
        vadlib.load(footage / "model", detector_weights=tmp_path / "y.pt")
    with pytest.raises(vadlib.FootageError, match=r"^clip no \(.*no\.mp4\): not found"):
        list(vadlib.load(footage / "model").score(tmp_path / "no.mp4"))


def test_the_notebook_is_ten_lines_and_shows_what_the_pipeline_says(footage, monkeypatch):
    cells = json.loads((ROOT / "docs/notebook.ipynb").read_text(encoding="utf-8"))["cells"]
    codes = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert sum(bool(line.strip()) for code in codes for line in code.splitlines()) <= 11
    assert not [cell["outputs"] for cell in cells if cell.get("outputs")]
    monkeypatch.chdir(footage)
    names: dict = {}
    shown = []
    for code in codes:  # as a kernel runs them: of an expression that ends a cell the value is shown
        body = ast.parse(code).body
        last = body.pop() if isinstance(body[-1], ast.Expr) else None
        exec(compile(ast.Module(body, []), "notebook", "exec"), names)
        if last is not None:
            shown.append(eval(compile(ast.Expression(last.value), "notebook", "eval"), names))
    table, picture = shown
    expected = of_pipeline(footage)
    highest = expected.nlargest(5, "best")
    np.testing.assert_allclose(table["score"], highest["best"], rtol=0.05, atol=0.05)
    assert table["anomalous"].tolist() == (table["score"] > names["scorer"].threshold).tolist()
    x1, y1, x2, y2 = names["worst"].boxes[names["worst"].top]
    assert picture.size == (round(x2) - round(x1), round(y2) - round(y1))


def test_every_module_imports_without_what_not_everybody_has(tmp_path):
    script = f"""{HOOK}
import importlib, pkgutil, vadlib
for module in pkgutil.walk_packages(vadlib.__path__, "vadlib."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
assert not set({BLOCKED}) & set(sys.modules)
"""
    assert run(script, tmp_path).stderr == ""


def test_motion_boxes_are_learned_and_scored_without_what_not_everybody_has(tmp_path):
    script = f"""{HOOK}
from pathlib import Path
from typer.testing import CliRunner
from tests.projects import make_packaged
from vadlib.cli.main import app
make_packaged(Path.cwd())
done = CliRunner().invoke(app, ["score", "data/mini/testing/01.mp4", "--model", "models/mini", "--output", "found"])
assert done.exit_code == 0, done.output
assert len(Path("found/frames.csv").read_text().splitlines()) == 13
assert not set({BLOCKED}) & set(sys.modules)
"""
    found = run(script, tmp_path)
    assert found.returncode == 0, found.stderr


def test_a_yolo_without_its_package_is_one_line(tmp_path):
    (tmp_path / "yolo11n.pt").write_bytes(b"x")
    script = f"""{HOOK}
from pathlib import Path
from vadlib.boxes.kinds.registry import make_detector
from vadlib.errors import VadError
from vadlib.settings import YoloSettings
try:
    make_detector(YoloSettings(), Path(), Path(), ())
except VadError as error:
    print(error)
"""
    line = run(script, tmp_path).stdout
    assert line.startswith("detector.kind: yolo needs ultralytics (AGPL-3.0): pip install 'vadlib[yolo]'; or take")


def test_a_platform_without_the_module_resource_runs_commands(tmp_path):
    script = """
import sys
sys.modules["resource"] = None
from vadlib.cli.commands import run
def work() -> dict[str, int]:
    return {"clips": 3}
run(work)
"""
    found = run(script, tmp_path)
    assert re.fullmatch(r"work: 3 clips in \d+\.\d s\n", found.stdout), found.stderr


def test_a_stage_says_in_one_line_that_its_python_is_another(tmp_path):
    """An interpreter of the same version that has nothing installed: it is isolated, without site packages."""
    found = subprocess.run(
        [sys.executable, "-S", "-I", "-c", f"import sys; sys.path.insert(0, {str(ROOT / 'stages')!r}); import train"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert found.returncode == 1
    assert found.stderr.startswith(f"error: {sys.executable} has no vadlib: it is not the project's Python.")
    assert found.stderr.count("\n") == 1


def test_every_stage_looks_at_its_python_before_it_imports_anything_else():
    scripts = {path.name for path in (ROOT / "stages").glob("*.py")} - {"environment.py"}
    for name in scripts:
        lines = (ROOT / "stages" / name).read_text(encoding="utf-8").splitlines()
        others = [line for line in lines if line.startswith(("import ", "from "))]
        ours = next(i for i, line in enumerate(others) if line.startswith("import environment"))
        before = {line.split()[1].partition(".")[0] for line in others[:ours]}
        assert before <= set(sys.stdlib_module_names), name
