"""How long the report takes to open, by the number of its experiments."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from benchmarks.measure import Result, compare
from bridgepipe.config import load, read_yaml
from bridgepipe.data import storewriter
from bridgepipe.evaluation import protocol
from bridgepipe.report import page

ROOT = Path(__file__).parents[1]
MANY = 300


def here() -> bool:
    """Whether there is a browser that could open it."""
    return shutil.which("chromium") is not None


def report_of_many_experiments_against_one() -> Result:
    """In headless Chromium, until everything is laid out and the first picture is on the screen."""
    sys.path.insert(0, str(ROOT / "tests/browser"))
    import devtools

    with tempfile.TemporaryDirectory() as folder, devtools.tab() as tab:
        many, one = (made(Path(folder, str(count)), count) for count in (MANY, 1))
        what = f"open the report of {MANY} experiments, {many.stat().st_size / 1e6:.0f} MB"
        return compare(what, lambda: _open(tab, many), "one experiment", lambda: _open(tab, one))


def _open(tab: Any, file: Path) -> None:
    tab.open("about:blank")
    tab.open(file.as_uri())
    painted = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))"
    tab.value(f"document.querySelector('img').decode().then(() => {painted})")


def made(folder: Path, count: int) -> Path:
    """The report of a project of so many invented experiments."""
    project(folder, count)
    return written(folder)


def written(folder: Path) -> Path:
    """The report of a project as it is."""
    with _inside(folder):
        resolved = load("params.yaml")
        page.write(Path("report.html"), resolved, resolved.matching())
    return folder / "report.html"


@contextmanager
def _inside(folder: Path) -> Iterator[None]:
    with chdir(folder), open(os.devnull, "w") as quiet:
        stderr, sys.stderr = sys.stderr, quiet
        try:
            yield
        finally:
            sys.stderr = stderr


def project(folder: Path, count: int) -> None:
    """Parameters and results of invented restorations, of which two protocols measured one half each."""
    folder.mkdir(parents=True)
    values = read_yaml(ROOT / "params.yaml")
    names = [f"made-{i:03d}" for i in range(count)]
    corruptions = ("jpeg-5", "jpeg-10", "blur-uni")
    values["experiments"] = {"i2sb": {n: {"corruption": corruptions[i % 3]} for i, n in enumerate(names)}}
    (folder / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf8")
    first = folder / f"results/i2sb/{names[0]}"
    _files(first)
    for i, name in enumerate(names):
        target = folder / f"results/i2sb/{name}"
        if target != first:
            shutil.copytree(first, target)
        _metrics(target, i)


def _files(folder: Path) -> None:
    """Images before and after, two figures, and what a rule took."""
    rng = np.random.default_rng(0)
    made_by = {"settings": {"corruption": "jpeg-5"}, "model": "0" * 16, "data": "1" * 16}
    smooth = rng.integers(40, 216, (6, 8, 8, 3), np.uint8).repeat(4, 1).repeat(4, 2)
    for name, noise in (("restored", 5), ("corrupted", 40)):
        with storewriter.writer(folder / f"{name}.lmdb", made_by, progress=False) as store:
            for image in smooth:
                store.put(image + rng.integers(0, noise, image.shape, np.uint8))
    (folder / "figures").mkdir()
    for name in ("grid", "loss"):
        small = Image.fromarray(rng.integers(0, 256, (60, 90, 3), np.uint8))
        small.resize((900, 600), Image.Resampling.NEAREST).save(folder / f"figures/{name}.png")
    (folder / "benchmarks").mkdir()
    table = "s\th:m:s\tmax_rss\tcpu_time\n61.5\t0:01:01\t812.5\t118.0\n"
    (folder / "benchmarks/train.tsv").write_text(table, encoding="utf8")


def _metrics(folder: Path, i: int) -> None:
    found = {
        "fid": {"fid": 2 + i / 10, "fid_low": 1.5 + i / 10, "fid_high": 2.5 + i / 10, "fid_real": 1.0},
        "restoration": {"psnr": 20 + i / 50, "psnr_corrupted": 18.0},
    }
    for name, values in found.items():
        how = protocol.protocol(name, n=400, settings={"half": i % 2}, inputs={})
        protocol.write_metric(folder / f"{name}.json", values, how, {"settings": {"sample": {"nfe": 10}}})
