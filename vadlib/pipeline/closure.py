"""Which of the code a stage's result depends on: everything its module imports, and what that imports, read from the
source. The dependencies in dvc.yaml are held against it, and unfinished work is kept by it."""

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from importlib.resources.abc import Traversable

PACKAGE = __name__.partition(".")[0]

NEUTRAL = {
    "vadlib/__init__.py": "what it imports, it imports when it is asked for",
    "vadlib/version.py": "what is written beside results",
    "vadlib/errors.py": "what an error says",
    "vadlib/settings.py": "DVC has the values, all of which params.yaml spells out",
    "vadlib/cli": "how a command is given, and what it prints",
    "vadlib/io/files.py": "how a file comes to be whole or absent",
    "vadlib/io/ownership.py": "what may be replaced or removed",
    "vadlib/io/parent.py": "when a process ends that another one began",
    "vadlib/io/progress.py": "what is seen meanwhile",
    "vadlib/pipeline/mapping.py": "in which order and where clips are worked on",
    "vadlib/pipeline/executors": "who works on them",
    "vadlib/pipeline/closure.py": "this list",
}
"""Files and folders that stages run and no result depends on, and why."""


def closure(source: str) -> set[str]:
    """The files of this package that a Python source depends on, such as `vadlib/boxes/rules.py`; itself it is not.

    Imports within functions count, and those for type checkers; what is NEUTRAL does not, nor what that imports, nor
    the file of a package that says what it is and no more. Beside a module its data count, such as templates.
    """
    reached: set[str] = set()
    waiting = [source]
    while waiting:
        for file in {file for module in imported(waiting.pop()) for file in located(module)} - reached:
            if not is_neutral(file) and not _is_empty(file):
                reached.add(file)
                waiting.append(source_of(file))
    return reached | {data for folder in {file.rpartition("/")[0] for file in reached} for data in _data_in(folder)}


@cache
def code_digest(module: str) -> str:
    """A digest of a module of this package and all that it depends on.

    Of an installation without sources it is that of the version. Raises ValueError for a module that is not there.
    """
    own = located(module)
    if not own:
        if located(PACKAGE):
            raise ValueError(f"{module}: no module of {PACKAGE}")
        return hashlib.sha256(f"{module} {_version()}".encode()).hexdigest()
    digest = hashlib.sha256()
    for file in sorted({own[0], *closure(source_of(own[0]))}):
        digest.update(f"{file}\0".encode() + _at(file).read_bytes() + b"\0")
    return digest.hexdigest()


def is_neutral(file: str) -> bool:
    """Whether a file, as `closure` names it, is in NEUTRAL."""
    return any(file == place or file.startswith(f"{place}/") for place in NEUTRAL)


def imported(source: str) -> Iterator[str]:
    """The modules of this package that a source's imports name: of `from vadlib.boxes import yolo` both."""
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        yield from (name for name in names if name.partition(".")[0] == PACKAGE and located(name))


def located(module: str) -> list[str]:
    """The file of a module of this package, then those of the packages it lies in; [] where there is no such module."""
    parts = module.split(".")
    own = next((f for f in ("/".join(parts) + ".py", "/".join([*parts, "__init__.py"])) if _at(f).is_file()), None)
    return [own, *("/".join([*parts[:n], "__init__.py"]) for n in range(1, len(parts)))] if own else []


def source_of(file: str) -> str:
    """The text of a file of this package."""
    return _at(file).read_text(encoding="utf-8")


def _at(file: str) -> Traversable:
    """A file of this package by its name; in a zip archive too."""
    return files(PACKAGE).joinpath(*file.split("/")[1:])


def _is_empty(file: str) -> bool:
    """Whether a source holds nothing but a docstring."""
    return all(
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) for node in ast.parse(source_of(file)).body
    )


def _data_in(folder: str) -> list[str]:
    """The files in a folder that are no Python; the marker of types and what Python leaves there are no data."""
    names = [entry.name for entry in _at(folder).iterdir() if entry.is_file()]
    return [f"{folder}/{name}" for name in names if not name.endswith((".py", ".pyc", "py.typed"))]


def _version() -> str:
    try:
        return version(PACKAGE)
    except PackageNotFoundError:
        return "unknown"
