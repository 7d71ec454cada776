"""Every command of docs/coming-from.md, in place of a published one, runs on tiny files of those names."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from bridgepipe import cli
from bridgepipe.data import store
from bridgepipe.evaluation import extractors, fid

PAGE = Path(__file__).parents[2] / "docs/coming-from.md"
MEASURING = PAGE.read_text().partition("## Measuring and sample files\n")[2].partition("\n## ")[0]
COMMANDS = re.findall(r"^\|.*\| `bridgepipe (.*)` \|$", MEASURING, flags=re.MULTILINE)
PIXELS = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), dtype=np.uint8)
NAMES = [f"class/{k}.JPEG" for k in range(6)]


class Corners:
    """Extractor that needs no network: the four corner pixels."""

    name, digest, resize = "corners", "0", "none"

    def features(self, images: extractors.Batch) -> torch.Tensor:
        return torch.from_numpy(np.stack([np.ravel(i[::15, ::15]) / 255 for i in images])).float()


def put(path: Path, made_by: dict[str, Any], names: bool = False, **arrays: np.ndarray) -> str:
    with store.writer(path, made_by, progress=False) as out:
        for name, image in zip(NAMES, PIXELS, strict=True):
            out.put(image, name) if names else out.put(image)
        for name, values in arrays.items():
            out.set_array(name, values)
    return store.ImageStore(path).digest


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files that the page names; corners of images stand in for features of Inception."""
    monkeypatch.setattr(extractors, "load_extractor", lambda *_, **__: Corners())
    data = put(tmp_path / "data/prepared/mine/train.lmdb", {"source": "folder"}, names=True)
    made = {"data": data, "origin": {"name": "mine/train"}}
    results = tmp_path / "results"
    put(results / "i2sb/jpeg-5/restored.lmdb", made, item=np.arange(6))
    put(results / "spd/spd/samples.lmdb", {"images": "samples"})
    put(results / "ddib/classes/mine/translated.lmdb", {"images": "translations", "target_class": "dog"})
    put(results / "boundary/loop/edited.lmdb", {"images": "edited"}, distance=np.tile([-1.0, 0, 1], 2))
    weights = tmp_path / "data/checkpoints/inception.pth"
    weights.parent.mkdir()
    weights.touch()
    found = fid.statistics(Corners(), PIXELS)
    found.save(tmp_path / "data/stats/mine/train-inception.safetensors")
    np.savez(tmp_path / "VIRTUAL_imagenet256_labeled.npz", mu=found.mu.numpy(), sigma=found.sigma.numpy())
    for name in ("samples", "reference"):
        np.savez(tmp_path / f"{name}.npz", PIXELS)
    for name in ("translated", "target"):
        (tmp_path / name).mkdir()
        for k, image in enumerate(PIXELS):
            Image.fromarray(image).save(tmp_path / name / f"{k}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_row_has_a_command() -> None:
    rows = [line for line in MEASURING.splitlines() if line.startswith("| ") and "---" not in line]
    assert len(COMMANDS) == len([row for row in rows if row != "| there | here |"]) >= 12


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_of_the_page_runs(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    before = {p for p in project.rglob("*") if p.is_file()}
    words = shlex.split(command)
    monkeypatch.setattr(sys, "argv", ["bridgepipe", *words])
    with pytest.raises(SystemExit) as end:
        cli.main()
    out, err = capsys.readouterr()
    assert not end.value.code, err
    if "--output" in words:
        output = project / words[words.index("--output") + 1]
        made = {p for p in project.rglob("*") if p.is_file() and ".lmdb" not in p.name} - before
        assert made
        assert output.exists()
    if words[0] == "export" and output.suffix == ".npz":
        keys = set(np.load(output).files)
        assert keys == ({"mu", "sigma"} if "statistics" in output.name else {"arr_0"})
    if words[0] == "export" and output.is_dir():
        assert len(list(output.rglob("*.png"))) == 6
    if words[0] != "export":
        assert "fid" in out
        unpaired = {"none", "VIRTUAL_imagenet256_labeled.npz", "fid"}
        assert ("\npsnr " in out or '"psnr":' in out) == unpaired.isdisjoint(words)
