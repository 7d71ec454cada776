"""Verbs that share their work: two processes (gloo, on the CPU) write what one does."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import shared_verbs
import torch
from every_verb import VERBS, called
from PIL import Image
from started import all_succeed, free_port
from test_perceptual import quarters, tiny_clip
from torch import nn
from trees import tree

from bridgepipe import artifacts, cli, config
from bridgepipe.config.recipe import Distribution
from bridgepipe.config.runtime import Runtime
from bridgepipe.data.store import ImageStore, writer
from bridgepipe.data.subset import items_of
from bridgepipe.datasets import colors
from bridgepipe.datasets import points as point_sets
from bridgepipe.datasets.images import write_png
from bridgepipe.errors import UserError
from bridgepipe.evaluation.classifier import train_classifier
from bridgepipe.evaluation.extractors import digest_tensors
from bridgepipe.methods import color, gaussian, i2sb, task
from bridgepipe.networks import adm, mlp
from bridgepipe.photographs import editing
from bridgepipe.photographs.files import Photo
from bridgepipe.runtime import closure, finished
from bridgepipe.runtime.source import modules as modules_of
from bridgepipe.web import tasks

NETWORK = {"model_channels": 32, "num_res_blocks": 1, "channel_mult": (1,), "attention_resolutions": ()}
STEPS = {"steps": 1}
EVALUATE = {"extractor": "small", "classifier": "small"}
STORES = [
    *(
        f"{kind}{end}"
        for kind in ("translated", "latents", "states", "back", "back-part")
        for end in ("", "-published")
    ),
    *(f"{role}-{space}" for role in ("train", "test") for space in ("z", "h")),
    *(f"{edit}{end}" for edit in ("edit", "edit-samples") for end in ("", "-plain")),
    *("restored", "corrupted", "samples"),
]
POINTS = ["points", "moved"]
TABLES = ["mixing.csv", "edit.csv", "samples.csv", "restored.csv"]
METRICS = ["fid.json", "accuracy.json", "similarity.json", "edit.json", "recognised.json"]


def shaken(network: nn.Module) -> nn.Module:
    """With weights that are nowhere zero: an untrained network puts out nothing."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.05)
    return network


def save(folder: Path, settings: dict[str, Any], network: nn.Module, **card: Any) -> None:
    artifacts.write_json(folder / "config/train.json", settings)
    card |= {"config": artifacts.read_json(folder / "config/train.json")}
    artifacts.save_tensors(folder / "model.safetensors", shaken(network).state_dict(), card)


def save_model(folder: Path, classes: list[str] | None) -> None:
    network = {"kind": "adm", **NETWORK}
    told = {"dataset": "noise", "conditional": bool(classes), "network": network, "train": STEPS}
    trained = config.Model.model_validate(told)
    diffusion, arguments = gaussian.Diffusion((3, 16, 16), trained.process), trained.network.arguments
    made = gaussian.network("adm", diffusion, len(classes) if classes else None, **arguments)
    save(folder, trained.stages()["train"].as_json(), made, shape=[3, 16, 16], class_names=classes)


def translations(folder: Path) -> None:
    ends = {"source": "dark", "target": "light", "source_model": "conditional", "evaluate": EVALUATE}
    published = {"solver": "ddim", "grid": "ddib", "respacing": "4", "clip_decode": True}
    for name, sample in {"": {"respacing": "log_snr 4"}, "-published": published}.items():
        e = config.ClassTranslation.model_validate({**ends, "sample": sample, "cycle": 8})
        artifacts.write_json(folder / f"translate{name}.json", e.stages()["sample"].as_json())
        artifacts.write_json(folder / f"cycle{name}.json", e.stages()["cycle"].as_json())
        artifacts.write_json(folder / "evaluate-translation.json", e.stages()["evaluate"].as_json())


def boundaries(folder: Path) -> None:
    edit = {"n": 3, "images": 8, "count": 4, "generate": 5}
    told: dict[str, Any] = {
        "model": "plain",
        "dataset": "noise",
        "attribute": "light",
        "inversion": {"count": 4},
        "mixing": {"count": 5, "every": 2, "images": 16, "folds": 2},
        "search": {"images": 14},
        "evaluate": {"extractor": "small", "judge": {"steps": 6, "batch_size": 8}},
    }
    e = config.BoundarySearch.model_validate({**told, "edit": edit})
    samples = config.BoundarySearch.model_validate(
        {**told, "edit": {**edit, "source": "samples", "eta": 1.0}}
    )
    for stage, read in e.stages().items():
        name = "evaluate-edits" if stage == "evaluate" else stage
        artifacts.write_json(folder / f"{name}.json", read.as_json())
    artifacts.write_json(folder / "edit-samples.json", samples.stages()["edit"].as_json())


