"""Two sets of images compared, in every form in which people have them."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from bridgepipe import cli, config
from bridgepipe.config import read_yaml
from bridgepipe.data import store
from bridgepipe.errors import UserError
from bridgepipe.evaluation import comparing, fid, image_sets, neighbours, perceptual, protocol, real
from bridgepipe.evaluation.classifier import SmallClassifier
from bridgepipe.evaluation.extractors import load_extractor
from bridgepipe.evaluation.restoration import quality
from bridgepipe.networks.convnet import ConvNet
from bridgepipe.stages import exporting, measuring

RNG = np.random.default_rng(0)
REAL = RNG.integers(0, 200, (24, 16, 16, 3), dtype=np.uint8)
MADE = np.clip(REAL[:20].astype(int) + RNG.integers(-20, 21, REAL[:20].shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sets")
    torch.manual_seed(0)
    SmallClassifier(ConvNet(2, 8), (16, 16)).save(folder / "small.safetensors", {})
    for name, pixels in (("real", REAL), ("made", MADE)):
        (folder / name).mkdir()
        for i, image in enumerate(pixels):
            Image.fromarray(image).save(folder / name / f"{i:02d}.png")
        np.savez(folder / f"{name}.npz", pixels)
        np.savez_compressed(folder / f"{name}-packed.npz", samples=pixels)
        np.save(folder / f"{name}.npy", pixels)
        with store.writer(folder / f"{name}.lmdb", {"kind": name}, progress=False) as out:
            for image in pixels:
                out.put(image)
    network = load_extractor("classifier", folder / "small.safetensors")
    found = fid.statistics(network, REAL)
    found.save(folder / "real.safetensors")
    exporting.export(folder / "real.safetensors", folder / "real-moments.npz", "number", folder)
    np.savez(folder / "real-features.npz", feats=found.sample.numpy())
    moments = {"mu": found.mu.numpy(), "sigma": found.sigma.numpy()}
    np.savez(folder / "real-adm.npz", REAL[:10], **moments, mu_s=np.zeros(3), sigma_s=np.eye(3))
    return folder


def run(capsys: pytest.CaptureFixture[str], *words: Any) -> tuple[int | None, str, str]:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as end:
        patch.setattr(sys, "argv", ["bridgepipe", *map(str, words)])
        cli.main()
    out, err = capsys.readouterr()
    return end.value.code, out, err


SMALL = measuring.Asked("classifier", Path("small.safetensors"))


def compared(a: str, b: str, **asked: Any) -> comparing.Found:
    sets = (image_sets.open_set(Path(path)) for path in (a, b))
    return measuring.measure(*sets, replace(SMALL, **asked), None, measuring.Runtime())


def test_every_form_of_the_same_images_has_the_same_distances(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The FID of the library call, whatever file the images or their statistics lie in."""
    monkeypatch.chdir(files)
    network = load_extractor("classifier", files / "small.safetensors")
    ours, theirs = fid.statistics(network, MADE), fid.statistics(network, REAL)
    distance = fid.distances(ours, theirs, kernel=False)
    forms = ["", ".npz", ".npy", ".lmdb", "-packed.npz"]
    references = [f"real{form}" for form in forms]
    references += ["real.safetensors", "real-moments.npz", "real-features.npz", "real-adm.npz"]
    for a, b in [(f"made{form}", "real.npz") for form in forms] + [("made.npz", b) for b in references]:
        values = compared(a, b, pairs="none").metrics["distance"]["values"]
        assert {k: values[k] for k in distance} == pytest.approx(distance, rel=1e-6), (a, b)
        assert ("kid" in values) == (b != "real-moments.npz")
    alone = compared("real-moments.npz", "real-moments.npz").metrics["distance"]["values"]
    assert alone == {"fid": pytest.approx(0, abs=1e-6)}
    both = compared("real-adm.npz", "real-moments.npz").metrics["distance"]["values"]
    assert both["fid"] == pytest.approx(0, abs=1e-6)  # its own statistics, not those of its 10 images


