"""The main commands of docs/coming-from.md that have no demo, as they stand there, at `scale: paper`.

Images and networks are small, and published weights are small files of the same layouts.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from project import ROOT, Project
from test_coming_from_runs import COMMANDS, TARGETS, of_demo

from bridgepipe import artifacts, config
from bridgepipe.config import read_yaml
from bridgepipe.data.store import ImageStore
from bridgepipe.datasets import images
from bridgepipe.methods import boundary
from bridgepipe.names import ilsvrc
from bridgepipe.networks import adm, ddpm

TRANSLATED = "results/ddib/classes/260-261/translated.lmdb"
BOUNDARY = "results/boundary/smiling"
BOUNDARIES = [f"{BOUNDARY}/{space}.safetensors" for space in boundary.SPACES]
SIZE, FACES, TRANSLATIONS = 8, 120, 4
ADM = {"model_channels": 32, "channel_mult": [1], "num_res_blocks": 1, "attention_resolutions": []}
ADM |= {"num_head_channels": 32}
DDPM = {"ch": 32, "ch_mult": [1], "num_res_blocks": 1, "attn_resolutions": []}
# the networks that are used: what is small in them, and the file of their published weights
NETWORKS = {
    "model/imagenet256": (ADM, "data/checkpoints/adm/256x256_diffusion.pt"),
    "guide/imagenet256": (ADM, "data/checkpoints/adm/256x256_classifier.pt"),
    "model/celebahq": (DDPM, "data/checkpoints/sdedit/celeba_hq.ckpt"),
}
# images that the commands say nothing of
FEWER: dict[str, dict[str, Any]] = {
    "ddib/classes/260-261": {"cycle": TRANSLATIONS},
    "boundary/smiling": {"mixing": {"images": 80}, "search": {"images": 80}, "edit": {"images": 4}},
}


def whole() -> dict[str, Any]:
    return read_yaml(ROOT / "params.yaml") | {"scale": "paper"}


def small(values: dict[str, Any]) -> None:
    """The experiments of the commands, with nothing changed but sizes, numbers of images and weights."""
    given, values["experiments"] = values["experiments"], {}
    weights = {
        name: {"network": network, "train": {"published": file}} for name, (network, file) in NETWORKS.items()
    }
    for full, change in (FEWER | weights).items():
        method, _, name = full.rpartition("/")
        own = given[method][name]
        network = own.get("network", {}) | change.get("network", {})
        kept = values["experiments"].setdefault(method, {})
        kept[name] = own | change | ({"network": network} if network else {})
    for name in ("imagenet256-adm", "imagenet256-pairs", "celebahq"):
        values["datasets"][name]["size"] = SIZE
    values["runtime"] |= {"threads": 1, "partitions": 1}


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(60, 180, (24, 32, 3), dtype=np.uint8)


def validation_images(folder: Path) -> None:
    """Images of the classes of the pairs, and of one that is in no pair, flat, with their published names."""
    folder.mkdir(parents=True)
    for number in (*whole()["datasets"]["imagenet256-pairs"]["classes"], 0):
        count = TRANSLATIONS if number == 260 else 1
        for k in np.flatnonzero(ilsvrc.validation_labels() == number)[:count]:
            Image.fromarray(noise(k)).save(folder / f"ILSVRC2012_val_{k + 1:08d}.JPEG")


def faces(archive: Path) -> None:
    """CelebAMask-HQ.zip; those who smile are red."""
    lines = [str(FACES), "Smiling Young"]
    with zipfile.ZipFile(archive, "w") as out:
        for k in range(FACES):
            pixels, file = noise(k), io.BytesIO()
            pixels[..., 0] += 75 * (k % 2)
            Image.fromarray(pixels).save(file, "JPEG", quality=95)
            out.writestr(f"CelebAMask-HQ/CelebA-HQ-img/{k}.jpg", file.getvalue())
            lines.append(f"{k}.jpg  {'1' if k % 2 else '-1'} {'-1' if k % 3 else '1'}")
        out.writestr("CelebAMask-HQ/CelebAMask-HQ-attribute-anno.txt", "\n".join(lines) + "\n")


def published_weights(project: Project) -> None:
    """State dicts under the published names; no tensor is zero, as those of a trained network are not."""
    torch.manual_seed(0)
    for name, (_, file) in NETWORKS.items():
        e = config.Resolved(project.params).experiment(name)
        arguments = e.network.model_dump(exclude={"kind"})
        if name.startswith("guide/"):
            network = adm.Classifier(SIZE, 3, out_channels=1000, **arguments)
        elif e.network.kind == "ddpm":
            network = ddpm.UNet(SIZE, 3, out_ch=3, **arguments)
        else:
            network = adm.UNet(SIZE, 3, out_channels=6, num_classes=1000, **arguments)
        weights = {key: value + 0.02 * torch.randn_like(value) for key, value in network.state_dict().items()}
        (project.folder / file).parent.mkdir(parents=True, exist_ok=True)
        torch.save(weights, project.folder / file)


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project.create(tmp_path_factory.mktemp("papers") / "project")
    project.write(whole())
    project.edit(small)
    validation_images(project.folder / "data/raw/imagenet/val")
    faces(project.folder / "data/raw/CelebAMask-HQ.zip")
    published_weights(project)
    return project


def test_every_command_without_a_demo_is_run_here() -> None:
    assert [target for target in TARGETS if target not in of_demo()] == [TRANSLATED, *BOUNDARIES]
    assert [words[:2] for words in COMMANDS if words[0] != "snakemake"] == [["bridgepipe", "edit"]]


def test_how_networks_are_used_is_as_on_the_page() -> None:
    values = whole()
    small(values)
    ours, theirs = config.Resolved(values), config.Resolved(whole())
    for name, stages in {
        "ddib/classes/260-261": ("sample",),
        "boundary/smiling": ("latents", "search"),
    }.items():
        for stage in stages:
            here, there = (resolved.stages(name)[stage] for resolved in (ours, theirs))
            assert {key for key in there if here[key] != there[key]} <= {"images"}, name
    for name in NETWORKS:
        assert ours.experiment(name).process == theirs.experiment(name).process
    here, there = (resolved.experiment("boundary/smiling").edit for resolved in (ours, theirs))
    assert here.model_copy(update={"images": there.images}) == there


def test_a_class_is_translated(paper: Project) -> None:
    command = next(words for words in COMMANDS if TRANSLATED in words)
    paper.snakemake("-c1", *command[1:])
    data = ImageStore(paper.folder / "data/prepared/imagenet256-pairs/val.lmdb")
    assert len(data) == TRANSLATIONS + 7
    assert data.card["made_by"]["crop"] == "adm"
    made = ImageStore(paper.folder / TRANSLATED)
    by = made.card["made_by"]
    how = by["settings"]["sample"]
    assert (by["settings"]["source"], by["settings"]["target"], by["target_label"]) == (260, 261, 261)
    assert by["target_class"] == ilsvrc.classes()[261]
    assert (how["solver"], how["grid"], how["respacing"]) == ("ddim", "ddib", "")
    assert (how["guidance"], how["scale_decode"], how["scale_encode"]) == ("classifier", 1.0, 0.0)
    assert how["nfe"] == 2 * 1000
    chow = ilsvrc.classes()[260]
    assert all(name.startswith(f"260-to-261/{chow}/ILSVRC2012_val_") for name in made.names)
    assert data.labels[made.array("item")].tolist() == [260] * TRANSLATIONS
    pictures = np.stack([made[k] for k in range(len(made))])
    assert pictures.shape == (TRANSLATIONS, SIZE, SIZE, 3)
    assert len(np.unique(pictures.reshape(TRANSLATIONS, -1), axis=0)) == TRANSLATIONS
    for name, (_, file) in NETWORKS.items():
        if "celebahq" not in name:
            card = artifacts.load_card(paper.folder / f"results/{name}/model.safetensors")
            assert card["imported_sha256"] == artifacts.digest_file(paper.folder / file)
            assert by[name.partition("/")[0]] == card[artifacts.CONTENT]
    assert paper.planned(TRANSLATED) == set()


def test_a_boundary_is_found_and_a_picture_edited_across_it(paper: Project) -> None:
    command = next(words for words in COMMANDS if BOUNDARIES[0] in words)
    assert command[1:] == BOUNDARIES
    paper.snakemake("-c1", *command[1:])
    for file, numbers in zip(BOUNDARIES, (3 * SIZE**2, 32 * SIZE**2), strict=True):
        found, about = boundary.load(paper.folder / file)
        assert found.normal.shape == (numbers,)
        assert float(found.normal.double().norm()) == pytest.approx(1, abs=1e-6)
        assert (about.attribute, about.t, about.variant) == ("Smiling", 500, "published")
        assert found.accuracy > 0.9

    (edit,) = (words for words in COMMANDS if words[0] == "bridgepipe")
    photo, strip = (paper.folder / name for name in (edit[2], edit[-1]))
    photo.parent.mkdir()
    Image.fromarray(noise(999)).save(photo)
    paper.bridgepipe(*edit[1:])
    moved = [
        name if distance else "0" for distance in np.linspace(-150, 150, 20) if (name := f"{distance:+.9g}")
    ]
    folder = strip.with_suffix("")
    assert {file.stem for file in folder.iterdir()} == {"image", "no-move", *moved}
    pictures = {file.stem: images.read_photo(file).astype(float) for file in folder.iterdir()}
    assert {picture.shape for picture in pictures.values()} == {(SIZE, SIZE, 3)}
    redness = [float((x[..., 0] - x[..., 2]).mean()) for x in (pictures[moved[0]], pictures[moved[-1]])]
    assert redness[0] < redness[1]
    with Image.open(strip) as picture:
        assert picture.width > picture.height
    assert paper.planned(*BOUNDARIES) == set()
