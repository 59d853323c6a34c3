"""What depends on what: dvc.yaml names the code that a stage runs, and no other; imports run downward only."""

import ast
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePosixPath

import pytest
from ruamel.yaml import YAML

from tests.conftest import ROOT
from vadlib.pipeline.closure import NEUTRAL, closure, code_digest, imported, is_neutral, located, source_of

# From the bottom up: a module imports those of its own layer, and of layers before it.
LAYERS = (
    "version",
    "errors",
    "settings",
    "io",
    "units",
    "steady",
    "manifest",
    "clips",
    "windows",
    "datasets",
    "fetch",
    "boxes",
    "flow",
    "cubes",
    "models",
    "authors",
    "engine",
    "training",
    "distributed",
    "scoring",
    "evaluation",
    "report",
    "pipeline",
    "footage",
    "watch",
    "cli",
)

# `vad train` runs the stages on a user's own footage: it lies above them.
RUNS_STAGES = "vadlib/footage/train.py"

# A line changed in a file, and the stages that are then run again; those after them are if what these leave differs.
SCORING = {"fit_scores", "calibrate", "score", "package", "report", "compare"}
EDITS = {
    "vadlib/models/state.py": {"train_raw", "train_flow", *SCORING},
    "vadlib/engine/engine.py": {"train_raw", "train_flow", *SCORING},
    "vadlib/scoring/perturbation.py": SCORING,
    "vadlib/cubes/shards.py": {"build_raw", "build_flow", "train_raw", "train_flow", *SCORING},
    "vadlib/io/video.py": {"prepare", "detect", "flow", "build_raw", "report"},
    "vadlib/boxes/rules.py": {"detect"},
    "vadlib/flow/storage.py": {"flow", "build_flow"},
    "vadlib/report/page.html.j2": {"report"},
    "vadlib/fetch.py": set(),
    "vadlib/evaluation/regions.py": {"evaluate"},
    "vadlib/cli/main.py": set(),
}


@cache
def stages() -> dict[str, dict]:
    """Every stage of dvc.yaml and of the experiments, by its name."""
    yaml = YAML(typ="safe", pure=True)
    files = [ROOT / "dvc.yaml", ROOT / "experiments/dvc.yaml"]
    return {name: stage for file in files for name, stage in yaml.load(file.read_text("utf-8"))["stages"].items()}


def script_of(stage: str) -> str:
    return re.search(r"python (\S+)", stages()[stage]["cmd"])[1]


def needed(stage: str) -> set[str]:
    """The files that a stage's result depends on."""
    script = script_of(stage)
    return {script, *closure((ROOT / script).read_text("utf-8"))}


def listed(stage: str) -> list[str]:
    """The files and folders of code among a stage's dependencies."""
    deps = [dep.removeprefix("../") for dep in stages()[stage]["deps"]]
    return [dep for dep in deps if dep.startswith(("vadlib/", "stages/"))]


def covers(dep: str, file: str) -> bool:
    return file == dep or file.startswith(f"{dep}/")


