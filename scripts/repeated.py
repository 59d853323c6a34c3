"""Hold a run of the pipeline against the results in git: the same processor has to give the same bytes.

    python scripts/repeated.py tiny

Exit code 1 where something differs that another kind of processor does not explain: then one line says what.
"""

import argparse
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

MOST = 0.02  # of a value (of 1, if it is smaller): what rounding may do to the results of a short training


class Differs(Exception):
    """What differs, in one line."""


def compare(dataset: str) -> str:
    """One line that says how far the run repeats what is committed. Raises Differs."""
    before, now = _lock(_committed("dvc.lock"), dataset), _lock(Path("dvc.lock").read_bytes(), dataset)
    folder = f"metrics/{dataset}"
    files = _git("ls-tree", "-r", "--name-only", "HEAD", folder).decode().split()
    if not before or not files:
        raise Differs(f"{dataset}: no results in git; run `dvc repro evaluate@{dataset}` and commit them")
    for path, (_, digest) in _outs(before).items():
        if path in files and hashlib.md5(_committed(path)).hexdigest() != digest:
            raise Differs(
                f"{path}: not what dvc.lock says was made; it was altered by hand, or one of them not committed"
            )
    for stage, entry in before.items():
        for what, then, today in _code_and_settings(entry, now.get(stage, {})):
            raise Differs(f"dvc.lock: {stage} was run with another {what} ({then}, here {today}); run it and commit it")
    changed = [path for path in files if _committed(path) != Path(path).read_bytes()]
    artefacts = [path for path, out in _outs(now).items() if _outs(before).get(path) != out]
    if not changed and not artefacts:
        return f"{dataset}: the same to the byte"
    first = f"{len({*changed, *artefacts})} files differ, such as {min({*changed, *artefacts})}"
    try:
        made, here = (json.loads(text)["made_with"] for text in (_committed(f"{folder}/metrics.json"), _here(folder)))
    except (KeyError, ValueError):
        raise Differs(f"{dataset}: {first}, and the committed metrics do not say what they were made with") from None
    others = sorted({(key, str(row[key]), str(today.get(key))) for row, today in zip(made, here, strict=False)
                     for key in row if key != "sha256" and row[key] != today.get(key)})  # fmt: skip
    if not others:
        raise Differs(f"{dataset}: {first}, though the same kind of machine made them")
    farthest = max((_distance(path) for path in changed), default=(0.0, ""))
    where = "; ".join(f"{key} {then}, here {today}" for key, then, today in others)
    if farthest[0] > MOST:
        raise Differs(f"{dataset}: {farthest[1]}: more than rounding ({where})")
    return f"{dataset}: made on another kind of machine ({where}); digits differ, by {farthest[0]:.2g} at most"


def _here(folder: str) -> bytes:
    return Path(folder, "metrics.json").read_bytes()


def _committed(path: str) -> bytes:
    return _git("show", f"HEAD:{path}")


def _git(*arguments: str) -> bytes:
    done = subprocess.run(["git", *arguments], capture_output=True)
    if done.returncode:
        raise Differs(f"git {' '.join(arguments)}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def _lock(text: bytes, dataset: str) -> dict[str, Any]:
    """The entries of dvc.lock for the stages of a data set."""
    stages = YAML(typ="safe", pure=True).load(text.decode())["stages"]
    return {name: entry for name, entry in stages.items() if name.partition("@")[2] == dataset}


def _outs(lock: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """What the stages left: its stage and digest, by path."""
    return {out["path"]: (stage, out["md5"]) for stage, entry in lock.items() for out in entry.get("outs", [])}


def _code_and_settings(before: dict[str, Any], now: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """What of a stage's command, code and settings differs, one at a time."""
    if before["cmd"] != now.get("cmd"):
        yield "command", before["cmd"], str(now.get("cmd"))
    code, here = ({d["path"]: d["md5"] for d in e.get("deps", []) if d["path"].startswith(("vadlib/", "stages/"))}
                  for e in (before, now))  # fmt: skip
    for path in sorted(code.keys() | here.keys()):
        if code.get(path) != here.get(path):
            yield path, str(code.get(path)), str(here.get(path))
    if before.get("params") != now.get("params"):
        yield "setting", "as committed", "as in params.yaml"


def _distance(path: str) -> tuple[float, str]:
    """How far the numbers of a file, JSON or CSV, are from those committed, and the farthest; inf for anything else."""
    pattern = re.compile(r"-?\d+\.?\d*(?:e-?\d+)?")
    texts = [_without_machine(path, text).decode() for text in (_committed(path), Path(path).read_bytes())]
    if pattern.sub("0", texts[0]) != pattern.sub("0", texts[1]):
        return float("inf"), f"{path} has other words or keys, or more or fewer of them"
    numbers = zip(*(map(float, pattern.findall(text)) for text in texts), strict=True)
    far, a, b = max(((abs(a - b) / max(1.0, abs(a)), a, b) for a, b in numbers), default=(0.0, 0.0, 0.0))
    return far, f"{path} has {b:g} for {a:g}"


def _without_machine(path: str, text: bytes) -> bytes:
    if not path.endswith(".json"):
        return text
    content = json.loads(text)
    content.pop("made_with", None)
    return json.dumps(content, indent=0).encode()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset")
    try:
        print(compare(parser.parse_args().dataset))
    except Differs as difference:
        print(f"error: {difference}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