def studies(folder: Path) -> None:
    study = {"nfe": (3,), "count": 8}
    e = config.I2SB.model_validate(
        {
            "dataset": "noise",
            "corruption": "jpeg-5",
            "network": NETWORK,
            "train": STEPS,
            "sample": {"nfe": 2},
            "evaluate": EVALUATE,
            "study": study,
        }
    )
    network = i2sb.network((16, 16), False, 0, **e.network.model_dump())
    save(folder / "bridge", e.stages()["train"].as_json(), network)
    artifacts.write_json(folder / "config/restore.json", e.stages()["sample"].as_json())
    artifacts.write_json(folder / "config/study.json", e.stages()["study"].as_json())
    artifacts.write_json(folder / "config/measure.json", e.stages()["evaluate"].as_json())
    samples = config.Generation.model_validate(
        {"model": "plain", "evaluate": {"extractor": "small"}, "study": study}
    )
    artifacts.write_json(folder / "config/study-samples.json", samples.stages()["study"].as_json())
    generate = {"nfe": 2, "count": 10, "seed": 0}
    drawn = config.Generation.model_validate(
        {"model": "plain", "sample": generate, "evaluate": {"extractor": "small"}}
    )
    for place in ("config/generate.json", "samples/config/sample.json"):
        artifacts.write_json(folder / place, drawn.stages()["sample"].as_json())


def classifiers(folder: Path) -> None:
    small = config.Extractor(kind="classifier", dataset="noise", steps=6, batch_size=8, lr=0.01)
    artifacts.write_json(folder / "config/classifier.json", small.as_json())
    fid = Distribution(extractor="small", reference="val")
    artifacts.write_json(folder / "config/fid.json", fid.as_json())


def photos(folder: Path, images: ImageStore) -> None:
    """Three photographs as a person has them, and an experiment to restore them by."""
    for item, name in enumerate(shared_verbs.PHOTOS):
        write_png(folder / name, images[item][item:], "")  # of three sizes: each is restored by itself
    restore = artifacts.read_json(folder / "config/restore.json")
    artifacts.write_json(folder / "bridge/config/sample.json", restore)


def points(folder: Path) -> None:
    """Two batches and a bit."""
    solver = {"solver": "ddim", "nfe": 3, "spacing": "log_snr", "grid": "exact"}
    domain = config.PointModel.model_validate({"dataset": "moons", "train": STEPS})
    diffusion = task.diffusion_of(domain.process, (2,), {})
    network = gaussian.network("points", diffusion, **domain.network.arguments)
    save(folder / "points", domain.stages()["train"].as_json(), network, shape=[2])
    many = np.random.default_rng(0).normal(size=(shared_verbs.POINTS * 2 + 5, 2))
    drawn = {"source": "points", "domain": "moons", "seed": 0, "variant": "published"}
    point_sets.save(folder / "points.safetensors", many, drawn)
    point_sets.save(folder / "pixels.safetensors", many, {"image": "many.jpg"})
    point_sets.save(folder / "paints.safetensors", many[::-1], {"image": "paints.jpg"})
    spread = {key: solver[key] for key in ("solver", "nfe", "spacing")}
    sample = {**spread, "count": 100, "latents": 100, "seed": 0}
    artifacts.write_json(folder / "config/points.json", sample)
    ends = {"source": "moons", "target": "rings", "seed": 0}
    moved = {**ends, "translate": solver, "count": len(many)}
    artifacts.write_json(folder / "config/translate-points.json", moved)
    cycle = {**ends, "cycle": {"DDIM": {**solver, "state_pair": False}}, "count": len(many)}
    artifacts.write_json(folder / "config/cycle-points.json", cycle)
    color = {
        "source": "many",
        "target": "paints",
        "translate": solver,
        "plan": 20,
        "sinkhorn": 0.05,
        "seed": 0,
    }
    artifacts.write_json(folder / "config/color.json", color)


def begun_anew(folder: Path) -> None:
    """What verbs read that keep no batches (`shared_verbs.whole`)."""
    artifacts.write_json(folder / "config/digits.json", {"source": "digits", "size": 16, "seed": 0})
    settings = artifacts.read_json(folder / "plain/config/train.json")
    own = {"steps": 4, "keep_every": 2, "batch_size": 4, "log_every": 2}
    for name, how in {"train": own, "import": {"published": "plain/model.safetensors"}}.items():
        content = {**settings, "train": {**settings["train"], **how}}
        artifacts.write_json(folder / f"config/{name}.json", content)
    (folder / "model").mkdir()
    (folder / "model/plain").symlink_to("../plain")


