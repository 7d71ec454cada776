"""Every tutorial of docs/own-data.md, as it stands there, on small folders of the layout that it names."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from project import ROOT, Project

PAGE = (ROOT / "docs/own-data.md").read_text()
SECTIONS = {
    text.partition("\n")[0]: text for text in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:] if "```" in text
}


def picture(file: Path, seed: int, size: tuple[int, int] = (70, 66), red: bool = False) -> None:
    pixels = np.random.default_rng(seed).integers(0, 160, (*size, 3), dtype=np.uint8)
    pixels[..., 0 if red else 2] += 90
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file)


def photographs(folder: Path) -> None:
    for n in range(12):
        picture(folder / f"photos/{n}.png", n)
    picture(folder / "noisy.jpg", 99)


def pairs(folder: Path) -> None:
    for n in range(12):
        picture(folder / f"pairs/A/{n:04d}.png", n)
        picture(folder / f"pairs/B/{n:04d}.png", n, red=True)


def animals(folder: Path) -> None:
    for n in range(24):
        for kind in ("cats", "dogs"):
            picture(folder / f"animals/{kind}/{n}.png", n, (40, 36), red=kind == "dogs")


def faces(folder: Path) -> None:
    rows = ["file_name,glasses"]
    for n in range(1, 49):
        picture(folder / f"faces/{n:04d}.png", n, (32, 32), red=n % 2 == 1)
        rows.append(f"{n:04d}.png,{1 if n % 2 else -1}")
    (folder / "faces/metadata.csv").write_text("\n".join(rows) + "\n")


LAYOUTS: dict[str, Callable[[Path], None]] = {
    "Restoration": photographs,
    "Pairs of images": pairs,
    "Two classes, no pairs": animals,
    "An attribute, and edits of it": faces,
}


def blocks(section: str, kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", section, re.DOTALL | re.MULTILINE)


def small(values: dict[str, Any]) -> None:
    """The scale that the tutorials start from, with networks and searches of seconds."""
    demo = values["scales"]["demo"]
    demo["model"]["network"] |= {"channel_mult": [1], "attention_resolutions": []}
    demo["model"]["train"]["batch_size"] = 8
    demo["boundary"]["inversion"]["count"] = 4
    demo["boundary"]["mixing"] |= {"count": 3, "every": 1, "images": 20}
    demo["boundary"]["edit"] |= {"images": 4, "count": 4}
    demo["ddib/classes"]["sample"] |= {"respacing": "log_snr 4", "count": 2}
    demo["i2sb"]["network"] |= {"channel_mult": [1, 1, 1, 1], "attention_resolutions": []}
    demo["i2sb"]["train"]["batch_size"] = 8
    demo["i2sb"]["sample"]["count"] = 2


def shorter(settings: dict[str, Any]) -> None:
    """Fewer steps in the tutorial's own settings; everything else stays as it is written."""
    for own in settings.get("extractors", {}).values():
        own["steps"] = 5
    for method in settings["experiments"].values():
        for own in method.values():
            train = own.get("train", {})
            if "steps" in train:
                train["steps"] = 4
            if "validation" in train:
                train["validation"] |= {"every": 2, "grid": 2}


def test_every_section_with_settings_is_tried() -> None:
    assert SECTIONS.keys() == LAYOUTS.keys()


@pytest.mark.parametrize("title", LAYOUTS)
def test_the_tutorial_runs(tmp_path: Path, title: str) -> None:
    project = Project.create(tmp_path / "project")
    LAYOUTS[title](project.folder)
    project.edit(small)
    guide = {"guide": {"digits": {"scales": ["demo"]}}}  # named by the scale
    project.edit(lambda v: v.update(experiments=guide, include="experiments/*.yaml"))
    (begin,), *_, lines = (text.splitlines() for text in blocks(SECTIONS[title], "sh"))
    done = project.bridgepipe(*shlex.split(begin)[1:])
    assert re.search(r"^\d+ images .*\nnext: bridgepipe plan results/", done.stderr, flags=re.MULTILINE)
    file = project.folder / done.stdout.strip()
    assert file.read_text().endswith("\n" + "".join(blocks(SECTIONS[title], "yaml")))
    settings = yaml.safe_load(file.read_text())
    shorter(settings)
    file.write_text(yaml.safe_dump(settings))
    before = set(project.folder.iterdir())
    for line in lines:
        program, *words = shlex.split(line)
        if program == "snakemake":
            assert f"next: {line}\n" in done.stderr
            project.snakemake("-c1", "--", *words)
            assert all((project.folder / target).stat().st_size for target in words)
        else:
            project.bridgepipe(*("4" if word == "100" else word for word in words))  # fewer steps
            made = set(project.folder.iterdir()) - before
            assert made & {project.folder / name for name in ("restored", "as-dogs", "strip.png")}


def test_a_boundary_on_a_small_folder_takes_all_that_its_splits_have(tmp_path: Path) -> None:
    project = Project.create(tmp_path / "project")
    faces(project.folder)
    project.edit(lambda v: v.update(include="experiments/*.yaml"))
    begun = project.bridgepipe("new", "boundary", "mine", "--data", "faces", "--dry-run")
    train, test = (int(n) for n in re.search(r"(\d+) train.* (\d+) test", begun.stderr).groups())
    settings = yaml.safe_load(begun.stdout)["experiments"]["boundary"]["mine"]
    assert settings["mixing"] == {"images": train}
    assert settings["edit"] == {"images": test}


def by_colour(folder: Path) -> None:
    """The pictures of a folder, every second one in a sub-folder, and a table of them as before."""
    table = folder / "metadata.csv"
    for n, file in enumerate(sorted(folder.glob("*.png"))):
        kind = folder / ("red" if n % 2 else "blue")
        kind.mkdir(exist_ok=True)
        file.rename(kind / file.name)
        if table.exists():
            table.write_text(table.read_text().replace(file.name, f"{kind.name}/{file.name}"))


@pytest.mark.parametrize(
    ("title", "folders", "result"),
    [
        ("Restoration", ["photos"], "fid.json"),
        ("Pairs of images", ["pairs/A", "pairs/B"], "fid.json"),
        ("An attribute, and edits of it", ["faces"], "edit.json"),
    ],
)
def test_a_fid_without_a_download(tmp_path: Path, title: str, folders: list[str], result: str) -> None:
    """By the lines of the page, on images with classes."""
    project = Project.create(tmp_path / "project")
    LAYOUTS[title](project.folder)
    for folder in folders:
        by_colour(project.folder / folder)
    project.edit(small)
    project.edit(lambda v: v.update(include="experiments/*.yaml"))
    ((begin,), *_) = (text.splitlines() for text in blocks(SECTIONS[title], "sh"))
    file = project.folder / project.bridgepipe(*shlex.split(begin)[1:]).stdout.strip()
    settings = yaml.safe_load(file.read_text())
    (name,) = settings["datasets"]
    section = PAGE.partition("## FID without a download\n")[2].partition("\n## ")[0]
    added = "\n".join(re.findall("^    (.+)", section, flags=re.MULTILINE)).replace("mine-noise", name)
    settings["extractors"], evaluate = (yaml.safe_load(added)[key] for key in ("extractors", "evaluate"))
    method = next(method for method in settings["experiments"] if method != "model")
    settings["experiments"][method][name]["evaluate"] = evaluate
    shorter(settings)
    file.write_text(yaml.safe_dump(settings))
    target = f"results/{method}/{name}/{result}"
    assert not project.planned(target) & {"fetch"}
    project.snakemake("-c1", "--", target)
    assert "mine-classifier" in (project.folder / target).read_text()
