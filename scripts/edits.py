"""Which stages run again after an edit: a line in each of ten places, in a copy of this checkout, asked of DVC.

    python scripts/edits.py

Nothing is computed: in the copy every output is an empty file, and DVC is told that it is what the stages made. So it
says what an edit reaches at once; stages behind those run too where what these leave differs.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[1]

DATASETS = ("tiny", "synthetic")
# The line that is added, by the ending of the file.
LINES = {".py": "\n# an edit\n", ".j2": "\n{# an edit #}\n"}
SETTING = ("min_area: 60", "min_area: 61")  # of the boxes of `tiny`
EDITS = {
    "state": "vadlib/models/state.py",
    "engine": "vadlib/engine/engine.py",
    "perturbation": "vadlib/scoring/perturbation.py",
    "shards": "vadlib/cubes/shards.py",
    "boxes": "vadlib/boxes/rules.py",
    "flow storage": "vadlib/flow/storage.py",
    "report page": "vadlib/report/page.html.j2",
    "fetch": "vadlib/fetch.py",
    "metrics": "vadlib/evaluation/frames.py",
    "a decoder": "vadlib/io/video.py",
    "command line": "vadlib/cli/main.py",
    "settings of one data set": "params.yaml",
}


def copied(folder: Path) -> None:
    """Copy what is in git, as it now is, with an empty file in the place of each output of DATASETS."""
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    for name in filter(None, files.split("\0")):
        if name.startswith(("vadlib/", "stages/", "data/", "weights/", ".dvc")) or name in ("dvc.yaml", "params.yaml"):
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target, follow_symlinks=False)
    yaml = YAML()
    params = yaml.load(folder / "params.yaml")
    params["datasets"] = list(DATASETS)
    yaml.dump(params, folder / "params.yaml")
    for name in (*DATASETS, "flow"):
        (folder / "weights" / name).mkdir(parents=True, exist_ok=True)
    stages = YAML(typ="safe", pure=True).load(folder / "dvc.yaml")["stages"]
    for stage in stages.values():
        for listed in (stage.get(kind, []) for kind in ("outs", "metrics", "plots")):
            for out in listed:
                for dataset in DATASETS:
                    path = folder / (out if isinstance(out, str) else next(iter(out)))
                    path = Path(str(path).replace("${item.dataset}", dataset))
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.touch()
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    dvc(folder, "commit", "--force", "--quiet")


def dvc(folder: Path, *arguments: str) -> str:
    environment = {**os.environ, "DVC_NO_ANALYTICS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return done.stdout


def reached(folder: Path) -> str:
    """The stages that a dry run names, in their order, and of which data set, where it is not of all."""
    named = re.findall(r"Running stage '(\w+)@(\w+)'", dvc(folder, "repro", "--dry"))
    stages = {dataset: list(dict.fromkeys(s for s, d in named if d == dataset)) for dataset in DATASETS}
    if all(of_one == stages[DATASETS[0]] for of_one in stages.values()):
        return ", ".join(stages[DATASETS[0]]) or "none"
    return "; ".join(f"of {dataset}: {', '.join(of_one) or 'none'}" for dataset, of_one in stages.items())


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copied(folder)
        if (before := reached(folder)) != "none":
            sys.exit(f"without an edit DVC would run {before}")
        print("| an edit to | stages that run again at once |\n| --- | --- |")
        for what, file in EDITS.items():
            path = folder / file
            text = path.read_text(encoding="utf-8")
            edited = text + LINES[path.suffix] if path.suffix in LINES else text.replace(*SETTING)
            assert edited != text, file
            path.write_text(edited, encoding="utf-8")
            print(f"| {what}, `{file}` | {reached(folder)} |", flush=True)
            path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
