"""Every row of docs/coming-from.md about weights runs on tiny files of those names."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from bridgepipe import artifacts
from bridgepipe.config.stage_files import read_training
from bridgepipe.data import store
from bridgepipe.downloads import sources
from bridgepipe.methods.task import task_of
from tests.unit import hub_server
from tests.unit import test_sharing as sharing
from tests.unit import test_weights as tiny

PAGE = Path(__file__).parents[2] / "docs/coming-from.md"
SECTION = PAGE.read_text().partition("## Weights\n")[2].partition("\n## ")[0]
ROWS = [
    line.strip("| ").split(" | ")[-1].strip("`") for line in SECTION.splitlines() if line.startswith("| ")
]
STARTS = [row for row in ROWS if row.startswith("train: ")]
COMMANDS = [row.removeprefix("bridgepipe ") for row in ROWS if row.startswith("bridgepipe ")]
HUB = "google/ddpm-cifar10-32"


def adm(outputs: int) -> Callable[[Path], object]:
    return lambda place: tiny.torch_file(place, tiny.drawn(3, "adm", outputs))


# what a row names -> method, and what puts it there
THERE: dict[str, tuple[str, Callable[[Path], object]]] = {
    "i2sb-release": ("i2sb", lambda p: tiny.i2sb_folder(p, tiny.drawn(3, "adm"))),
    "256x256_diffusion_uncond.pt": ("i2sb", adm(6)),
    "logs": ("model", lambda p: tiny.guided_folder(p, tiny.drawn(3))),
    "synthetic": ("ddib/sample", lambda p: tiny.torch_file(p / "log2D0/model010000.pt", tiny.points(3))),
    "celeba_hq.ckpt": ("model", lambda p: tiny.torch_file(p, tiny.drawn(3))),
    "ddim": ("model", lambda p: tiny.ddim_folder(p, tiny.drawn(3))),
    "unet2d": ("model", lambda p: tiny.diffusers_folder(p, tiny.drawn(3))),
    "shards": ("model", lambda p: tiny.in_shards(p, tiny.drawn(3))),
    "half/diffusion_pytorch_model.fp16.safetensors": (
        "model",
        lambda p: tiny.half_folder(p.parent, tiny.drawn(3)),
    ),
    f"hf:{HUB}": ("model", lambda p: tiny.diffusers_folder(Path("data/hub", HUB), tiny.drawn(3))),
}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_every_row_is_run() -> None:
    rows = [row for row in ROWS if row not in ("here", "---")]
    assert len(rows) == len(STARTS) + len(COMMANDS) >= 15


@pytest.mark.parametrize("row", STARTS)
def test_the_weights_of_the_page_are_where_a_training_starts(row: str, tmp_path: Path) -> None:
    ((key, text),) = yaml.safe_load(row)["train"].items()
    name = next(name for name in THERE if name == text or f"/{name}" in text)
    method, put = THERE[name]
    put(Path("their", name))
    if key == "published":
        told = {"model": ["--size", 16], "ddib/sample": ["--domain", "moons"]}.get(method, [])
        stage = ["--config", tiny.settings(method, tmp_path), *told, "--output", "model.safetensors"]
        tiny.run("stage", "import-weights", sources.place_of(text), *stage)
        assert artifacts.load_tensors("model.safetensors")[0]
    else:
        begin = read_training(tiny.settings(method, tmp_path, init=text))
        assert "init" in task_of(begin, tiny._data(method), None, None).card


@pytest.mark.filterwarnings("ignore:Use 'content")  # the library's own call of its client
def test_the_commands_of_the_page_run(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", "secret")
    sharing.trained(sharing.KINDS["ddpm"])
    short = {"num_train_timesteps": 25, "beta_start": 4e-3, "beta_end": 0.8}
    place = tiny.diffusers_folder(Path("theirs"), tiny.drawn(3), **short)
    with hub_server.serving() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        hub.repositories[HUB] = {f.name: f.read_bytes() for f in place.iterdir()}
        for command in COMMANDS:
            threads = ["--threads", 1] if command.startswith("generate") else []
            tiny.run(*shlex.split(command), *threads)
    assert len(list(Path("drawn").glob("*.png"))) == 2
    assert {f.name for f in Path("data/hub/me/mine").iterdir()} >= {"model_index.json", "unet", "scheduler"}
    assert re.search(r"^license: \"mit\"$", Path("data/hub/me/mine/README.md").read_text(), re.MULTILINE)


@pytest.mark.parametrize("name", ["unet2d", "ddim", "i2sb-release"])
def test_a_training_goes_on_from_weights_of_others(name: str, tmp_path: Path) -> None:
    """Two small steps stay near where they began."""
    method, put = THERE[name]
    put(Path("their", name))
    with store.writer("train.lmdb", {"source": "folder"}, progress=False) as out:
        for image in np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8):
            out.put(image)
    stage = tiny.settings(method, tmp_path, init=f"their/{name}", lr=1e-6, ema=0.0, log_every=1)
    given = ["--config", stage, "--data", "train.lmdb", "--folder", "train", "--threads", 1]
    tiny.run("stage", "train", *given, "--output", "model.safetensors", "--csv", "train.csv")
    found, card = artifacts.load_tensors("model.safetensors")
    began = tiny.drawn(3, "adm" if method == "i2sb" else "ddpm")
    moved = max(float((found[k] - began[k]).abs().max()) for k in began)
    assert 0 < moved < 1e-4
    assert len(card["init"]) == 64
    assert torch.isfinite(torch.cat([v.flatten() for v in found.values()])).all()
