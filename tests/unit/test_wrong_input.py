"""Wrong input is answered before libraries are loaded that take seconds.

All cases run in one process in which such a library cannot be imported.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from every_verb import VERBS
from PIL import Image
from test_arguments import paths_of

from bridgepipe import artifacts
from bridgepipe.cli.guarding import MAY_BE_ABSENT, is_written

RUNNER = """
import contextlib, io, json, sys

HEAVY = {"torch", "scipy", "skimage", "sklearn", "torchvision", "accelerate", "matplotlib", "pandas"}

class Refused:
    asked = []

    def find_spec(self, name, path=None, target=None):
        if name in HEAVY:
            self.asked.append(name)
            raise ImportError(f"{name} is not to be imported")

from bridgepipe import cli

sys.meta_path.insert(0, Refused())
for words in json.load(sys.stdin):
    sys.argv = ["bridgepipe", *words]
    Refused.asked.clear()
    said, code = io.StringIO(), 0
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            cli._main()
        except SystemExit as e:
            code = e.code
        except ImportError as e:
            code = str(e)
    print(json.dumps([code, Refused.asked, said.getvalue().splitlines()[-1:]]))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Empty and full folders, and files of other kinds than the verbs want."""
    folder = tmp_path_factory.mktemp("given")
    for name in ("empty", "full"):
        (folder / name).mkdir()
    for name in ("photo.png", "photo.jpg"):
        Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(folder / "full" / name)
    (folder / "text.md").write_text("words\n")
    artifacts.write_json(folder / "other.json", {"a": {"b": 1}})
    return folder


def answers(folder: Path, lines: list[list[str]]) -> list[tuple[int | str, list[str], list[str]]]:
    """Exit code, libraries that were asked for, and the last line of each command."""
    command = [sys.executable, "-c", RUNNER]
    done = subprocess.run(
        command, input=json.dumps(lines), cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = [tuple(json.loads(line)) for line in done.stdout.splitlines()]
    assert len(found) == len(lines)
    return found


NAMED = {"space": "z"}  # options that are neither paths nor numbers


def line_with(verb: str, wrong: str, value: str, sound: str) -> list[str]:
    """A call of a verb with all that it requires, one option or argument wrong."""
    paths, words = paths_of(verb), verb.split()
    for option in VERBS[verb].params:
        if option.name != wrong and not option.required:
            continue
        written = is_written(verb, option.name)
        right = (
            f"out/{option.name}"
            if written
            else sound
            if option.name in paths
            else NAMED.get(option.name, "1")
        )
        given = value if option.name == wrong else right
        words += [given] if option.param_type_name == "argument" else [option.opts[0], given]
    return words


def test_a_path_that_is_not_there_is_told_at_once(folder: Path) -> None:
    """Of every verb, for every option that is read."""
    options = [(verb, n) for verb in VERBS for n in paths_of(verb) if not is_written(verb, n)]
    options = [option for option in options if option not in MAY_BE_ABSENT]
    assert len(options) > 200
    lines = [line_with(verb, name, "nowhere", "full") for verb, name in options]
    for line, (code, asked, said) in zip(lines, answers(folder, lines), strict=True):
        assert (code, asked) == (2, []), line
        assert "no such file or folder (nowhere)" in said[0], said


def test_settings_of_another_kind_are_told_at_once(folder: Path) -> None:
    configured = [verb for verb in VERBS if "config" in paths_of(verb)]
    assert len(configured) > 20
    lines = [line_with(verb, "config", "other.json", "full") for verb in configured]
    for line, (code, asked, said) in zip(lines, answers(folder, lines), strict=True):
        assert (code, asked) == (2, []), line
        assert "other.json" in said[0], said


MISTAKES = {
    "translate --input empty --output o --model full": "no images (empty)",
    "translate --input full --output o --model full --solver fast": "--solver",
    "translate --input full --output o --model full --grid fast": "--grid",
    "translate --input full --output o --model full --crop fast": "--crop",
    "translate --input full --output o --model full --steps fast": "--steps",
    "edit text.md --boundary full --output o.png": "text.md",
    "edit full/photo.png --boundary full --output o.png --distances far": "distances 'far'",
    "edit full/photo.png --boundary full --output o.png --kind fast": "--kind",
    "generate --output o --experiment spd/none --results full": "no results of this experiment",
    "generate --output o --num-images 0": "--num-images",
    "restore full --experiment i2sb/none --results full": "no results of this experiment",
    "restore full --experiment i2sb/none": "no results of this experiment",
    "restore empty": "no images (empty)",
    "restore text.md": "cannot be read as an image",
    "restore full/photo.png --format fast": "unknown format 'fast'",
    "restore full/photo.jpg --compare o.txt": "a comparison is .png or .html",
    "restore full/photo.jpg full/photo.png --output -": "2 pictures for standard output",
    "restore full/photo.jpg full/photo.png --output text.md": "a file stands where a folder should be",
    "share i2sb/none --folder o --results full": "no results of this experiment",
    "serve --experiment i2sb/none --results full": "no results of this experiment",
    "export text.md --output o": "text.md",
    "export text.md --output o.npz": "text.md",
    "measure empty full": "no images (empty)",
    "measure full text.md": "no set of images (text.md)",
    "measure full full --extractor none": "--extractor",
    "fid text.md full": "no set of images (text.md)",
    "doctor --params text.md": "text.md",
    "boundary import text.md --space w --model full --attribute a --output o": "--space",
    "boundary import text.md --space z --model full --attribute a --output o --variant w": "--variant",
    "boundary export text.md --output o.npz": "text.md",
    "push empty a/b": "no weights in it (empty)",
    "table none --params text.md": "text.md",
    "report none --params text.md": "text.md",
    "table i2sb/jpg-5 --params PARAMS": "no method or experiment 'i2sb/jpg-5'",
    "report i2sb/jpg-5 --params PARAMS": "no method or experiment 'i2sb/jpg-5'",
    "fetch none": "nothing of this name",
    "status --json --watch": "more than one way",
    "training-state empty": "no state",
    "new restoration mine --data empty --params PARAMS": "no images (empty)",
    "new pairs mine --data full --params PARAMS": "no such folder (full/A)",
    "new translation mine --data full --params PARAMS": "no sub-folders of classes (full)",
    "new boundary mine --data full --params PARAMS": "no table of attributes",
    "config i2sb/none --params text.md": "text.md",
    "config i2sb/none --params PARAMS": "unknown experiment 'i2sb/none'",
    "clean --params text.md": "text.md",
    "verify --params text.md": "text.md",
    "store info text.md": "text.md",
    "plan nothing": "no workflow here",
    "record nothing": "no workflow here",
}


def test_other_mistakes_are_told_at_once(folder: Path) -> None:
    params = str(Path(__file__).parents[2] / "params.yaml")
    lines = [line.replace("PARAMS", params).split() for line in MISTAKES]
    for line, (code, asked, said) in zip(MISTAKES, answers(folder, lines), strict=True):
        assert (code, asked) == (2, []), line
        assert MISTAKES[line] in said[0], said
