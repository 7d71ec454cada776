"""The main published commands: the page names files that are made, with the settings of their flags."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from bridgepipe.config import Resolved, read_yaml
from bridgepipe.datasets.points import DOMAINS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/coming-from.md").read_text()
SECTION = PAGE.partition("## The main commands\n")[2].partition("\n## ")[0]
ROWS = re.findall(r"^\| (`.*) \| `(.*)` \|$", SECTION, flags=re.MULTILINE)
RULES = "".join(file.read_text() for file in (ROOT / "workflow/rules").glob("*.smk"))
TARGET = re.compile(r"results/(.+)/([^/]+)")


@cache
def paper() -> Resolved:
    return Resolved(read_yaml(ROOT / "params.yaml") | {"scale": "paper"})


@cache
def read_by_stages() -> str:
    """Every file that a stage reads, as text."""
    return str(paper().files())


def network(e: Any) -> Any:
    return e if hasattr(e, "train") else paper().experiment(f"model/{e.model}")


def domain(number: str) -> str:
    return list(DOMAINS)[int(number)]


# what a flag sets there, and where it stands here
FLAGS: dict[str, Callable[[Any], Any]] = {
    "name": lambda e: None,
    "boundary_search": lambda e: None,
    "config": lambda e: None,
    "ckpt": lambda e: None,
    "partition": lambda e: None,
    "corrupt": lambda e: e.corruption,
    "batch-size": lambda e: e.train.batch_size,
    "batch_size": lambda e: e.train.batch_size,
    "microbatch": lambda e: None,  # moves only the last bits
    "beta-max": lambda e: e.beta_max,
    "ot-ode": lambda e: e.ot_ode,
    "nfe": lambda e: e.sample.nfe,
    "num_res_blocks": lambda e: e.network.num_res_blocks,
    "diffusion_steps": lambda e: network(e).process.T,
    "lr": lambda e: e.train.lr,
    "num_samples": lambda e: e.sample.count,
    "use_ddim": lambda e: e.sample.sampler == "ddim",
    "classifier_scale": lambda e: e.sample.scale_decode,
    "edit_attr": lambda e: e.attribute.lower(),
    "t_0": lambda e: e.search.t,
    "n_inv_step": lambda e: e.inversion.count,
}


def flags(theirs: str) -> dict[str, str]:
    found = re.findall(r"--([a-z][a-z_0-9-]*)(?: ([^ -][^ `]*))?", theirs, flags=re.IGNORECASE)
    return {name: value or "True" for name, value in found}


def _as(here: Any, value: str) -> Any:
    return (
        value if isinstance(here, str) else value == "True" if isinstance(here, bool) else type(here)(value)
    )


def test_every_row_is_tried() -> None:
    rows = [line for line in SECTION.splitlines() if line.startswith("| ") and "---" not in line]
    assert len(ROWS) == len([row for row in rows if row != "| there | here |"]) >= 16


@pytest.mark.parametrize(("theirs", "ours"), [row for row in ROWS if row[1].startswith("snakemake ")])
def test_the_file_is_of_an_experiment_with_the_published_settings(theirs: str, ours: str) -> None:
    for target in ours.split()[1:]:
        name, file = TARGET.fullmatch(target).groups()  # type: ignore[union-attr]
        assert f"/{file}" in RULES or target in read_by_stages()
        e, given = paper().experiment(name), flags(theirs)
        assert given
        if {"source", "target"} <= given.keys():
            ends = (given.pop("source"), given.pop("target"))
            wanted = tuple(map(domain, ends)) if name.startswith("ddib/points") else ends
            assert (str(e.source), str(e.target)) == wanted
        if "task" in given:
            assert e.dataset == domain(given.pop("task"))
        for flag, value in given.items():
            here = FLAGS[flag](e)
            assert here is None or here == _as(here, value)


def test_an_edit_of_a_picture_has_the_published_distances() -> None:
    theirs, ours = next(row for row in ROWS if row[1].startswith("bridgepipe edit "))
    given = flags(theirs)
    start, end = (re.search(rf"--{at}_distance (-?\d+)", theirs)[1] for at in ("start", "end"))  # type: ignore[index]
    assert f"--distances {start}:{end}:{given['edit_img_number']}" in ours
    assert f"--t {given['t_0']} --steps {given['n_test_step']}" in ours
    assert given["n_inv_step"] == given["n_test_step"]
