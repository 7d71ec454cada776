"""What all verbs have in common: names of options, what stands where, how much is said, and dry runs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import typing
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from every_verb import VERBS
from in_process import run
from PIL import Image
from trees import tree

from bridgepipe import artifacts
from bridgepipe.data import store
from bridgepipe.downloads import sources
from bridgepipe.photographs.shipped import CARD as CARD_OF_WEIGHTS

PEOPLE = {name: verb for name, verb in VERBS.items() if not name.startswith("stage ")}
# one name for two kinds of value, each for a reason
TWO_KINDS = {
    "extractor": "people name a kind of extractor, rules the file of its settings",
    "real": "a store of real images, or whether the source's store holds them",
    "steps": "translate also takes `all`",
}


def options(verbs: dict[str, Any]) -> list[tuple[str, Any, str]]:
    """Verb, option and type of its value, for all options."""
    found = []
    for name, verb in verbs.items():
        hints = typing.get_type_hints(verb.callback)
        for p in verb.params:
            if p.param_type_name == "option":
                kind = str(hints[p.name]).replace(" | None", "").removeprefix("<class '").removesuffix("'>")
                found.append((name, p, kind.removeprefix("list[").removesuffix("]")))
    return found


def test_one_name_has_one_kind_of_value() -> None:
    kinds = defaultdict(set)
    for _, option, kind in options(VERBS):
        kinds[option.name].add(kind)
    assert {name for name, found in kinds.items() if len(found) > 1} <= TWO_KINDS.keys()


def test_one_meaning_has_one_name() -> None:
    """Options that many verbs have are declared alike, and short names mean one thing."""
    helps, long_of = defaultdict(set), defaultdict(set)
    for name, option, _ in options(VERBS):
        helps[option.name].add(option.help)
        for short in (word for word in option.opts if not word.startswith("--")):
            long_of[short].add(option.name)
        if name in PEOPLE and option.name == "output":
            assert "-o" in option.opts, name
        if option.name in ("as_json", "dry_run", "params"):
            assert option.opts == [f"--{option.name.removeprefix('as_').replace('_', '-')}"]
    assert long_of == {"-o": {"output"}}
    for name in ("runtime", "threads", "processes", "results", "as_json", "params"):
        assert len(helps[name] - {None}) <= 1, name
    for word in ("json", "dry", "format_json", "dryrun", "out", "force", "num"):
        assert word not in helps


def test_scripts_can_read_what_is_shown() -> None:
    """Verbs whose output is more than the names of what they wrote."""
    with_json = {verb for verb, option, _ in options(VERBS) if option.name == "as_json"}
    assert with_json == {"measure", "fid", "doctor", "config", "plan", "status", "table", "store info"}
    dry = {verb for verb, option, _ in options(VERBS) if option.name == "dry_run"}
    new = {verb for verb in VERBS if verb.startswith("new ")}
    assert dry == {"restore", "translate", "edit", "export", "fetch", "push", "clean"} | new


def complete(*words: str) -> list[str]:
    asked = {"_BRIDGEPIPE_COMPLETE": "complete_bash", "COMP_WORDS": " ".join(words)}
    asked |= {"COMP_CWORD": str(len(words) - 1)}
    command = [sys.executable, "-m", "bridgepipe"]
    return subprocess.run(
        command, env=os.environ | asked, capture_output=True, text=True, check=True
    ).stdout.split()


def test_a_shell_completes_verbs_and_options() -> None:
    assert complete("bridgepipe", "rest") == ["restore"]
    assert complete("bridgepipe", "store", "i") == ["info"]
    assert complete("bridgepipe", "restore", "--dr") == ["--dry-run"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    with store.writer(tmp_path / "images.lmdb", {}, progress=False) as out:
        for image in pixels:
            out.put(image)
    return tmp_path


def files(folder: Path) -> set[str]:
    return {str(f.relative_to(folder)) for f in folder.rglob("*") if f.is_file()}


Printed = pytest.CaptureFixture[str]


def test_results_alone_are_on_standard_output(folder: Path, capsys: Printed) -> None:
    run("status")
    printed = capsys.readouterr()
    assert printed.out == "nothing was run here yet\n"
    run("store", "info", "images.lmdb", "--json")
    told = json.loads(capsys.readouterr().out)
    assert (told["count"], told["shape"]) == (3, [8, 8, 3])
    run("store", "info", "images.lmdb")
    assert "shape         [8, 8, 3]\n" in capsys.readouterr().out


def test_quiet_and_verbose(folder: Path, capsys: Printed) -> None:
    """Before or after the verb: nothing but results and errors, or also files and time."""
    Image.new("RGB", (40, 30), (9, 99, 199)).save("photo.png")
    run("restore", "photo.png", "--output", "plain")
    assert "cannot be" not in capsys.readouterr().err
    for words in (("-q", "restore"), ("restore", "--quiet")):
        run(*words, "photo.png", "--output", "silent")
        printed = capsys.readouterr()
        assert (printed.out, printed.err) == ("silent/photo.png\n", "")
    run("export", "images.lmdb", "-v", "--output", "images.npz")
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("wrote images.npz\ntook ")
    for loud, lines in (("-q", 1), ("--verbose", 4)):
        with pytest.raises(SystemExit):
            run("export", loud, "missing.lmdb", "--output", "other.npz")
        said = capsys.readouterr().err.splitlines()
        assert said[-1].startswith("bridgepipe: no such file")
        assert len(said) == 1 if lines == 1 else len(said) > lines


def would_write(folder: Path, capsys: Printed, *words: str) -> set[str]:
    """What a dry run names, after which everything is as it was."""
    before = tree(folder)
    capsys.readouterr()
    run(*words, "--dry-run")
    assert tree(folder) == before
    return set(capsys.readouterr().out.split())


@pytest.mark.parametrize("output", ["folder", "images.npz"])
def test_a_dry_export_names_what_an_export_writes(folder: Path, capsys: Printed, output: str) -> None:
    words = ("export", "images.lmdb", "--output", output)
    before, named = files(folder), would_write(folder, capsys, *words)
    run(*words)
    assert files(folder) - before == named
    assert named
    if output == "folder":
        (folder / "folder/00001.png").unlink()
        assert would_write(folder, capsys, *words) == {"folder/00001.png"}


def test_a_dry_restoration_names_what_a_restoration_writes(folder: Path, capsys: Printed) -> None:
    for name in ("a", "b"):
        Image.new("RGB", (40, 30), (9, 99, 199)).save(f"{name}.png")
    words = ("restore", "a.png", "b.png", "--compare", "both.html")
    before, named = files(folder), would_write(folder, capsys, *words)
    assert named == {"restored/a.png", "restored/b.png", "both.html"}
    run(*words)
    assert {name for name in files(folder) - before if "/." not in name} == named
    assert would_write(folder, capsys, *words) == {"both.html"}


def test_a_dry_fetch_names_what_is_missing(folder: Path, capsys: Printed) -> None:
    every = {name: s for name, s in sources.load_sources().items() if name.startswith("i2sb/")}
    assert len(every) > 3
    expected = {f"data/{s.path}" for s in every.values()}
    assert would_write(folder, capsys, "fetch", "i2sb") == expected
    assert would_write(folder, capsys, "fetch", "i2sb/jpeg-5") == {f"data/{every['i2sb/jpeg-5'].path}"}
    assert would_write(folder, capsys, "fetch", "hf:me/mine", "-o", "here") == {"here"}
    two = [f"i2sb/{name}" for name in ("jpeg-5", "jpeg-10")]
    assert would_write(folder, capsys, "fetch", *two) == {f"data/{every[name].path}" for name in two}


@pytest.mark.parametrize("names", [("i2sb",), ("i2sb/jpeg-5", "i2sb/jpeg-10")])
def test_several_downloads_have_no_common_place(
    folder: Path, capsys: Printed, names: tuple[str, ...]
) -> None:
    with pytest.raises(SystemExit):
        run("fetch", *names, "-o", "here")
    assert "(--output): " in capsys.readouterr().err
    assert not (folder / "here").exists()


def test_without_a_name_the_sources_are_listed(folder: Path, capsys: Printed) -> None:
    run("fetch")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [*sources.load_sources()]
    assert any(re.search(r"adm/256x256_diffusion_uncond +2,211 MB +MIT", line) for line in lines)


def test_a_dry_push_names_what_is_sent(folder: Path, capsys: Printed) -> None:
    shared = folder / "mine"
    weights = {"a": torch.zeros(2)}
    artifacts.save_tensors(shared / "model.safetensors", weights, {})
    for name in ("README.md", ".lock", CARD_OF_WEIGHTS):
        (shared / name).write_text("{}")
    named = would_write(folder, capsys, "push", "mine", "me/mine")
    assert named == {"mine/README.md", "mine/model.safetensors", f"mine/{CARD_OF_WEIGHTS}"}