def test_the_floor_is_half_of_the_real_images_against_the_other_half(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(files)
    found = compared("made.npz", "real.npz")
    metric = found.metrics["distance"]
    assert metric["protocol"]["floor"] == {"n": 12, "against": 12, "from": "halves of the reference"}
    assert metric["protocol"]["n"], metric["protocol"]["reference"]["n"] == (20, 24)
    network = load_extractor("classifier", files / "small.safetensors")
    theirs = fid.statistics(network, REAL)
    halves = comparing._floor(theirs, theirs)["_real"]
    assert len({*halves[0].pictures.tolist(), *halves[1].pictures.tolist()}) == 24
    assert metric["values"]["fid_real"] == pytest.approx(fid.fid(*halves), rel=1e-6)
    assert {"fid_low", "fid_equal", "kid_real"} <= metric["values"].keys()
    assert "precision_real" in found.metrics["precision and recall"]["values"]
    assert any("fewer than 100 images (A has 20, B has 24)" in note for note in found.notes)


def test_pairs_are_found_by_name_by_origin_and_by_order(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shuffled folder keeps its pairs; arrays are paired by order; what has no partner is named."""
    monkeypatch.chdir(files)
    expected = quality(MADE, REAL[:20]).values()
    order = np.random.default_rng(1).permutation(20)
    with store.writer(
        tmp_path / "r.lmdb", {"data": store.ImageStore("real.lmdb").digest}, progress=False
    ) as out:
        for i in order:
            out.put(MADE[i])
        out.set_array("item", order)
    np.savez(tmp_path / "first.npz", REAL[:20])
    for a, b, how in [
        ("made", "real", "by name"),
        (tmp_path / "r.lmdb", "real.lmdb", "by origin"),
        ("made.npz", tmp_path / "first.npz", "in order"),
    ]:
        found = compared(str(a), str(b))
        assert found.metrics["similarity"]["values"] == pytest.approx(expected, rel=1e-6), a
        assert f"pairs: {how}" in measuring.text(found).splitlines()
    assert compared("made.npz", "real.npz").missing["psnr, ssim, lpips"] == "no pairs: 20 images and 24"
    (tmp_path / "x").mkdir()
    Image.fromarray(MADE[0]).save(tmp_path / "x/00.png")
    Image.fromarray(MADE[0]).save(tmp_path / "x/odd.png")
    assert "no image of the same name for 1 image: odd" in str(compared(str(tmp_path / "x"), "real").missing)
    with pytest.raises(UserError, match="no pairs: no image of the same name"):
        compared(str(tmp_path / "x"), "real", pairs="names")
    with pytest.raises(UserError, match="no pairs: 2 images and 24"):
        compared(str(tmp_path / "x"), "real", pairs="order")


def test_names_with_numbers_are_paired_in_the_order_of_their_values(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As text 10 would stand before 2. A store has an order of its own."""
    monkeypatch.chdir(files)
    for i, image in enumerate(MADE):
        Image.fromarray(image).save(tmp_path / f"{i}.png")
    np.savez(tmp_path / "first.npz", REAL[:20])
    expected = quality(MADE, REAL[:20]).values()
    for a, b, truth in [
        (tmp_path, tmp_path / "first.npz", expected),
        (tmp_path / "first.npz", tmp_path, quality(REAL[:20], MADE).values()),
        (tmp_path, "made.lmdb", quality(MADE, MADE).values()),
    ]:
        values = compared(str(a), str(b), recall=False).metrics["similarity"]["values"]
        assert values == pytest.approx(truth, rel=1e-6), (a, b)


def test_lpips_is_torchmetrics_own(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchmetrics.functional.image import lpips

    from bridgepipe.evaluation.vision import torchvision

    torch.manual_seed(0)
    backbone = torchvision.models.AlexNet(num_classes=1)
    torch.save(backbone.state_dict(), tmp_path / "alexnet.pth")
    big = (
        np.kron(REAL[:3], np.ones((1, 2, 2, 1), np.uint8)),
        np.kron(MADE[:3], np.ones((1, 2, 2, 1), np.uint8)),
    )
    found = perceptual.Lpips(tmp_path / "alexnet.pth").distances(*big)
    monkeypatch.setattr(lpips, "_get_tv_model_features", lambda *_: backbone.features)
    x, y = (torch.from_numpy(v).permute(0, 3, 1, 2) / 127.5 - 1 for v in big)
    net = lpips._NoTrainLpips(net="alex").eval()
    with torch.no_grad():
        assert found == pytest.approx(net(x, y).flatten().tolist(), rel=1e-4)
    assert perceptual.Lpips(tmp_path / "alexnet.pth").distances(big[0], big[0]) == [0, 0, 0]
    monkeypatch.chdir(files)
    done = compared("made", "real", lpips=tmp_path / "alexnet.pth")
    assert "too small for LPIPS" in done.missing["lpips"]
    assert "similarity" in done.metrics
    with pytest.raises(UserError, match="weights of another network"):
        perceptual.Lpips(files / "small.safetensors")
    with pytest.raises(UserError, match="no such weights"):
        compared("made", "real", lpips=tmp_path / "none.pth")


def test_precision_and_recall_of_known_sets() -> None:
    """Repeated images cover nothing; a distant cluster is neither covered nor covers."""
    torch.manual_seed(0)
    real = torch.randn(60, 4)
    precision, recall = neighbours.precision_and_recall(real[:1].repeat(30, 1), real)
    assert (precision.share, recall.share) == (1.0, pytest.approx(1 / 60))
    precision, recall = neighbours.precision_and_recall(torch.cat([real[:30], real[:30] + 99]), real)
    assert precision.share == 0.5
    assert recall.share > 0.8
    with pytest.raises(UserError, match="3 images have no 3 neighbours"):
        neighbours.precision_and_recall(real[:3], real)


def test_without_weights_what_needs_none_is_measured(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    fetch = "run `bridgepipe fetch extractor/inception`, or give the file to --weights"
    code, out, _ = run(capsys, "measure", files / "made", files / "real")
    assert not code
    assert "psnr" in out
    missing = f"no weights at data/checkpoints/inception.pth: {fetch}"
    assert f"not measured: fid, kid, precision, recall: {missing}" in out
    assert "bridgepipe fetch lpips/alex" in out
    code, _, err = run(capsys, "fid", files / "made", files / "real")
    assert code == 2
    assert fetch in err
    assert len(err.splitlines()) == 1
    code, out, _ = run(capsys, "fid", files / "real-moments.npz", files / "real-moments.npz", "--json")
    assert not code
    assert json.loads(out)["metrics"]["distance"]["values"]["fid"] == pytest.approx(0, abs=1e-6)


def test_the_table_and_the_json_say_the_same(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(files)
    small = ["--extractor", "classifier", "--weights", "small.safetensors"]
    code, out, err = run(capsys, "measure", "made", "real", *small, "--output", tmp_path / "m.json")
    assert not code, err
    told = json.loads((tmp_path / "m.json").read_text())
    for name in ("fid", "kid", "precision", "recall", "psnr", "ssim"):
        metric = next(m for m in told["metrics"].values() if name in m["values"])
        row = next(line for line in out.splitlines() if line.startswith(f"{name} "))
        assert f"{metric['values'][name]:.4g}" in row
        assert metric["protocol_hash"][:8] in row
        assert f"{metric['values'][f'{name}_low']:.4g} to" in row
    assert told["metrics"]["distance"]["protocol"]["extractor"]["name"].startswith("small classifier")
    assert not list(tmp_path.glob(".*.partial"))
    code, out, _ = run(capsys, "measure", "made", "real", *small, "--json")
    assert json.loads(out) == told


def bad(folder: Path) -> dict[str, Path]:
    rows = {
        "floats": {"arr_0": np.zeros((4, 8, 8, 3), np.float32)},
        "turned": {"arr_0": np.zeros((4, 3, 8, 8), np.uint8)},
        "two": {"a": np.zeros((4, 8, 8, 3), np.uint8), "b": np.zeros((4, 8, 8, 3), np.uint8)},
        "other": {"x": np.zeros(3)},
        "mu": {"mu": np.zeros(3), "sigma": np.eye(4)},
        "nan": {"mu": np.full(3, np.nan), "sigma": np.eye(3)},
        "minus": {"mu": np.zeros(3), "sigma": -np.eye(3)},
        "variance": {"mu": np.zeros(3), "sigma": np.diag([1, 1, -0.01])},
        "cross": {"mu": np.zeros(2), "sigma": np.array([[1, 2.0], [2, 1]])},
        "triangle": {"mu": np.zeros(2), "sigma": np.array([[1, 0.1], [0, 1]])},
    }
    for name, arrays in rows.items():
        np.savez(folder / f"{name}.npz", **arrays)
    np.savez(folder / "objects.npz", np.array([{}, []], object))
    (folder / "cut.npz").write_bytes((folder / "floats.npz").read_bytes()[:300])
    (folder / "broken").mkdir()
    Image.fromarray(REAL[0]).save(folder / "broken/good.png")
    (folder / "broken/a.png").write_bytes(b"no picture")
    (folder / "broken/b.jpg").write_bytes(b"")
    (folder / "text.txt").touch()
    return {name: folder / f"{name}.npz" for name in (*rows, "objects", "cut")} | {
        "broken": folder / "broken", "text": folder / "text.txt", "none": folder / "none"
    }  # fmt: skip


def test_what_is_no_set_of_images_is_one_line(tmp_path: Path) -> None:
    expected = {
        "floats": "no images: float32",
        "turned": r"turn it to \[N, H, W, 3\]",
        "two": "several arrays of images: a, b",
        "other": "neither images nor statistics: it holds x",
        "mu": r"no statistics: mu \[3\] and sigma \[4, 4\]",
        "nan": "not finite",
        **dict.fromkeys(("minus", "variance", "cross"), "no covariance: it has a negative eigenvalue"),
        "triangle": "no covariance: it is not symmetric",
        "objects": "cannot be read as arrays",
        "cut": "cannot be read as arrays",
        "broken": "cannot be read: 2 images: a.png, b.jpg",
        "text": "no set of images",
        "none": "no such file or folder",
    }
    paths = bad(tmp_path)
    assert paths.keys() == expected.keys()
    for name, told in expected.items():
        with pytest.raises(UserError, match=told) as e:
            image_sets.open_set(paths[name])
        assert "\n" not in str(e.value)


def test_statistics_of_another_extractor_are_refused(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(files)
    torch.manual_seed(1)
    SmallClassifier(ConvNet(2, 8), (16, 16)).save(tmp_path / "other.safetensors", {})
    with pytest.raises(UserError, match="choose the extractor that made them"):
        compared("made.npz", "real.safetensors", weights=tmp_path / "other.safetensors")
    SmallClassifier(ConvNet(2, 4), (16, 16)).save(tmp_path / "narrow.safetensors", {})
    with pytest.raises(UserError, match=r"features of 4 numbers in A .*, of 8 in B"):
        compared("made.npz", "real-moments.npz", weights=tmp_path / "narrow.safetensors")


def test_a_reference_is_a_file_of_adm_too(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`evaluate.statistics`: mu and sigma, images, or both; a KID needs images."""
    monkeypatch.chdir(files)
    network = load_extractor("classifier", files / "small.safetensors")
    ours, theirs = fid.statistics(network, MADE), fid.statistics(network, REAL)
    for name in ("real.safetensors", "real-moments.npz", "real.npz", "real-adm.npz"):
        found = image_sets.reference_statistics(Path(name), network, kernel=name != "real-moments.npz")
        assert fid.fid(ours, found) == pytest.approx(fid.fid(ours, theirs), rel=1e-6), name
    with pytest.raises(UserError, match=r"has no KID .*: set evaluate.kid to false"):
        image_sets.reference_statistics(Path("real-moments.npz"), network, kernel=True)
    moments = image_sets.reference_statistics(Path("real-moments.npz"), network, kernel=False)
    settings = {"reference": "train", "statistics": "real-moments.npz"}
    told = real.described({"": ours}, moments, settings=settings, inputs={}, restored=True)
    assert told["reference"] == {
        "name": "real-moments.npz",
        "digest": moments.data,
        "n": None,
        "originals": None,
    }
    assert protocol.reference_of(told) == "real-moments.npz (an unknown number of images)"


def test_params_name_a_reference_file_in_place_of_a_split() -> None:
    """The jobs of the FID read the file; a translation has no such key."""
    values = read_yaml(Path(__file__).parents[2] / "params.yaml")
    own = {"statistics": "ref/VIRTUAL.npz", "kid": False}
    values["experiments"]["i2sb"]["jpeg-5"]["evaluate"] = own
    values["experiments"]["spd"]["spd"]["evaluate"] = own
    resolved = config.Resolved(values)
    for name in ("i2sb/jpeg-5", "spd/spd"):
        experiment = resolved.experiment(name)
        assert experiment.stages()["evaluate"].as_json()["statistics"] == "ref/VIRTUAL.npz"
    recipe = resolved.experiment("model/spd").train
    files = resolved.defined.distribution("digits", resolved.experiment("spd/spd").evaluate, recipe)
    assert files["statistics"] == "ref/VIRTUAL.npz"
    before = resolved.experiment("spd/ddpm")
    assert "statistics" not in before.stages()["evaluate"].as_json()
    values["experiments"]["spd"]["spd"]["evaluate"] = {"statistics": "ref.tar"}
    with pytest.raises(UserError, match=r"evaluate\.statistics"):
        config.Resolved(values)
