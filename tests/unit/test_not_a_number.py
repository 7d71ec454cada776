"""Files and options that hold NaN or infinity: one line that names them, before any work."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from bridgepipe import artifacts, cli
from bridgepipe.config.stage_files import read_training
from bridgepipe.data import store
from bridgepipe.datasets import images
from bridgepipe.datasets.points import Points
from bridgepipe.datasets.points import save as save_points
from bridgepipe.errors import UserError
from bridgepipe.evaluation import extractors, fid
from bridgepipe.methods import boundary
from bridgepipe.networks import plain, published

BAD = torch.tensor([[1.0, 2.0], [3.0, torch.nan]])
IN_IT = r"^weight in it holds a number that is not finite \(.*\): give another file"


def tensors(path: Path, name: str = "weight", card: artifacts.Card | None = None) -> Path:
    artifacts.save_tensors(path, {name: BAD}, card or {})
    return path


def checkpoint(path: Path) -> Path:
    torch.save({"weight": BAD}, path)
    return path


def raw(path: Path) -> Path:
    save_file({"weight": -BAD / 0}, path)
    return path


def latents(path: Path) -> store.ImageStore:
    with store.writer(path, {"images": "latents"}, progress=False) as out:
        for row in (BAD[:1], BAD[1:]):
            out.put(row.numpy())
    return store.ImageStore(path)


def points(path: Path) -> Points:
    save_points(path, BAD.numpy(), {})
    return Points(path)


def normal(path: Path) -> Path:
    found = boundary.Boundary.of(torch.ones(4), 0.5, 1.0)
    boundary.save(path, found, boundary.About("light", "h", 5, "digest", "exact"))
    kept, card = artifacts.load_tensors(path)
    artifacts.save_tensors(path, {name: value * torch.nan for name, value in kept.items()}, card)
    return path


READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "weights": (IN_IT, lambda p: artifacts.load_tensors(tensors(p / "m.safetensors"))),
    "published weights": (IN_IT, lambda p: plain.read_weights(checkpoint(p / "m.pt"))),
    "weights of I2SB": (IN_IT, lambda p: published.i2sb_weights(i2sb(p / "latest.pt"))),
    "extractor": (IN_IT, lambda p: extractors.load_state(raw(p / "e.safetensors"))),
    "pickled extractor": (IN_IT, lambda p: extractors.load_state(checkpoint(p / "e.pth"))),
    "statistics": (
        "mu in it holds",
        lambda p: fid.Statistics.load(tensors(p / "s.safetensors", "mu", {"kind": "statistics"})),
    ),
    "points": ("points in it holds", lambda p: points(p / "p.safetensors").points),
    "batch of points": ("points in it holds", lambda p: points(p / "p.safetensors").batch([0])),
    "boundary": (
        r"in it holds a number .*h\.safetensors",
        lambda p: boundary.load(normal(p / "h.safetensors")),
    ),
    "latents": (
        r"an item is not a finite number \(.*l\.lmdb, number 1\)",
        lambda p: latents(p / "l.lmdb").batch([0, 1]),
    ),
    "one latent": (r"an item .*number 1\)", lambda p: latents(p / "l.lmdb")[1]),
    "offset": ("offset is nan", lambda p: boundary.Boundary.of(torch.ones(2), float("nan"))),
}


def i2sb(path: Path) -> Path:
    torch.save({"net": {"diffusion_model.weight": BAD.nan_to_num()}, "ema": {"shadow_params": [BAD]}}, path)
    return path


@pytest.mark.parametrize("what", READERS)
def test_a_file_that_holds_no_number_is_refused(tmp_path: Path, what: str) -> None:
    told, read = READERS[what]
    with pytest.raises(UserError, match=told) as e:
        read(tmp_path)
    assert "\n" not in str(e.value)


def test_a_sum_that_overflows_is_no_infinity(tmp_path: Path) -> None:
    large = torch.full((4,), torch.finfo(torch.float32).max)
    artifacts.save_tensors(tmp_path / "a.safetensors", {"large": large}, {})
    assert artifacts.load_tensors(tmp_path / "a.safetensors")[0]["large"].tolist() == large.tolist()


@pytest.mark.parametrize("read", [images.decode, images.decode_plain])
@pytest.mark.parametrize("value", [0.5, np.nan])
def test_pixels_that_are_floating_point_have_no_range(
    tmp_path: Path, read: Callable[[Path], object], value: float
) -> None:
    Image.fromarray(np.full((8, 8), value, np.float32)).save(tmp_path / "a.tiff")
    with pytest.raises(ValueError, match="floating-point pixels have no defined range"):
        read(tmp_path / "a.tiff")


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
def test_a_configuration_holds_finite_numbers(tmp_path: Path, value: str) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"train": {"lr": 0}}).replace("0", value))
    with pytest.raises(UserError, match=f"not a JSON file: {value} is not a finite number"):
        read_training(tmp_path / "a.json")


SCALE = ["--scale", "inf", "--runtime", "r.json"]
FOLDER = ["translate", "--input", "a", "--output", "b", "--model", "c", "--guide", "d"]
PHOTO = ["edit", "a.png", "--boundary", "b", "--output", "o.png"]
OPTIONS = {
    "--at": [*PHOTO, "--boundary", "c", "--at", "nan"],
    "--distances": [*PHOTO, "--distances", "nan:3:7"],
    "--distances ": [*PHOTO, "--distances", "1:inf:7"],
    "--distances  ": [*PHOTO, "--distances", "nan"],
    "--scale": [*FOLDER, *SCALE],
}


@pytest.mark.parametrize("option", OPTIONS)
def test_a_number_of_the_command_line_is_finite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    monkeypatch.chdir(tmp_path)
    artifacts.write_json(Path("r.json"), {"device": "cpu", "threads": 1})
    for there in ("a", "b", "c", "d"):
        Path(there).mkdir()
    for picture in ("a.png", "a/1.png"):
        Image.new("RGB", (4, 4)).save(picture)
    with pytest.raises(UserError, match=rf"(nan|inf) is not a finite number \({option.strip()}\)"):
        cli.app(OPTIONS[option], standalone_mode=False)
