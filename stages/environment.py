"""Every stage imports this first: where its Python is not the project's, one line says so, instead of a traceback."""

import sys
from importlib.util import find_spec

if missing := next((name for name in ("vadlib", "torch", "typer") if find_spec(name) is None), None):
    sys.exit(
        f"error: {sys.executable} has no {missing}: it is not the project's Python. `make repro` makes an environment "
        "with one, `. .venv/bin/activate` uses it; then run the same command again"
    )
