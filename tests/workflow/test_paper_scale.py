"""The published setting: complete dry runs, published weights as start and as import."""

from __future__ import annotations

import argparse
import pickle
import re
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from project import ROOT, Project

from bridgepipe import artifacts, cli, config
from bridgepipe.config import read_yaml
from bridgepipe.evaluation import vision
from bridgepipe.methods import i2sb
from bridgepipe.names import ilsvrc

NINE = ["jpeg-5", "jpeg-10", "sr4x-pool", "sr4x-bicubic", "blur-uni", "blur-gauss", "inpaint-center"]
NINE += ["inpaint-freeform1020", "inpaint-freeform2030"]


@pytest.fixture
def paper(tmp_path: Path) -> Project:
    """The real params at scale: paper, with folders where ImageNet would be."""
    project = Project.create(tmp_path / "project")
    project.write(read_yaml(ROOT / "params.yaml") | {"scale": "paper"})
    for split in ("train", "val"):
        (project.folder / "data/raw/imagenet" / split / "n01440764").mkdir(parents=True)
    (project.folder / "data/raw/imagenet_val_10k.txt").write_text("n01440764/a.JPEG\n")
    return project


def test_everything_dry_runs_from_nothing(paper: Project) -> None:
    planned = paper.planned()
    assert {"prepare_split", "fetch", "train", "sample", "fid", "accuracy"} <= planned
    assert "train_classifier" in planned  # of the paired demo, which is embedded at every scale


@pytest.mark.parametrize("name", NINE)
def test_published_recipe(name: str) -> None:
    values = read_yaml(ROOT / "params.yaml") | {"scale": "paper"}
    e = config.Resolved(values).experiment(f"i2sb/{name}")
    noisy = name.startswith(("jpeg", "sr4x"))
    assert (e.beta_max, e.ot_ode, e.interval) == ((0.3, False, 1000) if noisy else (1.0, True, 1000))
    assert (e.train.batch_size, e.train.lr, e.train.lr_gamma, e.train.lr_step) == (256, 5e-5, 0.99, 1000)
    assert (e.train.ema, e.sample.nfe) == (0.99, 999)
    whole = name.startswith("sr4x")
    assert e.sampled == ("imagenet256" if whole else "imagenet256-10k")
    assert e.evaluate.reference == ("train" if whole else "val")


def test_published_weights_are_imported_instead_of_trained(paper: Project) -> None:
    paper.edit(lambda v: v["experiments"]["i2sb"]["jpeg-5"].update(train={"published": "i2sb/jpeg-5"}))
    planned = paper.planned("results/i2sb/jpeg-5/model.safetensors")
    assert planned == {"fetch_folder", "import_published"}


def test_super_resolution_is_compared_with_the_published_statistics_and_needs_val_alone(
    tmp_path: Path,
) -> None:
    """Everything else is fetched: weights, statistics of the training set, the list of the 10,000 images."""
    project = Project.create(tmp_path / "project")
    project.write(read_yaml(ROOT / "params.yaml") | {"scale": "paper"})
    both = ("sr4x-pool", "jpeg-5")
    published = {name: {"corruption": name, "train": {"published": f"i2sb/{name}"}} for name in both}
    published["sr4x-pool"] |= {"sample": {"whole": True}, "evaluate": {"reference": "train"}}
    project.edit(lambda v: v.update(experiments={"i2sb": published}))
    val = project.folder / "data/raw/imagenet/val"
    val.mkdir(parents=True)
    (val / "ILSVRC2012_val_00000293.JPEG").write_bytes(b"")
    measured = config.Resolved(project.params).stages("i2sb/sr4x-pool")["evaluate"]
    statistics = "data/raw/VIRTUAL_imagenet256_labeled.npz"
    assert (measured["statistics"], measured["kid"]) == (statistics, False)
    other = config.Resolved(project.params).stages("i2sb/jpeg-5")["evaluate"]
    assert "statistics" not in other
    assert other["kid"]
    planned = project.planned("results/i2sb/sr4x-pool/fid.json")
    assert {"fetch", "fetch_folder", "import_published", "prepare_split", "sample", "fid"} <= planned
    assert not {"statistics", "train"} & planned
    assert "statistics" in project.planned("results/i2sb/jpeg-5/fid.json")
    fetched = project.snakemake("-n", "--", "results/i2sb/jpeg-5/fid.json", "results/i2sb/sr4x-pool/fid.json")
    assert all(name in fetched.stdout + fetched.stderr for name in ("imagenet_val_10k.txt", statistics))