def run(folder: Path, *outs: str) -> None:
    """All verbs by one process for each folder of results, as if a launcher had started them."""
    world = {"WORLD_SIZE": str(len(outs)), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    started = []
    for rank, out in enumerate(outs):
        (folder / out).mkdir()
        own = {**world, "RANK": str(rank), "LOCAL_RANK": str(rank)} if len(outs) > 1 else {}
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **own}
        command = [sys.executable, shared_verbs.__file__, out]
        started.append(
            subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)
        )
    all_succeed(started)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two classes of images and random models, with the results of one process and of two."""
    folder = tmp_path_factory.mktemp("made")
    labels = np.arange(22) % 2
    pixels = np.random.default_rng(0).integers(0, 128, (22, 16, 16, 3), dtype=np.uint8)
    with writer(folder / "images.lmdb", {}, classes=["dark", "light"]) as store:
        for image, label in zip(pixels, labels, strict=True):
            store.put(image + np.uint8(label * 100))
        store.set_labels(labels)
    images = ImageStore(folder / "images.lmdb")
    train_classifier(images, labels, steps=2, batch_size=8).save(folder / "classifier.safetensors", {})
    judge = train_classifier(images, labels, steps=2, batch_size=8, classes=["without", "with"])
    judge.save(folder / "judge.safetensors", {})
    artifacts.write_json(folder / "extractor.json", {"kind": "classifier", "dataset": "noise"})
    # 22 images, or 11 of a class, in batches of 3: some processes have nothing to do at the end
    artifacts.write_json(folder / "runtime.json", {"device": "cpu", "threads": 1, "batch_size": 3})
    save_model(folder / "conditional", ["dark", "light"])
    save_model(folder / "plain", None)
    translations(folder / "config")
    boundaries(folder / "config")
    studies(folder)
    points(folder)
    classifiers(folder)
    photos(folder, images)
    colours(folder)
    points_of_a_domain(folder)
    begun_anew(folder)
    run(folder, "one")
    run(folder, "two", "other")
    run(folder, "stopped")
    return folder


def test_main_process_alone_writes(made: Path) -> None:
    assert {f.name for f in (made / "one").iterdir()} > {f.name for f in (made / "two").iterdir()}
    assert not list((made / "other").iterdir())


def test_every_mean_of_a_study_has_its_interval(made: Path) -> None:
    rows = pd.read_csv(made / "one/restored.csv")
    for metric in ("PSNR", "FID"):
        assert (rows[f"low of {metric}"] <= rows[metric]).all()
        assert (rows[metric] <= rows[f"high of {metric}"]).all()


@pytest.mark.parametrize("name", STORES)
@pytest.mark.parametrize("out", ["two", "stopped"])
def test_stores_have_the_same_bytes(made: Path, name: str, out: str) -> None:
    one, other = (made / out / f"{name}.lmdb" for out in ("one", out))
    assert len(ImageStore(one)) > 3
    assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("name", POINTS)
@pytest.mark.parametrize("out", ["two", "stopped"])
def test_points_have_the_same_bytes(made: Path, name: str, out: str) -> None:
    one, other = (made / out / f"{name}.safetensors" for out in ("one", out))
    assert one.read_bytes() == other.read_bytes()


def test_stopped_and_continued_is_as_if_undisturbed(made: Path) -> None:
    """Every file of every verb."""
    one, stopped = (
        {f.relative_to(made / out): f.read_bytes() for f in (made / out).rglob("*") if f.is_file()}
        for out in ("one", "stopped")
    )
    searched = {
        Path(name) for name in ("z.safetensors", "h.safetensors", "z.json", "h.json", "boundary.json")
    }
    assert one.keys() - searched == stopped.keys()  # nor is anything left of what was kept
    assert len(stopped) > 80
    assert {name for name, content in stopped.items() if content != one[name]} <= TIMED


TIMED = {Path("train/provenance.json")}  # when a training began and ended
# verbs that are not interrupted here, and why
OTHERS = {
    **dict.fromkeys(("fetch", "push"), "a server is needed: test_fetch, test_hub"),
    "serve": "it has no end: test_serve",
    **dict.fromkeys(
        ("config", "schema", "doctor", "status", "table", "store info"), "it shows what is there"
    ),
    **dict.fromkeys(
        ("plan", "record", "report", "clean", "verify"), "of a project: tests/workflow, tests/dvc"
    ),
    **dict.fromkeys(
        (f"new {kind}" for kind in ("restoration", "pairs", "translation", "boundary")),
        "one small file is written",
    ),
    **dict.fromkeys(("training-state", "boundary import", "boundary export"), "one small file is moved"),
    **dict.fromkeys(("stage table", "stage summary", "stage point-table"), "as cycle-table and study-table"),
}


def test_every_verb_that_works_long_is_interrupted_and_run_again() -> None:
    """Those that keep batches are stopped in the middle, others killed at every file; new ones have to be."""
    stopped = set(map(called, shared_verbs.verbs("stopped")))
    killed = {called(shared_verbs.grouped(words)) for words in shared_verbs.whole("stopped")}
    assert not stopped & killed
    assert stopped | killed == VERBS.keys() - OTHERS.keys()


@pytest.mark.parametrize("verb", ["restore", "translate", "edit"])
def test_a_dry_run_names_what_a_verb_writes(
    made: Path, tmp_path: Path, verb: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All files and no other, those apart that a folder keeps for itself; nothing is written."""
    monkeypatch.chdir(made)
    (words,) = (words for words in shared_verbs.verbs("one") if words[0] == verb)
    place = words[words.index("--output") + 1]

    def named(output: Path) -> set[Path]:
        given = [str(output) if word == place else word for word in words]
        cli.app([*given, "--dry-run"], standalone_mode=False)
        return {Path(line).relative_to(output.parent) for line in capsys.readouterr().out.split()}

    before = tree(made)
    one, told = made / "one", named(tmp_path / Path(place).name)
    assert tree(made) == before
    assert not list(tmp_path.iterdir())
    assert len(told) > 2
    assert all((one / path).is_file() for path in told)
    home = {path.parts[0] for path in told if len(path.parts) > 1}.pop()
    written = {f.relative_to(one) for f in (one / home).rglob("*") if f.is_file()}
    assert {f for f in written if not f.name.startswith(".")} <= told
    if verb != "edit":  # a strip is drawn anew
        assert named(made / place) == set()


