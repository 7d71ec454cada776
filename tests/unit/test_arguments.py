"""Every path that every verb takes, given what it is not: one line, exit code 2, nothing half-written."""

from __future__ import annotations

import inspect
import json
import os
import pickle
import re
import subprocess
import sys
import typing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import test_shared_verbs as shared
import torch
from every_verb import VERBS
from PIL import Image
from safetensors.torch import save_file

from bridgepipe import artifacts, cli, config
from bridgepipe.cli.groups import Guarded
from bridgepipe.cli.guarding import FOLDERS, WHOLE, guard, is_written
from bridgepipe.config.points import PointCycles
from bridgepipe.config.stage_files import RUNTIME, read_runtime_file, read_stage, read_training
from bridgepipe.data import store
from bridgepipe.datasets import points
from bridgepipe.errors import UserError
from bridgepipe.evaluation.classifier import train_classifier

SETTINGS = {  # the configuration of each verb, of those that `test_shared_verbs` writes
    "stage boundary mixing": "mixing",
    "stage boundary latents": "latents",
    "stage boundary search": "search",
    "stage boundary strips": "edit",
    "stage boundary judge": "judge",
    "stage boundary evaluate": "evaluate-edits",
    "stage study": "study",
    "stage study-samples": "study-samples",
    "stage translate-classes": "translate",
    "stage translate-back": "cycle",
    "stage evaluate translation-fid": "evaluate-translation",
    "stage evaluate target-accuracy": "evaluate-translation",
    "stage sample": "restore",
    "stage figure path": "restore",
}
MORE = {  # options without a default that are no paths
    "generate": ["--experiment", "samples"],
    "config": ["i2sb/jpeg-5"],
    **{f"new {kind}": ["mine"] for kind in ("restoration", "pairs", "translation", "boundary")},
    "measure": ["--extractor", "classifier"],
    "fid": ["--extractor", "classifier"],
    "boundary import": ["--space", "z", "--attribute", "light"],
}


