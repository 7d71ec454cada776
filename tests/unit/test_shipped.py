"""The weights that come with the package: what they are, and that they make photographs better."""

from __future__ import annotations

import io
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from in_process import run
from PIL import Image

from bridgepipe import artifacts, cli, config
from bridgepipe.config.i2sb import RestorationSampling, RestorationTraining
from bridgepipe.config.stage_files import read_stage
from bridgepipe.data.store import ImageStore, writer
from bridgepipe.downloads.sources import origin_of
from bridgepipe.evaluation.photographs import as_jpeg
from bridgepipe.methods import i2sb
from bridgepipe.methods.trained import restorer_of
from bridgepipe.names.origins import MODEL
from bridgepipe.photographs import likeness, samples, shipped
from bridgepipe.photographs.restoring import QUALITY, choose, start
from bridgepipe.stages.training import import_weights

FLOWER = next(photo for photo in samples.photographs() if photo.name == "flower")


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.square(a.astype(float) - b).mean()))


def test_the_built_package_holds_all_its_files() -> None:
    """Weights, cards, lists: what a wheel takes in besides modules are the files that package-data names."""
    root = Path(__file__).parents[2]
    folder = root / "src/bridgepipe"
    patterns = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    packed = {file for pattern in patterns["bridgepipe"] for file in folder.glob(pattern) if file.is_file()}
    there = {file for file in folder.rglob("*") if file.is_file() and file.suffix not in (".py", ".pyc")}
    assert there - packed == set()
    names = {"model.safetensors", "config.json", "sample_photos.yaml", "sources.yaml", "published.yaml"}
    assert names <= {file.name for file in packed}
    assert all((file.parent / "__init__.py").exists() for file in folder.rglob("*.py"))  # or it is left out