def test_edits_are_measured_by_networks_that_are_asked_for(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside all else, which stays as it is; text and networks are in the protocol."""
    clip, faces = tiny_clip(tmp_path, monkeypatch), quarters(tmp_path / "faces.onnx")
    monkeypatch.chdir(made)
    settings = artifacts.read_json(made / "config/evaluate-edits.json")
    asked = {"clip": {"text": "light", "weights": str(clip)}, "identity": str(faces)}
    artifacts.write_json(tmp_path / "config.json", {**settings, **asked})
    words = to(tmp_path, first_of("boundary evaluate"))
    words[words.index("--config") + 1] = str(tmp_path / "config.json")
    cli.app(words, standalone_mode=False)
    found, before = (artifacts.read_json(f / "edit.json") for f in (tmp_path, made / "one"))
    assert before["values"].items() <= found["values"].items()
    for name in ("clip", "identity", "identity_original"):
        assert np.isfinite([found["values"][f"{name}_at_best"], *(row[name] for row in found["curve"])]).all()
    assert found["curve"][1]["distance"] == 0
    assert found["protocol"]["settings"]["clip"]["text"] == "light"
    assert found["protocol"]["inputs"].keys() - before["protocol"]["inputs"].keys() == {"clip", "identity"}
    assert not list(tmp_path.glob(".*"))


class Identified(Exception):
    """Stands for the work of a verb: its argument is the identity of the batches that would be kept."""


def identity_of(words: list[str], monkeypatch: pytest.MonkeyPatch) -> str:
    def resumable(output: Path, identity: dict[str, Any], speed: Any = None) -> Any:
        raise Identified(artifacts.canonical(identity))

    modules = map(importlib.import_module, modules_of("stages", "photographs"))
    keeping = [module for module in modules if getattr(module, "resumable", None) is finished.resumable]
    with monkeypatch.context() as patched, pytest.raises(Identified) as told:
        for module in keeping:
            patched.setattr(module, "resumable", resumable)
        cli.app(words, standalone_mode=False)
    return str(told.value)


def edited(content: dict[str, Any]) -> dict[str, Any]:
    """Settings with another seed, or with another answer where nothing is drawn."""

    def changed(values: dict[str, Any], key: str) -> dict[str, Any]:
        inner = {k: changed(value, key) for k, value in values.items() if isinstance(value, dict)}
        value = values.get(key)
        other = not value if isinstance(value, bool) else value is not None and value + 1
        return {**values, **inner, **({} if value is None else {key: other})}

    tried = (changed(content, key) for key in ("seed", "clip_decode", "kid", "count"))
    return next(other for other in tried if other != content)


def test_batches_made_under_another_configuration_are_given_up(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every file of settings of a verb that makes images or points belongs to the identity of its batches."""
    monkeypatch.chdir(made)
    asked, missed = 0, []
    for words in commands():
        if words[0] in shared_verbs.PEOPLE:
            continue  # their settings lie beside the model that they are given
        for file in (Path(word) for word in words if word.startswith("config/")):
            before, content = identity_of(words, monkeypatch), artifacts.read_json(file)
            artifacts.write_json(file, edited(content))
            if identity_of(words, monkeypatch) == before:
                missed.append((called(words), str(file)))
            artifacts.write_json(file, content)
            asked += 1
    assert asked > 15
    assert missed == []


def test_translations_are_all_there(made: Path) -> None:
    images = ImageStore(made / "two/translated.lmdb")
    assert images.array("item").tolist() == list(range(0, 22, 2))
    assert images.card["made_by"]["settings"]["sample"]["nfe"] > 0
    back = ImageStore(made / "two/back.lmdb")
    assert len(back) == len(back.array("l2_pair")) == len(back.array("l2_uint8")) == 8


def test_images_that_a_person_generates_are_the_first_samples_of_the_experiment(made: Path) -> None:
    samples = ImageStore(made / "one/samples.lmdb")
    drawn = sorted((made / "one/drawn").glob("*.png"))
    assert [f.name for f in drawn] == [f"{k:05d}.png" for k in range(8)]
    assert all(np.array_equal(np.asarray(Image.open(f)), samples[k]) for k, f in enumerate(drawn))


def test_figure_of_the_path_shows_every_picture_in_batches_of_any_size(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(made)
    read = ["--config", "config/restore.json", *shared_verbs.network("bridge"), "--data", "images.lmdb"]
    drawn = []
    for size in (1, 4):
        artifacts.write_json(tmp_path / "runtime.json", {"device": "cpu", "threads": 1, "batch_size": size})
        speed = ["--runtime", str(tmp_path / "runtime.json")]
        picture = tmp_path / f"{size}.png"
        cli.app(["stage", "figure", "path", *read, *speed, "--output", str(picture)], standalone_mode=False)
        drawn.append(np.asarray(Image.open(picture)).astype(int))
    assert drawn[0].shape == drawn[1].shape
    assert np.abs(drawn[0] - drawn[1]).max() <= 2


def test_mixing_step_is_the_same(made: Path) -> None:
    one, two = ((made / out / "mixing.json").read_bytes() for out in ("one", "two"))
    assert one == two


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_the_same(made: Path, name: str) -> None:
    one, two = (pd.read_csv(made / out / name) for out in ("one", "two"))
    assert len(one)
    pd.testing.assert_frame_equal(one, two, rtol=1e-5)


@pytest.mark.parametrize("name", METRICS)
def test_metrics_are_the_same(made: Path, name: str) -> None:
    one, two = (artifacts.read_json(made / out / name)["values"] for out in ("one", "two"))
    assert one
    assert two == pytest.approx(one, rel=1e-6, abs=1e-9)


NO_NUMBER = r"the network at t = [-+.e0-9]+ is not a finite number \(.*(, number \d+|photos/a.png.*)\)"
OUTPUTS = ("--output", "--csv", "--figure", "--metrics", "--restored", "--corrupted", "--edited", "--control")


OF_CLASSIFIERS = {"statistics", "evaluate", "train-classifier", "judge", "search", "measure", "fid"}


def commands() -> Iterator[list[str]]:
    """Those that call a network of images or points."""
    for words in shared_verbs.verbs("one"):
        if not {*called(words).split()} & OF_CLASSIFIERS:
            yield words


@pytest.mark.parametrize("words", list(commands()), ids=lambda words: " ".join(words[:5]))
def test_network_that_gives_no_number_stops_every_verb(
    made: Path, tmp_path: Path, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A verb ends with the first bad item, the time of the call, and nothing written."""
    for network in (adm.UNet, mlp.PointNet):
        forward = network.forward

        def failing(self: nn.Module, x: torch.Tensor, *rest: Any, forward: Any = forward) -> torch.Tensor:
            output = forward(self, x, *rest)
            output[min(1, len(output) - 1) :] = torch.nan
            return output

        monkeypatch.setattr(network, "forward", failing)
    monkeypatch.chdir(made)
    with pytest.raises(UserError, match=NO_NUMBER):
        cli.app(to(tmp_path, words), standalone_mode=False)
    written = {f.name for f in tmp_path.rglob("*") if f.is_file() and not f.name.startswith(".")}
    assert written <= {"translation.json"}


def to(folder: Path, words: list[str]) -> list[str]:
    """A command with its results in another folder."""
    read = (
        ("--restored", "--corrupted", "--edited", "--control")
        if {"evaluate", "figure-strip"} & {*called(words).split()}
        else ()
    )
    written = [option for option in OUTPUTS if option not in read]
    return [w.replace("one", str(folder), 1) if words[i - 1] in written else w for i, w in enumerate(words)]


@pytest.mark.parametrize("words", list(commands()), ids=lambda words: " ".join(words[:5]))
def test_weights_that_are_no_numbers_stop_every_verb(
    made: Path, tmp_path: Path, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before any work, with the name of the file."""
    monkeypatch.chdir(made)
    for model in (m.parent for m in made.glob("*/model.safetensors")):
        weights, card = artifacts.load_tensors(model / "model.safetensors")
        next(iter(weights.values())).view(-1)[0] = torch.nan
        artifacts.save_tensors(tmp_path / f"models/{model.name}/model.safetensors", weights, card)
        shutil.copytree(model / "config", tmp_path / f"models/{model.name}/config")
        words = [w if w.split("/")[0] != model.name else str(tmp_path / "models" / w) for w in words]
    with pytest.raises(UserError, match=r" in it holds a number that is not finite \(.*model.safetensors\)"):
        cli.app(to(tmp_path / "out", words), standalone_mode=False)
    assert not [f for f in (tmp_path / "out").rglob("[!.]*") if f.is_file()]


# partners of another kind: what is compared, or used together, belongs together


def other_images(file: Path, size: int = 16, **made_by: Any) -> None:
    with writer(file, made_by, classes=["dark", "light"]) as store:
        for image in np.random.default_rng(1).integers(0, 256, (22, size, size, 3), dtype=np.uint8):
            store.put(image)
        store.set_labels(np.arange(22) % 2)


def other_model(model: Path, folder: Path, **process: Any) -> None:
    """A model with other weights, and of another process where one is given."""
    weights, card = artifacts.load_tensors(model / "model.safetensors")
    settings = artifacts.read_json(model / "config/train.json")
    settings["process"] |= process
    artifacts.write_json(folder / "config/train.json", settings)
    moved = {name: value + 0.25 for name, value in weights.items()}
    artifacts.save_tensors(folder / "model.safetensors", moved, {**card, "config": settings})


def other_card(file: Path, target: Path, **card: Any) -> None:
    """The same tensors with other entries in their card."""
    tensors, known = artifacts.load_tensors(file)
    artifacts.save_tensors(target, tensors, {**known, **card})


def other_json(file: Path, target: Path, **values: Any) -> None:
    artifacts.write_json(target, {**artifacts.read_json(file), **values})


def test_the_page_edits_along_the_boundaries_of_a_project(made: Path, tmp_path: Path) -> None:
    project = tmp_path / "results"
    shutil.copytree(made / "plain", project / "model/plain")
    for name, source in (
        *((f"{space}.safetensors", made / f"one/{space}.safetensors") for space in ("z", "h")),
        *((f"config/{stage}.json", made / f"config/{stage}.json") for stage in ("latents", "edit")),
    ):
        (project / "boundary/light" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, project / "boundary/light" / name)
    folders = editing.trained(project)
    assert folders == [project / "boundary/light"]
    task = tasks.Edit({"light": folders[0]}, Runtime(device="cpu"))
    content = (made / shared_verbs.PHOTOS[0]).read_bytes()
    photo = Photo(Path("a.jpg"), Path("a.jpg"), content)
    found = {
        distance: task.run([photo], tasks.Editing(boundary="light", distance=distance), lambda _: None)
        for distance in (0.0, 3.0)
    }
    assert found[3.0] == task.run([photo], tasks.Editing(boundary="light", distance=3), lambda _: None)
    assert found[3.0].name == "a.png"
    assert found[3.0].notes == ["light, distance 3, at 16 x 16 pixels"]
    assert found[0.0].before == found[3.0].before
    assert len({found[0.0].content, found[3.0].content, found[0.0].before}) == 3
    with pytest.raises(UserError, match=r"unknown boundary \(boundary\): give one of: light"):
        task.work([photo], tasks.Editing(boundary="../light"))


@pytest.fixture(scope="module")
def other(made: Path) -> Path:
    """What a person may give by mistake, in the folder ``other-…`` of the project."""
    one, config = made / "one", made / "config"
    other_images(made / "other.lmdb")
    other_images(made / "test.lmdb", source="noise", split="test")
    other_images(made / "small.lmdb", 8)
    other_images(made / "cats.lmdb")
    images = ImageStore(made / "other.lmdb")
    labels = np.arange(22) % 2
    train_classifier(images, labels, steps=1, batch_size=8).save(made / "others.safetensors", {})
    cats = train_classifier(
        [images[i] for i in range(22)], labels, steps=1, batch_size=8, classes=["cat", "dog"]
    )
    cats.save(made / "cats.safetensors", {})
    other_model(made / "plain", made / "other-model")
    other_model(made / "conditional", made / "other-conditional")
    other_model(made / "conditional", made / "other-process", T=500)
    small = {"name": "noise/val", "size": [8, 8]}
    other_card(one / "statistics.safetensors", made / "small-statistics.safetensors", origin=small)
    for space in ("z", "h"):
        other_card(
            one / f"{space}.safetensors", made / f"other-boundary/{space}.safetensors", attribute="dark"
        )
        other_card(one / f"{space}.safetensors", made / f"other-step/{space}.safetensors", t=7)
    other_json(one / "mixing.json", made / "other-mixing.json", made_with={"model": "another"})
    other_json(config / "restore.json", config / "other-restore.json", corruption="blur-uni")
    other_json(config / "study.json", config / "other-study.json")
    other_json(config / "search.json", config / "other-search.json", attribute="dark")
    other_json(config / "evaluate-edits.json", config / "other-edits.json", attribute="dark")
    other_json(config / "evaluate-translation.json", config / "val.json", reference="val")
    points = np.random.default_rng(1).normal(size=(40, 3))
    point_sets.save(made / "space.safetensors", points, {})
    point_sets.save(made / "moons.safetensors", points[:, :2], {"domain": "moons", "split": "test"})
    point_sets.save(made / "more.safetensors", points[:, :2], {"image": "many.jpg"})
    return made


# verbs that call no network
CLOUDS = "--source-pixels pixels.safetensors --target-pixels paints.safetensors"
METRIC = "--metrics one/x.json --figure one/x.png"
EDITS = (
    "--edited one/edit.lmdb --control one/edit-control.lmdb --plain one/edit-plain.lmdb --data images.lmdb"
)
WAY = "--translated one/translated.lmdb --back one/back.lmdb --latents one/latents.lmdb"
BESIDE = {
    "figure translations": f"--source images.lmdb {WAY} --output one/x.png",
    "evaluate cycle-of-images": "--back one/back.lmdb --output one/x.json",
    "boundary search": "--config config/search.json --latents one --output one/x --accuracy one/x.json",
    "boundary figure-strip": f"{EDITS} --output one/x.png",
    "evaluate-samples": f"--samples one/points.safetensors --truth points.safetensors {METRIC}",
    "evaluate-color": f"--transferred one/colors.safetensors {CLOUDS} {METRIC}",
    "color-picture": f"--transferred one/colors.safetensors {CLOUDS} --output one/many-as-paints.png",
}

WRONG = [
    ("evaluate fid --weights others.safetensors", "made under another configuration: its extractor"),
    ("evaluate fid --statistics small-statistics.safetensors", "real images of 8x8 pixels"),
    ("study-samples --weights others.safetensors", "made under another configuration: its extractor"),
    ("study-samples --statistics small-statistics.safetensors", "real images of 8x8 pixels"),
    ("statistics --data small.lmdb", "takes images of 16x16, these are"),
    ("study --data small.lmdb", "takes images of 16x16, these are"),
    ("study --weights cats.safetensors", "knows cat, dog, not dark, light"),
    ("study --sample-config config/other-restore.json", "with corruption jpeg-5, the"),
    ("sample --config config/other-restore.json", "with corruption jpeg-5, the"),
    ("sample --train-config plain/config/train.json", "method is 'model'"),
    ("generate-samples --train-config conditional/config/train.json", "made under another configuration"),
    ("evaluate accuracy --originals other.lmdb", "originals of other images"),
    ("evaluate accuracy --corrupted one/samples.lmdb", "does not belong to"),
    ("evaluate accuracy --weights cats.safetensors", "knows cat, dog, not dark, light"),
    ("evaluate translation-fid --reference small.lmdb", "takes images of 16x16, these are"),
    ("evaluate translation-fid --reference test.lmdb --config config/val.json", "evaluate.reference is val"),
    ("evaluate translation-fid --source other.lmdb", "source images of other images"),
    ("evaluate translation-fid --weights cats.safetensors", "knows cat, dog, not dark, light"),
    ("evaluate target-accuracy --weights cats.safetensors", "knows cat, dog, not light"),
    ("evaluate similarity --source other.lmdb", "source images of other images"),
    ("evaluate similarity --weights cats.safetensors", "knows cat, dog, not dark, light"),
    ("evaluate cycle-of-images --back one/restored.lmdb", "no distances in it"),
    ("figure translations --source other.lmdb", "source images of other images"),
    ("figure translations --latents one/latents-published.lmdb", "does not belong to"),
    ("translate-classes --target-model other-process", "different processes"),
    ("translate-back --source-model other-conditional", "the translations are of another model"),
    ("translate-back --target-model other-conditional", "the translations are of another target model"),
    ("translate-back --data other.lmdb", "source images of other images"),
    ("translate-back --states one/states-published.lmdb", "does not belong to"),
    ("boundary latents --mixing other-mixing.json", "the mixing step of another model"),
    ("boundary search --config config/other-search.json", "latents of the attribute light"),
    ("boundary strips --model other-model/model.safetensors", "latents of another model"),
    ("boundary strips --boundary other-boundary", "it is of the attribute dark, not of light"),
    ("boundary strips --boundary other-step", "this boundary is for t 7"),
    ("boundary evaluate --plain one/edit-samples-plain.lmdb", "does not belong to"),
    ("boundary evaluate --data other.lmdb", "source images of other images"),
    ("boundary evaluate --config config/other-edits.json", "it is of the attribute light, not of dark"),
    ("boundary evaluate --train small.lmdb", "takes images of 16x16, these are"),
    ("boundary figure-strip --data other.lmdb", "source images of other images"),
    ("edit --model other-model", "this boundary is for network"),
    ("sample-points --data space.safetensors", "points of dimension 3"),
    ("translate-points --data space.safetensors", "points of dimension 3"),
    ("cycle-points --data space.safetensors", "points of dimension 3"),
    ("color-transfer --target-pixels space.safetensors", "points of dimension 3"),
    ("color-transfer --target-pixels more.safetensors", "both photographs are called many"),
    ("evaluate-samples --truth moons.safetensors", "not the points that the samples are of"),
    ("evaluate-color --source-pixels more.safetensors", "between other pixels"),
    ("color-picture --source-pixels more.safetensors", "between other pixels"),
]  # fmt: skip


def first_of(verb: str) -> list[str]:
    """The first command of a verb that works."""
    if verb in BESIDE:
        return f"stage {verb} {BESIDE[verb]}".split()
    names = [*([] if verb in shared_verbs.PEOPLE else ["stage"]), *verb.split()]
    return next(words for words in shared_verbs.verbs("one") if words[: len(names)] == names)


@pytest.mark.parametrize(("line", "told"), WRONG)
def test_what_does_not_belong_together_is_refused(
    other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, told: str
) -> None:
    monkeypatch.chdir(other)
    verb, *given = line.split(" --")
    words = to(tmp_path, first_of(verb))
    for option, value in (pair.split() for pair in given):
        if f"--{option}" in words:
            words[words.index(f"--{option}") + 1] = value
        else:
            words += [f"--{option}", value]
    with pytest.raises(UserError, match=told) as e:
        cli.app(words, standalone_mode=False)
    assert "\n" not in str(e.value)
    assert not [f for f in tmp_path.rglob("*") if f.is_file()]


def colours(folder: Path) -> None:
    """A transfer between two photographs that did not need a network."""
    clouds = {}
    for name in ("china", "flower"):
        colors.prepare(folder / name, image=name, size=8)
        clouds[name] = point_sets.Points(folder / name / "test.safetensors")
    rng = np.random.default_rng(0)
    moved = {
        f"{a} as {b}: {method}": torch.from_numpy(rng.permutation(clouds[a].points))
        for a, b in (("china", "flower"), ("flower", "china"))
        for method in color.METHODS
    }
    data = {name: cloud.digest for name, cloud in clouds.items()}
    settings = {"translate": {"nfe": 3}, "plan": 20, "sinkhorn": 0.05, "seed": 0}
    card = {"kind": "colors", "made_by": {"settings": settings, "models": {}, "data": data}}
    artifacts.save_tensors(folder / "colours.safetensors", moved, card)


def points_of_a_domain(folder: Path) -> None:
    """Samples and a translation that did not need a network."""
    point_sets.prepare(folder / "moons", domain="moons", count=60)
    artifacts.write_json(folder / "exact.json", {"exact": 30, "seed": 0})
    data = point_sets.Points(folder / "moons/test.safetensors").digest
    card = {"kind": "points", "count": 60, "dim": 2, "made_by": {"sample": {"nfe": 3}, "data": data}}
    drawn = torch.randn(60, 2, generator=torch.Generator().manual_seed(0))
    artifacts.save_tensors(folder / "drawn.safetensors", {"points": drawn, "latents": drawn.clone()}, card)
    ends = {key: drawn.clone() for key in ("points", "latent", "source", "back")}
    ends |= {"items": torch.arange(60)}
    artifacts.save_tensors(folder / "mapped.safetensors", ends, card)


OTHER_METRICS = {  # of verbs that call no network, or read what none of those above makes
    "stage evaluate restoration": "--restored one/restored.lmdb --corrupted one/corrupted.lmdb"
    " --originals images.lmdb --output restoration.json",
    "stage evaluate cycle-of-images": "--back one/back.lmdb --output cycle-of-images.json",
    "stage evaluate-samples": "--samples drawn.safetensors --truth moons/test.safetensors --exact 30"
    " --metrics drawn.json --figure drawn.png",
    "stage evaluate-translation": "--config exact.json --translated mapped.safetensors"
    " --truth moons/test.safetensors --metrics mapped.json --figure mapped.png",
    "stage evaluate-color": "--transferred colours.safetensors --source-pixels china/test.safetensors"
    " --target-pixels flower/test.safetensors --metrics colours.json --figure colours.png",
}


def measuring() -> dict[str, list[str]]:
    """The options of every verb that writes a metric file, by its name."""
    metric = ("bridgepipe.evaluation.protocol", "metric")
    functions = {name: inspect.unwrap(verb.callback) for name, verb in VERBS.items()}
    writing = {name for name, function in functions.items() if metric in closure.definitions(function)}
    writing -= {"share", "measure", "fid"}  # a card, and several metrics in one file, each with its own hash
    found = {name: words.split() for name, words in OTHER_METRICS.items()}
    for words in shared_verbs.verbs("one"):
        name = next(name for k in (3, 2, 1) if (name := " ".join(words[:k])) in VERBS)
        if name in writing:
            found[name] = words[len(name.split()) :]
    assert found.keys() == writing
    assert len(writing) > 12
    return found


# options that name what is evaluated, and how it was made: comparing those is the purpose of the numbers
EVALUATED = {
    *("--images", "--restored", "--corrupted", "--translated", "--back", "--edited", "--control", "--plain"),
    *("--samples", "--transferred", "--latents", "--runtime", "--processes"),
    *("--source-config", "--target-config", "--target"),
}
# the model of the source, of these, and how boundaries are fitted
ALSO_EVALUATED = {"stage cycle-points": {"--source"}}
COMPARED = {
    "stage boundary search": {"solver", "balance", "seed", "C", "C_z"},
    "stage evaluate-color": {"translate"},
}


def digests_of(file: Path) -> set[str]:
    """What may stand for a file in a protocol."""
    if file.suffix == ".lmdb":
        return {ImageStore(file).digest}
    tensors, card = artifacts.load_tensors(file)
    of_data = {card["data"]} if "extractor" in card else set()
    return {str(card[artifacts.CONTENT]), digest_tensors(tensors), *of_data}


def check_what_was_made(images: ImageStore, protocol: dict[str, Any]) -> None:
    """Which images of their data were taken, to which class, and where the attribute was cut."""
    made = images.card["made_by"]
    if "target_class" in made:
        assert protocol["label"] == made["target_class"] == "light"
        assert protocol["items"] == artifacts.digest_of(items_of(images).tolist())
    else:
        assert protocol["cut"] == made["cut"]


@pytest.fixture(scope="module")
def measured(made: Path) -> Path:
    """The folder with a metric file of every kind."""
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(made)
        for name, words in OTHER_METRICS.items():
            cli.app([*name.split(), *words.split()], standalone_mode=False)
    return made


@pytest.mark.parametrize("verb", measuring())
def test_the_hash_is_of_every_input_and_setting_and_of_nothing_else(
    measured: Path, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole settings and digests of all that is read are in the protocol; nothing of what is evaluated is."""
    monkeypatch.chdir(measured)
    options = dict(zip(*[iter(measuring()[verb])] * 2, strict=False))
    out = next(
        options[o] for o in ("--output", "--metrics", "--accuracy") if options.get(o, "").endswith("json")
    )
    metric = artifacts.read_json(Path(out))
    assert metric["protocol_hash"] == artifacts.digest_of(metric["protocol"])
    told, evaluated = json.dumps(metric["protocol"]), EVALUATED | ALSO_EVALUATED.get(verb, set())
    for option, value in options.items():
        file = Path(value)
        if file.suffix == ".json" and option == "--config":
            settings = artifacts.read_json(file)
            settings = {k: v for k, v in settings.items() if k not in COMPARED.get(verb, ())}
            assert settings.items() <= metric["protocol"]["settings"].items()
        elif file.suffix in (".lmdb", ".safetensors") and value != out:
            roles = sum(name == value for o, name in options.items() if o not in evaluated)
            assert roles <= sum(told.count(digest) for digest in digests_of(file)), option
            assert roles or not [digest for digest in digests_of(file) if digest in told], option
        if option in ("--translated", "--back", "--edited") and file.suffix == ".lmdb":
            check_what_was_made(ImageStore(file), metric["protocol"])
    for seen in ("model", "target_model", "boundaries", "evaluated", "models"):
        if isinstance(metric["made_with"].get(seen), str):
            assert metric["made_with"][seen] not in told
    assert (
        "nfe" not in told or verb == "stage cycle-points"
    )  # whose columns are of different numbers of calls
