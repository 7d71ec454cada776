"""DDIB between points from end to end on a tiny project: samples, a pair with its cycle, colour transfer."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from project import ROOT, Project

from bridgepipe import artifacts, config
from bridgepipe.config import read_yaml
from bridgepipe.datasets.points import DOMAINS, Points
from bridgepipe.networks import mlp

PAIR = "results/ddib/points/moons-checkerboard"
COLOR = "results/ddib/color/rgb"
CYCLES: dict[str, dict[str, Any]] = {
    "DDIM 5": {"solver": "ddim", "nfe": 5, "grid": "ddib"},
    "pair": {"nfe": 5},
    "alone": {"nfe": 5, "state_pair": False},
}


def tiny(values: dict[str, Any]) -> None:
    domains, clouds = ("moons", "checkerboard"), ("china-rgb", "flower-rgb")
    values["experiments"] = {
        "ddib/sample": {name: {} for name in domains},
        "ddib/points": {"moons-checkerboard": {"full": True}},
        "ddib/cloud": {name: {} for name in clouds},
        "ddib/color": {"rgb": {"source": clouds[0], "target": clouds[1]}},
    }
    values["runtime"] |= {"threads": 1, "save_every": 5}
    for name in (*domains, *clouds):
        values["datasets"][name] |= {"count": 2000} if name in domains else {"size": 16}
    demo = values["scales"]["demo"]
    for kind in ("ddib/sample", "ddib/cloud"):
        demo[kind] = {
            "process": {"T": 50, "prediction": "v"},
            "network": {"model_channels": 64, "num_res_blocks": 1},
            "train": {"steps": 10, "batch_size": 64, "keep_every": 5},
        }
    demo["ddib/sample"]["sample"] = {"count": 5000, "latents": 200, "nfe": 5}
    demo["ddib/points"] = {"count": 300, "exact": 100, "cycle": CYCLES, "cycle_count": 100}
    demo["ddib/points"]["translate"] = {"nfe": 5}
    demo["ddib/color"] = {"translate": {"nfe": 5}, "plan": 50}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project.create(tmp_path_factory.mktemp("points") / "project")
    project.edit(tiny)
    project.snakemake("-c2")
    return project


def test_everything_is_there_and_a_second_run_does_nothing(made: Project) -> None:
    figures = ["ddib/sample/moons/figures/scatter.png", "ddib/sample/moons/figures/loss.png"]
    figures += ["ddib/points/moons-checkerboard/figures/map.png", "ddib/color/rgb/figures/transfer.png"]
    for figure in figures:
        assert (made.folder / "results" / figure).stat().st_size > 1000
    assert made.planned() == set()
    assert made.leftovers() == []


def test_samples_are_measured_beside_the_noise_floor(made: Project) -> None:
    values = artifacts.read_json(made.folder / "results/ddib/sample/moons/metrics.json")["values"]
    assert len(Points(made.folder / "results/ddib/sample/moons/samples.safetensors")) == 5000
    assert values["sliced_w2"] > values["sliced_w2_floor"] > values["sliced_w2_floor_spread"] > 0
    assert values["exact_cost"] > 0
    assert 0 <= values["latent_ks_p_0"] <= 1


def test_rows_of_a_translation_are_those_of_the_source(made: Project) -> None:
    tensors, card = artifacts.load_tensors(made.folder / PAIR / "translated.safetensors")
    source = Points(made.folder / "data/points/moons/test.safetensors")
    assert torch.equal(tensors["source"], source.batch(tensors["items"]))
    assert (tensors["items"].diff() > 0).all()
    assert card["made_by"]["settings"]["source"] == "moons"
    assert (tensors["back"] - tensors["source"]).norm(dim=1).max() < 1e-5


def test_targets_that_stand_for_published_commands_are_made(made: Project, tmp_path: Path) -> None:
    page = (ROOT / "docs/coming-from.md").read_text().partition("## Translating and editing")[2]
    targets = re.findall(r"^\| .* \| `snakemake (results/ddib/(?!classes).*)` \|$", page, flags=re.MULTILINE)
    assert len(targets) >= 5
    project = made.copy(tmp_path / "project")
    project.snakemake("-c1", "--", *targets)
    assert all((project.folder / target).stat().st_size > 100 for target in targets)
    assert "MSE to OT" in (project.folder / "results/ddib/color/table.md").read_text()


def test_densities_on_the_way_are_a_target_of_their_own(made: Project) -> None:
    target = f"{PAIR}/figures/densities.png"
    assert not (made.folder / target).exists()
    done = made.planned(target)
    assert done == {"figure_densities"}
    made.snakemake("-c1", "--", target)
    assert np.asarray(Image.open(made.folder / target)).std() > 5
    assert made.planned(target) == set()


def test_cycle_closes_with_the_pair_only(made: Project) -> None:
    values = artifacts.read_json(made.folder / PAIR / "cycle.json")["values"]
    assert values["pair: mean"] < 1e-5 < values["alone: mean"]
    assert values["DDIM, all steps: calls"] == 50
    assert 0 <= values["alone: mean_low"] < values["alone: mean"] < values["alone: mean_high"]
    assert values["alone: sliced_w2_floor"] == values["pair: sliced_w2_floor"] > 0
    assert 0 < values["alone: sliced_w2_floor_spread"] < values["alone: sliced_w2_floor"]
    table = pd.read_csv(made.folder / "results/ddib/points/cycle.csv")
    assert table["experiment"].tolist() == ["moons-checkerboard", "worst"]
    shown = (made.folder / "results/ddib/points/cycle.md").read_text(encoding="utf8")
    assert "| ddib/points/cycle | DDIB | 4000 | 0.0065 | 0.0143 |" in shown
    assert ": nfe 50 (published 4000); unknown: dataset, n" in shown
    assert table["pair, mean"].tolist() == [values["pair: mean"]] * 2


def test_a_translation_needs_no_data_of_the_target(made: Project, tmp_path: Path) -> None:
    project = made.copy(tmp_path / "project")
    before = project.read(f"{PAIR}/translated.safetensors")
    (project.folder / PAIR / "translated.safetensors").unlink()
    for split in ("train", "test"):
        (project.folder / f"data/points/checkerboard/{split}.safetensors").unlink()
    project.snakemake("-c1", "--allowed-rules", "translate_points", "--", f"{PAIR}/translated.safetensors")
    assert project.read(f"{PAIR}/translated.safetensors") == before


def test_both_photographs_have_changed_colours(made: Project) -> None:
    values = artifacts.read_json(made.folder / COLOR / "transfer.json")["values"]
    assert values["china as flower: sliced_w2_ot"] < values["china as flower: sliced_w2_untouched"]
    for picture in ("china-as-flower", "flower-as-china"):
        assert values[f"{picture.replace('-', ' ')}: mse_ot"] > 0
        assert np.asarray(Image.open(made.folder / COLOR / f"{picture}.png")).shape[2] == 3


def test_edit_of_a_cycle_retrains_nothing(made: Project, tmp_path: Path) -> None:
    project = made.copy(tmp_path / "project")
    project.edit(lambda v: v["scales"]["demo"]["ddib/points"].update(translate={"nfe": 6}))
    made_anew = {"translate_points", "evaluate_translation", "numbers", "table_of_points"}
    assert project.planned() == made_anew
    project.edit(lambda v: v["experiments"]["ddib/sample"]["moons"].update(train={"lr": 0.1}))
    assert {"train", "sample_points", "cycle_points"} <= project.planned()


def test_checkpoints_of_both_models_translate_anew_and_never_train(made: Project, tmp_path: Path) -> None:
    project = made.copy(tmp_path / "project")
    how = {"checkpoint": 5, "target_weights": {"checkpoint": 10}}
    project.edit(lambda v: v["experiments"]["ddib/points"]["moons-checkerboard"].update(how))
    project.edit(lambda v: v["experiments"]["ddib/color"]["rgb"].update(checkpoint=5))
    targets = [f"{PAIR}/translated.safetensors", f"{PAIR}/cycle.json", f"{COLOR}/transferred.safetensors"]
    assert project.planned(*targets) == {"translate_points", "cycle_points", "color_transfer"}
    before = project.read(*targets)
    project.snakemake("-c1", "--", *targets)
    assert project.planned(*targets) == set()
    assert all(project.read(target) != {target: before[target]} for target in targets)
    card = artifacts.load_card(project.folder / targets[0])
    for key, file in (
        ("source", "moons/checkpoints/5.safetensors"),
        ("target", "checkerboard/model.safetensors"),
    ):
        used = artifacts.load_card(project.folder / "results/ddib/sample" / file)
        assert card["made_by"]["models"][key] == used[artifacts.CONTENT]


def test_thirty_pairs_and_their_published_recipe() -> None:
    values = read_yaml(ROOT / "params.yaml") | {"scale": "paper"}
    resolved = config.Resolved(values)
    pairs = {(a, b) for a in DOMAINS for b in DOMAINS if a != b}
    assert {tuple(name.split("-")) for name in resolved.names("ddib/points")} == pairs
    e = resolved.experiment("ddib/sample/moons")
    assert (e.process.T, e.process.schedule, e.train.batch_size, e.train.lr) == (4000, "linear", 20000, 1e-4)
    assert (e.network.model_channels, e.network.num_res_blocks, e.network.dropout) == (256, 3, 0.2)
    assert "DDIM, all steps" in resolved.stages("ddib/points/moons-checkerboard")["cycle"]["cycle"]


def test_published_weights_are_found_by_number_and_steps(tmp_path: Path) -> None:
    project = Project.create(tmp_path / "project")
    project.edit(tiny)
    how = {"process": {"T": 4000, "prediction": "eps"}, "train": {"published": "ddib/synthetic"}}
    how["network"] = {"model_channels": 256, "num_res_blocks": 3}
    project.edit(lambda v: v["experiments"].update({"ddib/sample": {"moons": how}, "ddib/points": {}}))
    network = mlp.PointNet(model_channels=256, num_res_blocks=3)
    folder = project.folder / "data/checkpoints/ddib/synthetic/log2D0"
    folder.mkdir(parents=True)
    for steps in ("009000", "010000"):
        torch.save(network.state_dict(), folder / f"model{steps}.pt")
        torch.nn.init.ones_(network.out[2].bias)
    model = "results/ddib/sample/moons/model.safetensors"
    assert project.planned(model) == {"import_published"}
    project.snakemake("-c1", "--", model)
    assert artifacts.load_tensors(project.folder / model)[0]["out.2.bias"].tolist() == [1, 1]


def test_two_processes_make_the_same(made: Project, tmp_path: Path) -> None:
    files = [
        "results/ddib/sample/moons/samples.safetensors",  # in two batches
        f"{PAIR}/translated.safetensors",
        f"{PAIR}/cycle.json",
        f"{COLOR}/transferred.safetensors",
    ]
    project = made.copy(tmp_path / "project")
    project.edit(lambda v: v["runtime"].update(processes=2, device="cpu"))
    assert project.planned() == set()
    for file in files:
        (project.folder / file).unlink()
    project.snakemake("-c1", "--", *files)
    assert project.read(*files) == made.read(*files)