def paths_of(verb: str) -> list[str]:
    """Names of the parameters that are paths."""
    callback = VERBS[verb].callback
    hints = typing.get_type_hints(callback)
    return [name for name in inspect.signature(callback).parameters if "Path" in str(hints[name])]


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one sound file of every kind, and with the bad ones under ``bad``."""
    folder = tmp_path_factory.mktemp("given")
    labels = np.arange(22) % 2
    pixels = np.random.default_rng(0).integers(0, 128, (22, 16, 16, 3), dtype=np.uint8)
    with store.writer(folder / "images.lmdb", {}, classes=["dark", "light"], progress=False) as images:
        for image in pixels:
            images.put(image)
        images.set_labels(labels)
    read = store.ImageStore(folder / "images.lmdb")
    train_classifier(read, labels, steps=1, batch_size=8).save(folder / "classifier.safetensors", {})
    judge = train_classifier(read, labels, steps=1, batch_size=8, classes=["without", "with"])
    judge.save(folder / "judge.safetensors", {})
    artifacts.write_json(folder / "extractor.json", {"kind": "classifier", "dataset": "noise"})
    artifacts.write_json(folder / "runtime.json", {"device": "cpu", "threads": 1, "batch_size": 3})
    shared.save_model(folder / "conditional", ["dark", "light"])
    shared.save_model(folder / "plain", None)
    shared.translations(folder / "config")
    shared.boundaries(folder / "config")
    shared.studies(folder)
    artifacts.write_json(
        folder / "bridge/config/sample.json", artifacts.read_json(folder / "config/restore.json")
    )
    points.save(folder / "points.safetensors", np.zeros((4, 2)), {})
    Image.fromarray(pixels[0]).save(folder / "photo.png")
    (folder / "table.csv").write_text("step,loss\n1,2\n")
    bad = folder / "bad"
    (bad / "folder").mkdir(parents=True)
    (bad / "empty").touch()
    (bad / "random").write_bytes(np.random.default_rng(1).bytes(3000))
    (bad / "text.md").write_text("# A page\n\nwith words: 1\n")
    for kind, value in {
        "list": [1, 2],
        "other": {"a": {"b": 1}},
        "wrong": {"method": 3, "train": "x"},
    }.items():
        (bad / f"{kind}.json").write_text(json.dumps(value))
    with store.writer(bad / "states.lmdb", {"kind": "states"}, progress=False) as states:
        states.put(np.zeros((2, 3, 4, 4), np.float32))
    artifacts.save_tensors(bad / "other.safetensors", {"a": torch.zeros(3)}, {"kind": "other"})
    save_file({"conv_in.weight": torch.zeros(4, 3, 3, 3)}, bad / "diffusers.safetensors", {"format": "pt"})
    torch.save({"a": np.zeros(2)}, bad / "numpy.pt")
    return folder


BAD = [
    "missing", "folder", "empty", "random", "text.md", "list.json", "other.json", "wrong.json",
    "states.lmdb", "other.safetensors", "diffusers.safetensors", "numpy.pt",
]  # fmt: skip


def sound(folder: Path, verb: str, name: str, out: Path) -> Path:
    """What a verb may be given for a path."""
    if is_written(verb, name):
        return out / name
    known = {
        "config": f"config/{SETTINGS.get(verb, 'restore')}.json",
        "train_config": "bridge/config/train.json",
        "sample_config": "config/restore.json",
        "source_config": "plain/config/train.json",
        "target_config": "plain/config/train.json",
        "extractor": "extractor.json",
        "weights": "classifier.safetensors",
        "classifier": "judge.safetensors",
        "runtime": "runtime.json",
        "source_model": "conditional",
        "target_model": "conditional",
        "guide": "conditional",
        "photos": "photo.png",
        "photo": "photo.png",
        "results": ".",
        "csv": "table.csv",
    }
    if verb in ("translate", "edit", "generate", "boundary import") and name == "model":
        return folder / "conditional"
    if name == "model":
        return folder / ("bridge" if verb == "restore" else "bridge/model.safetensors")
    of_points = verb.endswith(("-points", "color", "color-picture")) or verb == "stage evaluate-samples"
    return folder / known.get(name, "points.safetensors" if of_points else "images.lmdb")


def call(monkeypatch: pytest.MonkeyPatch, verb: str, files: dict[str, Path]) -> object:
    """Exit code of a verb; anything but an exit is an error of the test."""
    positional = [n for n in files if type(_parameter(verb, n)).__name__.endswith("Argument")]
    words = [w for n, p in files.items() if n not in positional for w in (f"--{n.replace('_', '-')}", str(p))]
    line = [*verb.split(), *(str(files[n]) for n in positional), *words, *MORE.get(verb, [])]
    monkeypatch.setattr(sys, "argv", ["bridgepipe", *line])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return end.value.code


def _parameter(verb: str, name: str) -> Any:
    return next(p for p in VERBS[verb].params if p.name == name)


# what is right: a store of any kind can be looked at and joined, a folder has a status
RIGHT = {
    ("stage gather", "parts", "states.lmdb"),
    ("store info", "file", "states.lmdb"),
    ("status", "folder", "folder"),
    ("serve", "folder", "folder"),
}
ALONE = {"schema", "status", "config", "verify"}  # their other paths are those of the project
OPTIONS = [
    (verb, name)
    for verb in VERBS
    for name in paths_of(verb)
    # names of downloads are tested with them
    if not is_written(verb, name) and verb not in ("fetch", "doctor")
]
# one kind for each option, another for the next, two options of three; FULL=1 tries all, which takes minutes
CASES = [
    (verb, name, bad)
    for k, (verb, name) in enumerate(OPTIONS)
    for bad in (BAD if os.environ.get("FULL") else [BAD[k % len(BAD)]] * (k % 3 < 2))
    if (verb, name, bad) not in RIGHT and (name != "params" or bad in ("missing", "folder", "list.json"))
]


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("bridgepipe: ")]
    assert len(lines) == 1, lines
    return lines[0]


@pytest.mark.parametrize(("verb", "name", "bad"), CASES)
def test_a_path_to_something_else_is_one_line(
    given: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    verb: str,
    name: str,
    bad: str,
) -> None:
    monkeypatch.chdir(given)
    others = [] if verb in ALONE else [n for n in paths_of(verb) if n != "seen"]
    files = {n: sound(given, verb, n, tmp_path / "out") for n in others} | {name: given / "bad" / bad}
    before = {f: f.read_bytes() for f in (given / "bad").rglob("*") if f.is_file()}
    assert call(monkeypatch, verb, files) == 2
    line = one_line(capsys)
    assert not re.search(r"delete|remove|get it again|[A-Z]\w+Error", line), line
    assert {f: f.read_bytes() for f in (given / "bad").rglob("*") if f.is_file()} == before


def test_speed_settings_are_those_that_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The defaults where none are named, and never in place of a file that is not there."""
    monkeypatch.chdir(tmp_path)
    assert read_runtime_file(RUNTIME) == config.Runtime()
    with pytest.raises(UserError, match=r"no such file \(runtime\.json\)"):
        read_runtime_file(Path("runtime.json"))
    artifacts.write_json(RUNTIME, {"batch_size": 3})
    assert read_runtime_file(RUNTIME).batch_size == 3