@cache
def code() -> tuple[str, ...]:
    """Every file of the package, but for what Python leaves there."""
    files = sorted(path for path in (ROOT / "vadlib").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return tuple(path.relative_to(ROOT).as_posix() for path in files)


def says_nothing(file: str) -> bool:
    """Whether a file of a package says what the package is and no more."""
    body = ast.parse((ROOT / file).read_text("utf-8")).body if file.endswith("__init__.py") else [None]
    return all(isinstance(node, ast.Expr) for node in body)


def as_dependencies(files: set[str], within: str = "vadlib") -> Iterator[str]:
    """The fewest files and folders that cover these files and none besides."""
    for entry in sorted((ROOT / within).iterdir()):
        name = entry.relative_to(ROOT).as_posix()
        below = [file for file in code() if covers(name, file) and not says_nothing(file)]
        if below and files.issuperset(below):
            yield name
        elif entry.is_dir():
            yield from as_dependencies(files, name)


def expected_of(stage: str) -> list[str]:
    """What `listed` is to be. The experiments list files: DVC would not pass by what Python leaves in folders."""
    files = needed(stage)
    own = script_of(stage)
    return [own, *(sorted(files - {own}) if stage == "compare" else as_dependencies(files))]


@pytest.mark.parametrize("stage", stages())
def test_a_stage_depends_on_the_code_it_runs_and_on_no_other(stage):
    files, expected = needed(stage), expected_of(stage)
    lines = "\n".join(f"      - {dep}" for dep in expected)
    assert listed(stage) == expected, f"the code among the dependencies of {stage} is\n{lines}"
    for dep in expected:
        assert any(covers(dep, file) for file in files), f"{stage} lists {dep}, of which it runs nothing"


@pytest.mark.parametrize("file", EDITS)
def test_an_edit_runs_those_stages_that_it_can_change(file):
    assert (ROOT / file).is_file()
    assert {stage for stage in stages() if any(covers(dep, file) for dep in listed(stage))} == EDITS[file]


def test_whatever_runs_stages_runs_them_in_the_order_of_dvc_yaml():
    from benchmarks.scale import RUNS
    from tests.projects import STAGES
    from vadlib.footage.train import _STAGES

    order = [name for name in stages() if name != "compare"]
    made: dict[str, int] = {}
    for number, name in enumerate(order):
        outs = [out for kind in ("outs", "metrics", "plots") for out in stages()[name].get(kind, [])]
        made |= {out if isinstance(out, str) else next(iter(out)): number for out in outs}
    for number, name in enumerate(order):
        assert [dep for dep in stages()[name]["deps"] if made.get(dep, -1) >= number] == [], name
    for run in ([name.replace(" ", "_") for name, _ in RUNS], list(STAGES), [name for name, *_ in _STAGES]):
        assert run == [name for name in order if name in run]
    readme = re.findall(r"^\| (`[\w`, ()]+?) \|", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)
    named = [word for cell in readme for word in re.findall(r"`(\w+)`", cell)]
    assert [name for name in named if name in order] == [name for name in order if name in named]


def test_stages_name_a_dependency_once():
    for name, stage in stages().items():
        assert len(stage["deps"]) == len(set(stage["deps"])), name


def test_stages_list_settings_that_there_are():
    params = YAML(typ="safe", pure=True).load((ROOT / "params.yaml").read_text("utf-8"))
    for name, stage in stages().items():
        listed = [
            key for entry in stage["params"] for key in (entry["../params.yaml"] if name == "compare" else [entry])
        ]
        for dataset in params["dataset"]:
            for key in listed:
                place = params
                for part in key.replace("${item.dataset}", dataset).split("."):
                    assert part in place, f"{name} lists {key}"
                    place = place[part]


def test_what_is_neutral_exists_and_no_stage_lists_it():
    for place, reason in NEUTRAL.items():
        assert (ROOT / place).exists(), place
        assert reason
        assert not [name for name in stages() if any(covers(dep, place) for dep in listed(name))], place


# The closure


def test_imports_within_functions_count_and_so_do_those_of_what_is_imported():
    found = closure("def make():\n    from vadlib.boxes.kinds import registry\n")
    assert found >= {
        "vadlib/boxes/kinds/yolo.py",
        "vadlib/boxes/kinds/imported.py",
        "vadlib/io/npy.py",
        "vadlib/manifest.py",
    }
    assert not [file for file in found if file.startswith(("vadlib/flow", "vadlib/pipeline")) or is_neutral(file)]


def test_a_package_that_holds_more_than_words_counts_with_what_it_imports():
    found = closure("import vadlib.scoring.evidence.speed")
    assert {"vadlib/scoring/evidence/__init__.py", "vadlib/scoring/evidence/looks.py"} <= found
    assert not [file for file in found if file in ("vadlib/scoring/__init__.py", "vadlib/cubes/__init__.py")]


def test_templates_beside_a_module_count():
    assert {"vadlib/report/page.js", "vadlib/report/page.html.j2"} <= closure("from vadlib.report import page")


def test_a_module_that_is_not_there_has_no_digest():
    with pytest.raises(ValueError, match=r"vadlib.pipeline.nothing: no module of vadlib"):
        code_digest("vadlib.pipeline.nothing")


def digests(path: Path) -> list[str]:
    """The digests of two stages' code, in the package at a path."""
    script = (
        "from vadlib.pipeline.closure import code_digest as of\n"
        "print(of('vadlib.pipeline.train'), of('vadlib.pipeline.detect'))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=path.parent, check=True,
                         env={"PYTHONPATH": str(path), "PATH": "/usr/bin:/bin"})  # fmt: skip
    return run.stdout.split()


def test_unfinished_work_is_given_up_for_an_edit_of_what_it_depends_on_and_for_no_other(tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(ROOT / "vadlib", copy / "vadlib", ignore=shutil.ignore_patterns("__pycache__"))

    def edit(file: str) -> list[str]:
        with (copy / file).open("a", encoding="utf-8") as stream:
            stream.write("\n# a word\n")
        return digests(copy)

    train, detect = digests(copy)
    assert edit("vadlib/report/page.py") == edit("vadlib/fetch.py") == edit("vadlib/cli/main.py") == [train, detect]
    assert edit("vadlib/boxes/kinds/yolo.py")[0] == train
    other = digests(copy)
    assert other[1] != detect
    assert edit("vadlib/training.py")[0] != train
    assert digests(copy)[1] == other[1]


def test_what_vad_train_has_done_holds_whatever_becomes_of_what_it_does_not_run():
    from vadlib.footage.train import _CODE, _STAGES

    assert [name for name, _, _ in _STAGES] == list(_CODE)
    for module in _CODE.values():
        files = closure(source_of(located(module)[0]))
        assert {f for f in files if f.startswith(("vadlib/report", "vadlib/footage"))} <= {"vadlib/footage/find.py"}


def test_an_archive_has_the_digests_of_its_sources_and_one_without_sources_those_of_its_version(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for file in code():
            archive.write(ROOT / file, file)
    assert digests(tmp_path / "a.zip") == [code_digest(f"vadlib.pipeline.{name}") for name in ("train", "detect")]
    shutil.copytree(ROOT / "vadlib", tmp_path / "frozen/vadlib")
    subprocess.run([sys.executable, "-m", "compileall", "-bq", tmp_path / "frozen"], check=True)
    for file in (tmp_path / "frozen").rglob("*.py"):
        file.unlink()
    assert len({*digests(tmp_path / "frozen"), *digests(tmp_path / "a.zip")}) == 4


# The layers


@cache
def imports() -> dict[str, set[str]]:
    """The files that each file of the package imports from, the packages on the way left out."""
    found = {}
    for file in code():
        if file.endswith(".py"):
            named = {located(module)[0] for module in imported(source_of(file))}
            found[file] = {other for other in named if other != file and not says_nothing(other)}
    return found


def layer(file: str) -> int:
    return LAYERS.index(PurePosixPath(file).parts[1].removesuffix(".py"))


def test_contributing_names_the_layers():
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    assert re.findall(r"`(\w+)`", text.partition("From the bottom up:")[2].partition(". ")[0]) == list(LAYERS)


def test_imports_run_downward_only():
    face = {"vadlib/__init__.py", "vadlib/__main__.py"}
    upward = {(f, o) for f, others in imports().items() if f not in face for o in others if layer(o) > layer(f)}
    assert upward == set()


def test_no_imports_run_in_a_circle():
    waiting, done = {file: set(others) for file, others in imports().items()}, set()
    while ready := {file for file, others in waiting.items() if others <= done}:
        done |= ready
        for file in ready:
            del waiting[file]
    assert not waiting, f"in a circle, or on one: {sorted(waiting)}"


def test_nothing_but_their_command_lines_imports_a_stage():
    of_stages = {f"vadlib/pipeline/{PurePosixPath(script_of(stage)).name}" for stage in stages()}
    assert of_stages <= set(code())
    found = {(f, o) for f, others in imports().items() if f != RUNS_STAGES for o in others & of_stages}
    assert {(file, other) for file, other in found if not file.startswith("vadlib/cli/")} == set()


def test_the_package_does_not_use_its_own_face():
    import vadlib

    for file in code():
        if file.endswith(".py"):
            for node in ast.walk(ast.parse((ROOT / file).read_text("utf-8"))):
                if isinstance(node, ast.ImportFrom) and node.module == "vadlib":
                    assert not {alias.name for alias in node.names} & set(vadlib.__all__), file
