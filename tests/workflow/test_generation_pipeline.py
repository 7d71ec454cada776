"""Generation from end to end on a tiny project: fitted spectrum, samples, FID, study, export, paper scale."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from project import ROOT, Project

from bridgepipe import artifacts, config
from bridgepipe.config import read_yaml
from bridgepipe.data.store import ImageStore

SAMPLERS = {"Heun": {"sampler": "heun"}, "O-BELM": {"sampler": "obelm", "spacing": "log_snr"}}
EXPERIMENTS = {
    "model": {"ddpm": {}, "spd": {"process": {"schedule": "shortest_path"}}},
    "spd": {
        "ddim": {
            "model": "ddpm",
            "sample": {"sampler": "heun"},
            "study": {"nfe": [5, 6], "samplers": SAMPLERS},
        },
        "spd": {"model": "spd"},
    },
}


def tiny(values: dict[str, Any]) -> None:
    values["experiments"] = EXPERIMENTS
    values["extractors"]["digits-16-classifier"]["steps"] = 20
    values["runtime"] |= {"threads": 1, "save_every": 5}
    demo = values["scales"]["demo"]
    demo["model"]["network"] |= {"channel_mult": [1], "attention_resolutions": []}
    demo["model"]["train"] |= {"steps": 10, "batch_size": 8}
    demo["spd"]["sample"] |= {"nfe": 6, "count": 40}
    for study in (values["experiments"]["spd"]["ddim"]["study"],):
        study["count"] = 20


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project.create(tmp_path_factory.mktemp("spd") / "project")
    project.edit(tiny)
    project.snakemake("-c2", "--", "all", "results/spd/spd/samples.npz")
    return project


def test_everything_is_there_and_a_second_run_does_nothing(made: Project) -> None:
    for name in ("ddim", "spd"):
        assert artifacts.read_json(made.folder / f"results/spd/{name}/fid.json")["values"]["fid"] > 0
        assert (made.folder / f"results/spd/{name}/figures/grid.png").stat().st_size > 1000
    assert made.planned() == set()
    assert made.leftovers() == []


def test_table_names_both(made: Project) -> None:
    table = pd.read_csv(made.folder / "results/spd/table.csv")
    assert table["experiment"].tolist() == ["spd/ddim", "spd/spd"]
    assert table["NFE"].tolist() == [5, 6]  # as many as were made: Heun's method makes an odd number


def test_study_has_a_row_for_every_sampler_and_call(made: Project) -> None:
    rows = pd.read_csv(made.folder / "results/spd/nfe.csv")
    assert list(zip(rows["sampler"], rows["nfe"], strict=True)) == [
        ("Heun", 5),
        ("O-BELM", 5),
        ("O-BELM", 6),
    ]
    assert rows["n"].tolist() == [20] * 3
    assert np.isfinite(rows["FID"]).all()


def test_export_holds_the_samples(made: Project) -> None:
    store = ImageStore(made.folder / "results/spd/spd/samples.lmdb")
    exported = np.load(made.folder / "results/spd/spd/samples.npz")["arr_0"]
    assert exported.dtype == np.uint8
    assert np.array_equal(exported, np.stack([store[i] for i in range(40)]))


def test_fitted_spectrum_is_in_the_model(made: Project) -> None:
    fitted = artifacts.read_json(made.folder / "data/stats/digits-16/spectrum.json")
    assert artifacts.load_card(made.folder / "results/model/spd/model.safetensors")["spectrum"] == fitted
    assert fitted["residual"] < 1


def test_edit_of_the_model_resamples_and_of_the_sampler_does_not_retrain(
    made: Project, tmp_path: Path
) -> None:
    project = made.copy(tmp_path / "project")
    project.edit(lambda v: v["scales"]["demo"]["spd"]["sample"].update(nfe=7))
    again = {"generate", "gather", "fid", "figure", "table", "table_of_experiment"}
    assert project.planned() == again
    project.edit(lambda v: v["experiments"]["model"]["spd"].update(train={"lr": 0.1}))
    assert "train" in project.planned("results/spd/spd/fid.json")
    assert "train" not in project.planned("results/spd/ddim/fid.json")


def test_published_recipe_of_cifar10() -> None:
    values = read_yaml(ROOT / "params.yaml") | {"scale": "paper"}
    e = config.Resolved(values).experiment("model/spd")
    p, n, t = e.process, e.network, e.train
    assert (p.T, p.schedule, p.c1, p.c2, p.m, p.variant) == (
        4000,
        "shortest_path",
        1.59,
        0.0086,
        2,
        "published",
    )
    assert (p.variance, p.rescale_timesteps) == ("fixed_large", True)
    assert (n.model_channels, n.num_res_blocks, n.dropout) == (128, 3, 0.3)
    assert [32 // rate for rate in n.attention_resolutions] == [16, 8]
    assert (t.ema, t.lr, t.batch_size) == (0.9999, 1e-4, 1024)


def test_paper_scale_dry_runs_and_fetches_cifar10(tmp_path: Path) -> None:
    project = Project.create(tmp_path / "project")
    project.write(read_yaml(ROOT / "params.yaml") | {"scale": "paper"})
    planned = project.planned("results/spd/spd/fid.json")
    assert {"fetch", "prepare_train_test", "train", "generate", "statistics", "fid"} <= planned
    assert "spectrum" not in planned