def test_every_verb_is_tried() -> None:
    assert {verb for verb, _ in OPTIONS} | {"fetch", "doctor", "schema", "plan", "record"} == set(VERBS)
    assert len(OPTIONS) > 150


OUTPUTS = [(verb, n) for verb in VERBS for n in paths_of(verb) if is_written(verb, n) and n != "seen"]
MISPLACED = ("input", "link", "folder", "other", "below", "inside")


def misplaced(given: Path, files: dict[str, Path], verb: str, name: str, how: str) -> Path | None:
    """A place where a result must not go; None where the verb has no such place."""
    read = next((p for n, p in files.items() if not is_written(verb, n) and p.is_file()), None)
    others = [p for n, p in files.items() if n != name and is_written(verb, n)]
    whole = next((p for n, p in files.items() if (verb, n) in WHOLE), None)
    if how == "link" and read is not None:
        (link := files[name].with_name(f"{verb} {name}")).symlink_to(read)
        return link
    places = {
        "input": read,
        "folder": None if (verb, name) in FOLDERS else given / "bad/folder",
        "other": others[0] if others else None,
        "below": given / "photo.png/out",
        "inside": None if whole is None else whole / "result",
    }
    return places.get(how)


@pytest.mark.parametrize("how", MISPLACED)
def test_an_output_that_would_cost_something_is_refused(given: Path, tmp_path: Path, how: str) -> None:
    """Of every verb."""
    (given / "bad/folder/file.pt").touch()
    tried = 0
    for verb, name in OUTPUTS:
        files = {n: sound(given, verb, n, tmp_path) for n in paths_of(verb) if n != "seen"}
        files |= {n: given / "bad/folder" for v, n in WHOLE if v == verb}
        guard(verb, files)
        if (place := misplaced(given, files, verb, name, how)) is not None:
            tried += 1
            with pytest.raises(UserError, match="where a folder should be" if how == "below" else "--") as e:
                guard(verb, {**files, name: place})
            assert "\n" not in str(e.value)
    assert tried >= {"other": 20, "inside": 2}.get(how, 40)


def test_every_verb_begins_with_the_guard(
    given: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert all(isinstance(verb, Guarded) for verb in VERBS.values())
    store = given / "images.lmdb"
    before = store.read_bytes()
    assert call(monkeypatch, "stage gather", {"parts": store, "output": store}) == 2
    assert "--output would replace what --parts reads" in one_line(capsys)
    words = {
        n: sound(given, "stage boundary search", n, given / "out") for n in paths_of("stage boundary search")
    }
    assert call(monkeypatch, "stage boundary search", {**words, "accuracy": given / "bad/folder"}) == 2
    assert "a folder is here" in one_line(capsys)
    assert store.read_bytes() == before


@pytest.mark.parametrize("verb", ["schema", "export", "store info", "stage gather"])
def test_an_output_below_a_file_is_one_line(
    given: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    read = {n: given / "images.lmdb" for n in paths_of(verb) if n in ("samples", "parts", "file")}
    if "output" in paths_of(verb):
        read["output"] = given / "photo.png/out"
    else:
        read["file"] = given / "photo.png/file"
    assert call(monkeypatch, verb, read) == 2
    assert "photo.png" in one_line(capsys)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("nothere", r"No such command 'nothere'"),
        (
            "sample --config a.json",
            r"this verb has moved \(bridgepipe sample\): call bridgepipe stage sample",
        ),
        ("boundary search", r"moved \(bridgepipe boundary search\): call bridgepipe stage boundary search"),
        ("evaluate fid --output a", r"\(bridgepipe evaluate\): call bridgepipe stage evaluate"),
        (
            "import-weights hf:google/ddpm-cifar10-32",
            r'write `train: {published: "hf:google/ddpm-cifar10-32"}` in METHOD/NAME of params.yaml, then',
        ),
        ("stage nothere", r"No such command 'nothere'"),
        ("restore", r"Missing argument"),
        ("restore a.png --outptu b", r"No such option"),
        ("translate --steps six", r"Invalid value for '--steps'"),
        ("verify nothere", r"no such file or folder \(nothere\)"),
    ],
)
def test_a_mistake_in_the_line_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: str, expected: str
) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    monkeypatch.setattr(sys, "argv", ["bridgepipe", *line.split()])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    printed = capsys.readouterr().err.splitlines()
    assert len(printed) == 1
    assert re.search(expected, printed[0])


