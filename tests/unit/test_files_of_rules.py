"""Rules look up the files that experiments name; there is a rule for whatever a dataset is prepared as."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

from bridgepipe import config
from bridgepipe.workflow import Pipeline

ROOT = Path(__file__).parents[2]
RULES = "".join(file.read_text() for file in sorted((ROOT / "workflow/rules").glob("*.smk")))
FILES = config.load(ROOT / "params.yaml").files()
CHOICES = ast.literal_eval(re.search(r"^PREPARED = (\{.*?^\})", RULES, re.MULTILINE | re.DOTALL)[1])
PREPARED = {*map(tuple, CHOICES.values()), ()}  # none: points
LOOKUP = re.compile(r'lookup\("(?P<path>[^"]+)", within=FILES\["(?P<stage>\w+)"\]\)')


def below(method: str, stage: str) -> list[dict[str, object]]:
    """What a stage reads, of every experiment of a method."""
    found = FILES[stage]
    for part in method.split("/"):
        found = found[part]
    return list(found.values())


def test_rules_look_up_what_experiments_name() -> None:
    found = [(m["path"], m["stage"]) for m in LOOKUP.finditer(RULES) if not m["path"].startswith("{name}")]
    assert len(found) > 15
    for path, stage in found:
        method, _, name = path.partition("/{experiment}")
        assert all(name.strip("/") in {"", *files} for files in below(method, stage)), path


def test_every_file_that_an_experiment_names_is_looked_up() -> None:
    stages = {m["stage"] for m in LOOKUP.finditer(RULES)}
    stages |= {*re.search(r'figure="(\S+)"', RULES)[1].split("|")}  # FILES[the figure]
    assert {stage for stage, found in FILES.items() if found} == stages


def test_files_of_stages() -> None:
    assert FILES["fid"]["spd"]["ddim"]["images"] == "results/spd/ddim/samples.lmdb"
    assert FILES["sample"]["i2sb"]["edges"]["sources"] == ["data/prepared/photo-edges/test-source.lmdb"]
    assert FILES["train"]["i2sb"]["edges"]["sources"] == ["data/prepared/photo-edges/train-source.lmdb"]
    assert FILES["train"]["model"]["ddpm"]["spectrum"] == []
    assert FILES["sample"]["i2sb"]["edges"]["config"] == "results/i2sb/edges/config/sample.json"
    assert FILES["fid"]["i2sb"]["edges"]["config"] == "results/i2sb/edges/config/evaluate.json"
    assert FILES["flips"]["boundary"]["loop"]["csv"] == "results/boundary/loop/edit.csv"
    assert set(FILES["mixing"]["boundary"]["loop"]) == {"config", "model", "train_config", "data"}
    ends = FILES["translate"]["ddib"]["points"]["moons-checkerboard"]
    assert ends["target_config"] == "results/ddib/sample/checkerboard/config/train.json"
    assert ends["data"] == "data/points/moons/test.safetensors"


def test_any_dataset_has_a_rule() -> None:
    datasets = config.load(ROOT / "params.yaml").params.datasets.values()
    assert {config.stores_of(d) for d in datasets if not config.comes_apart(d)} <= PREPARED


def test_what_the_snakefile_asks_stays_short() -> None:
    assert len(inspect.getsource(Pipeline).splitlines()) <= 150
    assert len(RULES.splitlines()) <= 925


def test_the_demo_trains_on_photographs_and_make_shows_what_it_makes() -> None:
    demo, make = (ROOT / "Snakefile").read_text().split("rule demo:")[1], (ROOT / "Makefile").read_text()
    files = re.findall(r'"results/(\S+/\S+)/(photographs\.md|figures/loss\.png)"', demo)
    assert [file for _, file in files] == ["photographs.md", "figures/loss.png"]
    (name,) = {name for name, _ in files}
    assert f"PHOTOS := results/{name}\n" in make
    (digits,) = re.findall(r"DIGITS := results/(\S+)\n", make)
    experiments = config.load(ROOT / "params.yaml").experiments
    assert (experiments[name].dataset, experiments[name].network.kind) == ("sample-photos", "residual")
    assert experiments[digits].dataset == "digits"