def test_a_split_of_imagenet_is_prepared_when_something_reads_it(tmp_path: Path) -> None:
    project = Project.create(tmp_path / "project")
    some = {"source": "imagenet", "size": 8, "path": "in"}
    project.edit(lambda v: v["datasets"].update(some=some))
    store = {split: f"data/prepared/some/{split}.lmdb" for split in ("train", "val")}

    def put(split: str) -> None:
        file = project.folder / f"in/{split}/n01440764/{split}.png"
        file.parent.mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(file)

    put("val")
    project.snakemake("-c1", "--", store["val"])
    refused = project.snakemake("-n", "--", store["train"], check=False)
    assert "dataset 'some' has no train images (in/train): put the" in refused.stdout + refused.stderr
    put("train")
    assert project.planned(store["val"]) == set()
    project.snakemake("-c1", "--", *store.values())
    counts = artifacts.read_json(project.folder / "data/prepared/some/counts.json")
    assert counts["items"] == {"train": 1, "val": 1}
    for listed in (project.folder / "data/prepared/some").glob("*/*.json"):
        listed.unlink()  # as versions were that prepared both splits in one job
    assert project.planned(*store.values()) == set()
    Image.new("RGB", (8, 8)).save(project.folder / "in/val/n01440764/other.png")
    assert project.planned(store["val"]) == {"prepare_split"}
    assert project.planned(store["train"]) == set()


def test_published_translations_need_val_alone(tmp_path: Path) -> None:
    project = Project.create(tmp_path / "project")
    project.write(read_yaml(ROOT / "params.yaml") | {"scale": "paper"})
    (project.folder / "data/raw/imagenet/val/n01440764").mkdir(parents=True)
    folder = "results/ddib/classes/260-261"
    results = [f"{folder}/{name}.json" for name in ("accuracy", "cycle", "similarity", "fid")]
    assert {"prepare_split", "import_published", "fid"} <= project.planned(*results)
    dry = project.snakemake("-n", "--", *results[:3]).stdout
    assert "data/prepared/imagenet256-pairs/val.lmdb" in dry  # the classes of pairs alone
    assert "data/prepared/imagenet256/val.lmdb" not in dry
    prepared = artifacts.read_json(project.folder / "data/prepared/imagenet256-pairs/config.json")
    assert (prepared["crop"], prepared["classes"][:2]) == ("adm", [260, 261])
    trained = project.snakemake("-n", "--", "results/i2sb/jpeg-5/model.safetensors", check=False)
    assert "dataset 'imagenet256' has no train images" in trained.stdout + trained.stderr


def test_unknown_published_weights_name_the_nearest(paper: Project) -> None:
    paper.edit(lambda v: v["experiments"]["i2sb"]["jpeg-5"].update(train={"published": "i2sb/jpg-5"}))
    done = paper.snakemake("-n", "--", "results/i2sb/jpeg-5/model.safetensors", check=False)
    assert done.returncode != 0
    assert "unknown source 'i2sb/jpg-5'" in done.stderr + done.stdout
    assert "did you mean 'i2sb/jpeg-5'" in done.stderr + done.stdout


ARGUMENTS = {"model_channels": 32, "num_res_blocks": 1, "channel_mult": [1], "attention_resolutions": []}
Make = Callable[..., tuple[Path, Path]]


@pytest.fixture
def published(tmp_path: Path) -> Make:
    """A checkpoint in I2SB's layout, of a tiny network, and a configuration that it belongs to."""

    def make(**options: Any) -> tuple[Path, Path]:
        values = read_yaml(ROOT / "params.yaml")
        values["scales"]["demo"]["i2sb"]["network"] = ARGUMENTS
        settings = config.Resolved(values).stages("i2sb/jpeg-5")["train"]
        artifacts.write_json(tmp_path / "train.json", settings)
        arguments = {k: tuple(v) if isinstance(v, list) else v for k, v in settings["network"].items()}
        net = i2sb.network((32, 32), False, 3, **arguments)
        raw = {f"diffusion_model.{k}": v for k, v in net.state_dict().items()}
        ema = {"decay": 0.99, "num_updates": 5, "shadow_params": [p.data + 1 for p in net.parameters()]}
        ema["collected_params"] = None
        folder = tmp_path / "release"
        folder.mkdir()
        torch.save({"net": raw, "ema": ema, "optimizer": {}, "sched": {}}, folder / "latest.pt")
        trained_with = {"corrupt": "jpeg-5", "beta_max": 0.3, "interval": 1000, "ot_ode": False, **options}
        (folder / "options.pkl").write_bytes(pickle.dumps(argparse.Namespace(**trained_with)))
        return folder, tmp_path / "train.json"

    return make