def test_outside_a_project_doctor_tells_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["bridgepipe", "doctor"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert not end.value.code
    printed = capsys.readouterr().out
    assert "no params.yaml in this folder; restoring photographs needs none" in printed
    assert "torch" in printed


def test_the_card_tells_where_the_weights_come_from() -> None:
    found = shipped.find()
    assert found.weights.stat().st_size <= 8_000_000
    licences = found.card["data"]["licences"]
    assert set(licences.values()) <= set(samples.FREE)
    of_training = {p.name: p.licence for p in samples.photographs() if p.split == "train"}
    assert licences == of_training
    recipe = artifacts.load_card(found.weights)["config"]
    assert found.card["recipe"]["train"] == recipe["train"]
    measured = found.card["metrics"]["i2sb/photos/restoration.json"]
    assert measured["protocol"]["n"] == 64
    assert 0.5 < measured["values"]["psnr_gain_low"] < measured["values"]["psnr_gain"]


def test_weights_follow_the_experiment_of_params_yaml() -> None:
    """An edit of the recipe makes the weights that are shipped those of another recipe."""
    resolved = config.load(Path(__file__).parents[2] / "params.yaml")
    now = resolved.experiments["i2sb/photos"].stages()["train"].as_json()
    assert now | artifacts.load_card(shipped.find().weights)["config"] == now


def test_a_photograph_that_training_never_saw_gets_better() -> None:
    clean = np.asarray(Image.open(io.BytesIO(FLOWER.read())).convert("RGB"))[100:260, 200:392]
    restorer, how = start(choose(None, Path("results"), None), config.Runtime(device="cpu"))
    gains = []
    for quality in (5, 10, 20, 40):
        file = io.BytesIO()
        Image.fromarray(clean).save(file, "JPEG", quality=quality, subsampling="4:2:0")
        seen = np.asarray(Image.open(file))
        restored = restorer.restore_photo(seen, how)
        gains.append(psnr(restored, clean) - psnr(seen, clean))
        shift = np.abs(restored.astype(float).mean((0, 1)) - seen.mean((0, 1)))
        assert shift.max() < 0.1, quality
    assert min(gains) > 0.4, gains
    assert psnr(restorer.restore_photo(clean, how), clean) > 45


def test_in_bf16_a_photograph_becomes_the_same() -> None:
    """As `restore` computes where the processor does: within a level, and as near to the original."""
    clean = np.asarray(Image.open(io.BytesIO(FLOWER.read())).convert("RGB"))[100:260, 200:392]
    seen, found = as_jpeg(clean, 10), {}
    for precision in ("fp32", "bf16"):
        runtime = config.Runtime(device="cpu", precision=precision)
        restorer, how = start(choose(None, Path("results"), None), runtime)
        found[precision] = restorer.restore_photo(seen, how)
    difference = np.abs(found["fp32"].astype(int) - found["bf16"])
    assert difference.any()
    assert (difference <= 1).mean() >= 0.99
    assert abs(psnr(found["fp32"], clean) - psnr(found["bf16"], clean)) <= 0.02


def test_each_quality_trades_nearness_for_sharpness() -> None:
    """On the validation photograph; the more calls the sharper, and the further from the original."""
    (photo,) = (photo for photo in samples.photographs() if photo.split == "val")
    clean = np.asarray(Image.open(io.BytesIO(photo.read())).convert("RGB"))[130:290, 150:342]
    restorer, how = start(choose(None, Path("results"), None), config.Runtime(device="cpu"))
    seen = as_jpeg(clean, 10)
    found = [restorer.restore_photo(seen, how.model_copy(update=asked)) for asked in QUALITY.values()]
    near = [psnr(image, clean) for image in (*found, seen)]
    sharp = [likeness.measures(image)["gradient"] / likeness.measures(clean)["gradient"] for image in found]
    assert near[0] > near[1] + 0.03, near
    assert near[1] > near[2] + 0.3, near
    assert sharp[0] + 0.03 < sharp[1] < sharp[2] - 0.1, sharp
    assert sharp[2] < 1.15, sharp


def untrained(folder: Path, corruption: str) -> tuple[RestorationTraining, torch.nn.Module]:
    """Settings of a small restoration, written below its folder of results, and its network."""
    problem = {"method": "i2sb", "dataset": "mine", "corruption": corruption, "variant": "exact"}
    network = {"kind": "residual", "model_channels": 32, "channel_mult": [1, 1], "num_res_blocks": 1}
    artifacts.write_json(folder / "config/train.json", {**problem, "network": network, "train": {"steps": 1}})
    artifacts.write_json(folder / "config/sample.json", {**problem, "sample": {"nfe": 1}})
    training = read_stage(folder / "config/train.json", RestorationTraining)
    return training, i2sb.network((32, 32), False, 0, kind="residual", **training.network.arguments)


def test_a_trained_restorer_is_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its folder is what `restore --model` takes."""
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), np.uint8)
    for split in ("train", "test"):
        with writer(f"data/prepared/mine/{split}.lmdb", {}) as out:
            for image in pixels:
                out.put(image)
    digest = ImageStore("data/prepared/mine/train.lmdb").digest
    folder = Path("results/i2sb/mine")
    training, network = untrained(folder, "jpeg-file-10..30")
    weights = network.state_dict()
    torch.nn.init.normal_(weights["last.bias"], std=0.3)  # in part lost to rounding
    card = {"config": training.as_json(), "data": digest}
    artifacts.save_tensors(folder / "model.safetensors", weights, card)
    monkeypatch.setattr(sys, "argv", ["bridgepipe", "share", "i2sb/mine", "--folder", "mine"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert not end.value.code
    assert {file.name for file in Path("mine").iterdir()} == {"model.safetensors", "config.json", "README.md"}
    found = shipped.beside(Path("mine/model.safetensors"))
    assert found.card["trained_for"]["statistics"][likeness.JPEG_QUALITY] == [10, 30]
    sampling = read_stage(folder / "config/sample.json", RestorationSampling)
    restorer = restorer_of(found.weights, training, sampling, (32, 32), config.Runtime(device="cpu"))
    images = ImageStore("data/prepared/mine/test.lmdb")
    restored = restorer.restore(images, range(6), sampling.sample).image
    psnrs = [psnr(one, other) for one, other in zip(restored, pixels, strict=True)]
    measured = found.card["metrics"]["i2sb/mine/restoration.json"]
    # of the weights in the file, not of those that were trained
    assert measured["values"]["psnr"] == pytest.approx(np.mean(psnrs), abs=1e-5)
    assert measured["made_with"]["model"] == found.card["content"]
    assert choose(None, Path("results"), Path("mine")).weights == found.weights

    run("share", "i2sb/mine", "--folder", "whole", "--precision", "fp32")
    kept, card = artifacts.load_tensors("whole/model.safetensors")
    assert all(torch.equal(kept[name], value) for name, value in weights.items())
    assert any(not torch.equal(value, value.bfloat16().float()) for value in kept.values())
    assert choose(None, Path("results"), Path("whole")).weights == Path("whole/model.safetensors")
    whole = restorer_of(
        Path("whole/model.safetensors"), training, sampling, (32, 32), config.Runtime(device="cpu")
    )
    ours = restorer_of(folder / MODEL, training, sampling, (32, 32), config.Runtime(device="cpu"))
    one, other = (r.restore(images, range(6), sampling.sample).image for r in (whole, ours))
    assert np.array_equal(one, other)


@pytest.mark.parametrize("with_originals", [False, True])
def test_imported_weights_are_shared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_originals: bool
) -> None:
    """Without the images that they were trained on, which nobody has who fetched them."""
    monkeypatch.chdir(tmp_path)
    if with_originals:
        with writer("data/prepared/mine/test.lmdb", {}) as out:
            out.put(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8))
    folder = Path("results/i2sb/jpeg-5")
    training, made = untrained(folder, "jpeg-5")
    theirs = Path("data/checkpoints/i2sb/jpeg-5")
    theirs.mkdir(parents=True)
    averages = [p.data + 1 for p in made.parameters()]
    net = {f"diffusion_model.{name}": value for name, value in made.state_dict().items()}
    ema = {"decay": 0.99, "num_updates": 5, "shadow_params": averages, "collected_params": None}
    torch.save({"net": net, "ema": ema, "optimizer": {}, "sched": {}}, theirs / "latest.pt")
    import_weights(theirs / "latest.pt", training, folder / "config/train.json", folder / MODEL, None, None)
    run("share", "i2sb/jpeg-5", "--folder", "mine")
    digest = artifacts.digest_file(theirs / "latest.pt")
    found = shipped.beside(Path("mine/model.safetensors"))
    assert found.card["data"]["imported"] == {"file": "latest.pt", "sha256": digest}
    assert found.card["licence"] == "that of the file that it was imported from"
    assert list(found.card["recipe"]) == ["network"]
    assert bool(found.card["metrics"]) == with_originals
    told = Path("mine/README.md").read_text()
    assert "Imported by bridgepipe" in told
    assert digest in told
    assert "Dataset `mine`" not in told
    assert choose(None, Path("results"), Path("mine")).weights == found.weights


def test_the_origin_of_imported_weights_has_a_name_and_a_licence() -> None:
    found = origin_of("data/checkpoints/i2sb/jpeg-5")
    assert found is not None
    assert (found["source"], found["licence"]) == ("i2sb/jpeg-5", "CC-BY-NC-SA-4.0")
    assert origin_of("data/hub/me/mine") == {"source": "hf:me/mine", "licence": "that of its page"}
    assert origin_of("elsewhere/latest.pt") is None
