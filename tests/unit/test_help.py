"""Help of the command line, and which verbs rules call."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from every_verb import VERBS

import bridgepipe
from bridgepipe import cli
from bridgepipe.cli import groups
from bridgepipe.cli.options import TEXTS

ROOT = Path(__file__).parents[2]


def run(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as end:
        patch.setattr(sys, "argv", ["bridgepipe", *words])
        cli.main()
    assert not end.value.code
    return capsys.readouterr().out


def test_the_version_stands_in_one_place_and_all_others_repeat_it(capsys: pytest.CaptureFixture[str]) -> None:
    """`bridgepipe --version` is that of the source, whatever was recorded when it was installed."""
    version = bridgepipe.__version__
    assert run(capsys, "--version") == f"bridgepipe {version}\n"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" in project["project"]["dynamic"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "bridgepipe.__version__"}
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    headings = re.findall(r"^## (.*)", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert headings[0] in ("Unreleased", version)
    assert version in headings
    texts = [
        *ROOT.glob("*"),
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("profiles/*/*"),
        *ROOT.glob("workflow/**/*"),
    ]
    read = "".join(file.read_text(errors="ignore") for file in texts if file.is_file())
    images = re.findall(r"\bbridgepipe:(\d[\d.]*\d)", read)
    assert len(images) >= 4
    assert set(images) == {version}


def test_every_verb_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in VERBS:
        assert run(capsys, *verb.split(), "--help").startswith(f"Usage: bridgepipe {verb} ")


def test_help_explains_everything_and_cuts_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    bare = [
        (verb, p.name) for verb, command in VERBS.items() for p in command.params if not (p.help or p.hidden)
    ]
    assert bare == []
    for words in (*VERBS, "new", "store", "boundary", "stage", "stage figure"):
        shown = run(capsys, *words.split(), "--help")
        assert "list[" not in shown, words
        assert re.findall(r"^  .*\w\.\.\.$", shown, flags=re.MULTILINE) == [], words
    assert "edited.\n" in run(capsys, "new", "--help")


def test_help_lists_the_verbs_of_people_under_headings(capsys: pytest.CaptureFixture[str]) -> None:
    listed = run(capsys, "--help")
    assert listed == run(capsys)
    assert re.findall(r"^(\w.*):$", listed, flags=re.MULTILINE) == ["Options", *groups.HELP]
    named = re.findall(r"^  ([a-z][a-z-]+)  +[A-Z]", listed, flags=re.MULTILINE)
    assert set(named) == {verb.split()[0] for verb in VERBS}
    assert len(named) == len(set(named)) == 26
    assert max(map(len, listed.splitlines())) < 80  # one line each
    assert "START:END:N" in run(capsys, "edit", "--help")  # Rich would show a bell


def test_help_imports_nothing_that_takes_long() -> None:
    """0.15 s of processor time, where the settings of params.yaml alone would take 0.4 s."""
    heavy = {"torch", "numpy", "pydantic", "yaml", "rich", "bridgepipe.config", "bridgepipe.runtime.cluster"}
    heavy |= {"starlette", "uvicorn", "jinja2", "anyio"}
    told = f"atexit.register(lambda: print({heavy} & sys.modules.keys(), file=sys.stderr))"
    code = f"import sys, atexit; {told}; from bridgepipe.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "set()\n")


def test_every_rule_calls_a_verb_of_stage_or_one_for_people() -> None:
    rules = "".join(f.read_text() for f in (ROOT / "workflow/rules").glob("*.smk"))
    quoted = set(re.findall(r'"([a-z][a-z-]*(?: [a-z-]+)*)', rules))  # a rule of several verbs names them
    called = set()
    for words, several in re.findall(r'"bridgepipe ((?:[a-z-]+ )+)(\{params\.verb\})?', rules):
        called |= {f"{words}{name}" for name in quoted} & VERBS.keys() if several else {words.strip()}
    verbs = {next((v for v in VERBS if f"{words} ".startswith(f"{v} ")), words) for words in called}
    assert verbs - VERBS.keys() == set()
    assert {v for v in VERBS if v.startswith("stage ")} <= verbs
    assert {v for v in verbs if not v.startswith("stage ")} == {"fetch", "export"}


def test_options_that_verbs_share_are_declared_once() -> None:
    """Those of the machine, of a trained network, of an extractor, and of a part of the work."""
    shared = r"^ +(runtime: Runtime|threads: |processes: |train_config: File|weights: File|parts: int)"
    declared = {
        file.name: len(found)
        for file in Path(cli.__file__).parent.glob("*.py")
        if (found := re.findall(shared, file.read_text(), flags=re.MULTILINE))
    }
    assert declared == {"options.py": 5}
    offering = [verb for verb in VERBS.values() if {"runtime", "threads"} <= {p.name for p in verb.params}]
    assert len(offering) > 25
    assert len({(p.help, p.default) for v in offering for p in v.params if p.name == "threads"}) == 1


def test_every_text_that_options_share_is_shown_and_written_once() -> None:
    shown = [(p.name, p.help) for verb in VERBS.values() for p in verb.params]
    assert [name for name, text in TEXTS.items() if (name, text) not in shown] == []
    assert len(set(TEXTS.values())) == len(TEXTS)
    written = "".join(file.read_text() for file in Path(cli.__file__).parent.glob("*.py"))
    assert [text for text in TEXTS.values() if written.count(f'help="{text}"')] == []


def test_files_and_functions_of_the_command_line_are_short() -> None:
    """A verb is its options, its settings and one call: what it does stands elsewhere."""
    texts = {file: file.read_text() for file in Path(cli.__file__).parent.glob("*.py")}
    assert len(texts) <= 15  # fourteen, and one more of a method that a reader adds
    assert sum(len(text.splitlines()) for text in texts.values()) <= 2450
    for file, text in texts.items():
        assert len(text.splitlines()) <= 301, file
        long = {
            node.name: length
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.FunctionDef) and (length := node.end_lineno - node.lineno + 1) > 60
        }
        assert long == {}, file