def run(*words: object) -> None:
    before, sys.argv = sys.argv, ["bridgepipe", *map(str, words)]
    try:
        cli.main()
    except SystemExit as e:
        if e.code:
            raise
    finally:
        sys.argv = before


def test_import_takes_the_averaged_weights(published: Make, tmp_path: Path) -> None:
    folder, configuration = published()
    run(
        "stage",
        "import-weights",
        folder,
        "--config",
        configuration,
        "--output",
        tmp_path / "model.safetensors",
    )
    weights, card = artifacts.load_tensors(tmp_path / "model.safetensors")
    raw = torch.load(folder / "latest.pt", weights_only=True)["net"]
    assert card["config"] == artifacts.read_json(configuration)
    assert all(torch.equal(weights[k], raw[f"diffusion_model.{k}"] + 1) for k in weights)


def test_import_refuses_weights_of_another_problem(
    published: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, configuration = published(beta_max=1.0)
    with pytest.raises(SystemExit):
        run(
            "stage",
            "import-weights",
            folder,
            "--config",
            configuration,
            "--output",
            tmp_path / "model.safetensors",
        )
    assert "trained with beta_max 1.0, not 0.3" in capsys.readouterr().err
    assert not (tmp_path / "model.safetensors").exists()


def extractor_weights(folder: Path) -> None:
    """Files in the layouts of the published Inception and ResNet-50, with random weights."""
    from cleanfid import inception_pytorch

    folder.mkdir(parents=True)
    torch.save(vision.torchvision.models.resnet50(weights=None).state_dict(), folder / "resnet50.pth")
    with (
        warnings.catch_warnings(action="ignore"),  # clean-fid calls torchvision in a deprecated way
        mock.patch.object(inception_pytorch, "load_state_dict_from_url"),
        mock.patch.object(torch.nn.Module, "load_state_dict"),
    ):
        inception = inception_pytorch.fid_inception_v3()
    torch.save(inception.state_dict(), folder / "inception.pth")


def test_published_weights_are_measured_from_files_to_the_table_by_validation_images_alone(
    published: Make, tmp_path: Path
) -> None:
    """40 images of 5 classes; a tiny network, and random weights of the extractors, in published layouts."""
    project = Project.create(tmp_path / "project")
    values = read_yaml(ROOT / "params.yaml") | {"scale": "paper"}
    values["runtime"] |= {"threads": 1, "partitions": 1}
    for name in ("imagenet256", "imagenet256-10k"):
        values["datasets"][name] |= {"size": 32}
    values["scales"]["paper"]["i2sb"]["network"] = ARGUMENTS
    values["scales"]["paper"]["i2sb"]["sample"]["nfe"] = 2
    its_own = {"corruption": "jpeg-5", "beta_max": 0.3, "train": {"published": str(published()[0])}}
    project.write(values | {"experiments": {"i2sb": {"jpeg-5": its_own}}})
    data, pixels = project.folder / "data", np.random.default_rng(0)
    lines = []
    for k in range(40):
        name = f"{ilsvrc.classes()[k % 5]}/{k}.JPEG"
        file = data / "raw/imagenet/val" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.integers(0, 256, (40, 48, 3), dtype=np.uint8)).save(file)
        lines += [name] * (k < 20)
    (data / "raw/imagenet_val_10k.txt").write_text("\n".join(lines))
    extractor_weights(data / "checkpoints")
    project.snakemake("--", "results/i2sb/jpeg-5/table.md")
    row = pd.read_csv(project.folder / "results/i2sb/jpeg-5/table.csv").iloc[0]
    assert (row["n"], row["NFE"]) == (20, 2)
    assert not [name for name in row.index if "pub." in name]
    shown = (project.folder / "results/i2sb/jpeg-5/table.md").read_text(encoding="utf8")
    assert "| i2sb/jpeg-5 | I2SB | 999 | 4.6 | 67.9 |" in shown
    same = re.findall("^- Ours .*$", shown, flags=re.MULTILINE)[0]
    assert same.startswith("- Ours (i2sb/jpeg-5): dataset imagenet256-10k/val (published imagenet)")
    for said in (
        "n 20 (published 10000)",
        "nfe 2 (published 999)",
        "extractor inception network, unknown weights",
    ):
        assert said in same
    assert not (project.folder / "results/i2sb/jpeg-5/train.csv").exists()
    assert not list(data.glob("prepared/*/train.lmdb"))
