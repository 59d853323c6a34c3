"""README and docs: the page of settings is today's, links and images lead somewhere, commands exist as written."""

import contextlib
import io
import re
import runpy
import shlex
import sys
from functools import cache
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from tests.conftest import ROOT
from vadlib.cli.main import app

PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"(?:python (?:stages|scripts)/\w+\.py|vad [a-z][a-z-]+)\b.*")


def without_code(text: str) -> str:
    return FENCE.sub("", text)


def anchor(heading: str) -> str:
    """A heading's anchor, as GitHub makes it."""
    kept = re.sub(r"[^\w\s-]", "", heading.replace("`", "").lower())
    return kept.strip().replace(" ", "-")


def commands(text: str) -> list[str]:
    """Every command of the project in a page: lines of shell blocks, and code within lines."""
    shell = "\n".join(body for language, body in FENCE.findall(text) if language in ("", "sh"))
    shell = shell.replace("\\\n", " ")
    spans = [span.replace("\n", " ") for span in re.findall(r"`([^`]+)`", without_code(text))]
    lines = [line.split("#")[0].strip() for line in [*shell.splitlines(), *spans]]
    return [match[0] for line in lines if (match := COMMAND.match(line))]


@cache
def help_of(words: tuple[str, ...]) -> str:
    """What the command that these words begin says of itself; fails where there is none."""
    runner = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})
    if words[0] == "vad":
        done = runner.invoke(app, [words[1], "--help"])
        assert done.exit_code == 0, f"{' '.join(words)}: {done.output}"
        return done.output
    script = ROOT / words[1]
    assert script.is_file(), f"{words[1]} does not exist"
    shown: list[str] = []
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.setattr(sys, "argv", [str(script), "--help"])
        patch.setattr("vadlib.cli.commands.run", lambda function: shown.extend(options_of(function)))
        with contextlib.suppress(SystemExit):  # of argparse, once it has printed its help
            runpy.run_path(str(script), run_name="__main__")
    assert shown or "--help" in printed.getvalue(), f"{words[1]} is no command"
    return " ".join([*shown, printed.getvalue()])


def options_of(function) -> list[str]:
    """The options of a function that `vadlib.cli.commands.run` makes a command."""
    import typer

    from vadlib.cli.commands import friendly

    command = typer.Typer(add_completion=False)
    command.command()(friendly(function))
    parameters = typer.main.get_command(command).params
    assert parameters
    return [option for parameter in parameters for option in parameter.opts]


def check_command(command: str) -> None:
    """Fail unless the command exists and has the options it is given."""
    words = shlex.split(command.split(">")[0].split("|")[0])
    known = help_of(tuple(words[:2]))
    for option in (word.split("=")[0] for word in words[2:] if word.startswith("--")):
        assert option == "--help" or re.search(rf"{option}(?![\w-])", known), f"{command}: no option {option}"


def test_the_page_of_settings_is_what_the_command_prints():
    page = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
    assert page == CliRunner().invoke(app, ["settings"]).output, "run `vad settings > docs/settings.md`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_images_lead_somewhere(page: Path):
    links = [link for link in LINK.findall(without_code(page.read_text(encoding="utf-8"))) if "://" not in link]
    for link in links:
        name, _, place = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{link}: no such file"
        assert target.is_relative_to(ROOT), f"{link}: leads out of the project"
        if place:
            headings = re.findall(r"^#+ (.+)$", without_code(target.read_text(encoding="utf-8")), re.MULTILINE)
            assert place in map(anchor, headings), f"{link}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_exist_and_have_the_options_they_are_given(page: Path):
    for command in commands(page.read_text(encoding="utf-8")):
        check_command(command)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_stages_and_data_sets_that_dvc_is_asked_for_exist(page: Path):
    yaml = YAML(typ="safe", pure=True)
    stages = yaml.load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    datasets = {*yaml.load((ROOT / "params.yaml").read_text(encoding="utf-8"))["dataset"], "mine"}  # yours, in examples
    text = re.sub(r"--model \S+", "", page.read_text(encoding="utf-8"))  # `vad watch` has rules there
    for stage, dataset in re.findall(r"\b(\w+)@([a-z0-9_]+)", text):
        assert stage in stages, f"{stage}@{dataset}"
        assert dataset in datasets, f"{stage}@{dataset}"


def test_every_figure_is_shown_and_small():
    shown = {link for page in PAGES for link in LINK.findall(page.read_text(encoding="utf-8"))}
    figures = sorted((ROOT / "docs/figures").iterdir())
    assert figures
    for figure in figures:
        assert any(link.endswith(f"figures/{figure.name}") for link in shown), f"{figure.name} is on no page"
        assert figure.stat().st_size <= 150_000, figure.name


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("Run `vad settings` or `vad check-data\nped2`, not vad this.", ["vad settings", "vad check-data ped2"]),
        ("```sh\npython stages/score.py --help   # why\n```", ["python stages/score.py --help"]),
        ("```sh\nvad evaluate a.csv \\\n    --dataset ped2\n```", ["vad evaluate a.csv      --dataset ped2"]),
        ("```yaml\nvad: 1\n```", []),
    ],
)
def test_commands_are_found(line, found):
    assert commands(line) == found


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("vad nothing", "vad nothing"),
        ("vad evaluate a.csv --data ped2", "no option --data"),
        ("python stages/nothing.py", "stages/nothing.py does not exist"),
        ("python stages/score.py --clip 01", "no option --clip"),
    ],
)
def test_a_command_that_does_not_exist_is_noticed(command, words):
    with pytest.raises(AssertionError, match=words):
        check_command(command)