def test_a_page_is_no_configuration(
    given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {
        n: sound(given, "stage train", n, tmp_path)
        for n in paths_of("stage train")
        if n not in ("sources", "spectrum")
    }
    readme = Path(__file__).parents[2] / "README.md"
    assert call(monkeypatch, "stage train", {**files, "config": readme}) == 2
    line = one_line(capsys)
    assert "not a JSON file" in line
    assert "give a JSON file" in line


def test_weights_of_another_library_are_foreign_and_not_damaged(given: Path) -> None:
    with pytest.raises(UserError, match="not a bridgepipe file: it has no card") as e:
        artifacts.load_tensors(given / "bad/diffusers.safetensors")
    assert "again" not in str(e.value)


@pytest.mark.parametrize("suffix", [".pth", ".pt"])
def test_an_extractor_that_asks_to_run_something_is_refused_by_name(tmp_path: Path, suffix: str) -> None:
    from bridgepipe.evaluation import extractors

    torch.save({"a": Path("x")}, tmp_path / f"w{suffix}")  # harmless, and a name that is not on the list
    with pytest.raises(
        UserError, match=r"refused: the file asks to load pathlib\S*, .* \(\S*w\.pth?\): .*safetensors"
    ):
        extractors.load_state(tmp_path / f"w{suffix}")


def test_a_conditional_model_needs_a_class(
    given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.png").write_bytes((given / "photo.png").read_bytes())
    files = {"input": tmp_path / "in", "output": tmp_path / "out", "model": given / "conditional"}
    assert call(monkeypatch, "translate", {**files, "runtime": given / "runtime.json"}) == 2
    assert "the source model is conditional: it needs a class" in (line := one_line(capsys))
    assert "give one of: dark, light" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("how", ["full", "closed"])
def test_output_that_cannot_be_written_is_no_traceback(given: Path, how: str) -> None:
    """The reader of a pipe has gone, or the disk of a log is full."""
    command = [sys.executable, "-m", "bridgepipe", "store", "info", str(given / "images.lmdb")]
    if how == "closed":
        read, write = os.pipe()
        os.close(read)
    else:
        write = os.open("/dev/full", os.O_WRONLY)
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert "Traceback" not in done.stderr
    if how == "full":
        assert done.returncode == 2
        assert "the disk is full" in done.stderr
    else:
        assert (done.returncode, done.stderr) == (1, "")


def test_every_stage_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    values = config.read_yaml(Path(__file__).parents[2] / "params.yaml")
    for scale in values["scales"]:
        for experiment in config.Resolved({**values, "scale": scale}).experiments.values():
            for written in experiment.stages().values():
                artifacts.write_json(tmp_path / "a.json", written.as_json())
                assert read_stage(tmp_path / "a.json", type(written)) == written


def test_labels_that_are_names_of_keys_are_no_keys(tmp_path: Path) -> None:
    cycle = {"state_pair": {"nfe": 5}, "seed": {"nfe": 4}}
    content = {"source": "a", "target": "b", "cycle": cycle, "count": 10}
    artifacts.write_json(tmp_path / "a.json", content)
    assert read_stage(tmp_path / "a.json", PointCycles).cycle["state_pair"].nfe == 5


NETWORK = {"kind": "adm", "channel_mult": "wide"}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"method": "i2sb", "train": 3}, "train is 3"),
        ({"method": "model", "network": NETWORK}, "network.channel_mult is 'wide'"),
        ({"method": "points", "train": {"seed": {"a": 1}}}, "train.seed is a section"),
        ({"method": "color"}, "not the configuration of a training: method is 'color'"),
        ({"method": "guide", "dataset": "x"}, "no train in it, so it is of another kind"),
        ({"method": "i2sb", "dataset": "x", "train": {}}, "no corruption in it"),
        ({"cycle": {"pair": {"solver": 3}}}, "no method in it"),
        ([1], "it holds a list, not values by name"),
    ],
)
def test_a_configuration_with_impossible_values_is_told(tmp_path: Path, content: object, told: str) -> None:
    artifacts.write_json(tmp_path / "a.json", content)
    with pytest.raises(UserError, match=re.escape(told)):
        read_training(tmp_path / "a.json")
    with pytest.raises(UserError, match=r"a\.json"):
        read_training(tmp_path / "a.json")


def test_what_a_file_lacks_is_told_with_its_name(tmp_path: Path) -> None:
    artifacts.write_json(tmp_path / "a.json", {"train": {"steps": 3}})
    content = pickle.loads(pickle.dumps(artifacts.read_object(tmp_path / "a.json")))
    with pytest.raises(UserError, match=r"no train\.lr in it.*a\.json"):
        content["train"]["lr"]
