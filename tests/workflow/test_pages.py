"""Commands of README and docs: their verbs and options exist, and there is a rule for every target."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from project import ROOT, Project

from bridgepipe import cli

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
OWN = {"own-data.md", "architecture.md", "coming-from.md"}  # their own tests make what they name
ADDED = {"results/ddib/classes/dogs/table.md", "results/boundary/red-brick/edit.json"}  # by a page
ROOT_COMMAND = typer.main.get_command(cli.app)


def commands(page: Path) -> Iterator[list[str]]:
    """Words of each command, in a block or within a sentence, without its comment."""
    text = re.sub(r"\\\n\s*", "", page.read_text())
    blocks = re.findall(r"^```(?:sh)?\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    blocks += re.findall(r"^ {4}.*\n", text, re.MULTILINE)
    blocks += [f"{words}\n" for words in re.findall(r"`((?:bridgepipe|snakemake) [^`\n]+)`", text)]
    for line in "".join(blocks).splitlines():
        if re.match(r" *(bridgepipe|snakemake) ", line):
            yield shlex.split(line.partition("&&")[0], comments=True)


ALL = [(page.name, words) for page in PAGES for words in commands(page)]


def verb_and_rest(words: list[str]) -> tuple[typer.core.TyperCommand, list[str]]:
    command, rest = ROOT_COMMAND, words[1:]
    while hasattr(command, "commands") and rest:
        command, rest = command.commands[rest[0]], rest[1:]
    return command, rest


def test_the_pages_have_commands() -> None:
    assert len(ALL) > 50


@pytest.mark.parametrize("words", [w for _, w in ALL if w[0] == "bridgepipe"], ids=" ".join)
def test_verb_and_options_exist(words: list[str]) -> None:
    command, rest = verb_and_rest(words)
    known = {option for found in command.params for option in (*found.opts, *found.secondary_opts)}
    named = {word.partition("=")[0] for word in rest if re.match(r"--?[a-z]", word)}
    assert named - known - {"--version", "--help"} == set()


def test_there_is_a_rule_for_every_target(tmp_path: Path) -> None:
    project = Project.create(tmp_path / "project")
    (project.folder / "params.yaml").unlink()
    for name in ("params.yaml", "experiments"):
        (project.folder / name).symlink_to(ROOT / name)
    targets = {
        word
        for page, words in ALL
        if page not in OWN and words[0] == "snakemake"
        for word in words[1:]
        if re.fullmatch(r"(results|data)/[a-z0-9_./-]+", word)  # not results/i2sb/NAME/fid.json
    }
    assert len(targets) > 12
    done = project.snakemake("-n", "--quiet", "--", *sorted(targets - ADDED))
    assert done.returncode == 0


def test_git_ignores_what_the_pages_make_of_photographs(tmp_path: Path) -> None:
    """What commands that name no folder leave beside the project's own files."""
    named = {
        word for page, words in ALL for word in words if re.fullmatch(r"(strip|before-after)\.\w+", word)
    }
    assert named == {"strip.png", "before-after.html"}
    made = sorted({*named, "strip/0.png", "restored/photo.jpg", "report.html"})
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    shutil.copy(ROOT / ".gitignore", tmp_path)
    ignored = ["git", "check-ignore", *made]
    done = subprocess.run(ignored, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == made
