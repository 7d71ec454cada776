"""Boundaries from end to end on a tiny project: latents, search, edits, their measures; one photograph."""

from __future__ import annotations

import math
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from project import ROOT, Project
from sklearn.svm import SVC

from bridgepipe import artifacts, config
from bridgepipe.config import read_yaml
from bridgepipe.data.store import ImageStore
from bridgepipe.datasets import images
from bridgepipe.errors import UserError
from bridgepipe.methods import boundary
from bridgepipe.photographs import editing

LOOP = "results/boundary/loop"
EXPERIMENTS = {
    "model": {"ddpm": {"train": {"keep_every": 5}}, "other": {"train": {"seed": 1}}},
    "boundary": {
        "loop": {"scales": ["demo"], "attribute": "loop", "evaluate": {"preserved": ["even", "ink"]}},
        # two classes of a dataset, a judge trained for them, samples instead of images, a given step
        "seven": {
            "scales": ["demo"],
            "attribute": "7",
            "against": "3",
            "search": {"t": 300, "images": 60},
            "edit": {"source": "samples", "images": 8, "generate": 6},
            "evaluate": {"classifier": None, "judge": {"steps": 20}},
        },
    },
}


def tiny(values: dict[str, Any]) -> None:
    values["experiments"] = EXPERIMENTS
    values["extractors"]["digits-16-classifier"]["steps"] = 20
    values["runtime"] |= {"threads": 1, "save_every": 5}
    demo = values["scales"]["demo"]
    demo["model"]["network"] |= {"channel_mult": [1], "attention_resolutions": []}
    demo["model"]["train"] |= {"steps": 10, "batch_size": 8}
    own = demo["boundary"]
    own["inversion"]["count"] = 4
    own["mixing"] |= {"count": 5, "every": 2, "images": 40}
    own["search"]["images"] = 80
    own["edit"] |= {"start": -4, "end": 4, "n": 5, "images": 12, "count": 4}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project.create(tmp_path_factory.mktemp("boundary") / "project")
    project.edit(tiny)
    project.snakemake("-c2", "--", "all", "results/model/other/model.safetensors")
    return project


def test_everything_is_there_and_a_second_run_does_nothing(made: Project) -> None:
    for name in ("mixing", "strip", "flips"):
        assert (made.folder / LOOP / f"figures/{name}.png").stat().st_size > 1000
    assert made.planned("all", "results/model/other/model.safetensors") == set()
    assert made.leftovers() == []


def test_mixing_step_is_one_of_the_curve_and_that_of_the_boundary(made: Project) -> None:
    rows = pd.read_csv(made.folder / LOOP / "mixing.csv")
    t = artifacts.read_json(made.folder / LOOP / "mixing.json")["t"]
    assert t in rows["t"].tolist()
    assert rows["t"].tolist() == [0, 480, 960]
    for space in ("z", "h"):
        card = artifacts.read_json(made.folder / LOOP / f"{space}.json")
        assert (card["attribute"], card["space"], card["t"]) == ("loop", space, t)
        assert card["test"]["low"] <= card["accuracy"] <= card["test"]["high"]
        assert (card["images"], card["with"]) == (80, 40)
    assert artifacts.read_json(made.folder / "results/boundary/seven/z.json")["t"] == 300


def test_latents_know_their_images(made: Project) -> None:
    z, h = (ImageStore(made.folder / LOOP / f"latents/train-{space}.lmdb") for space in ("z", "h"))
    data = ImageStore(made.folder / "data/prepared/digits-16/train.lmdb")
    assert z.card["shape"] == [3, 16, 16]
    assert h.card["shape"] == [32, 16, 16]
    item = z.array("item")
    assert np.array_equal(z.array("value"), np.isin(data.labels[item], (0, 6, 8, 9)))
    assert np.array_equal(item, h.array("item"))
    seven = ImageStore(made.folder / "results/boundary/seven/latents/train-z.lmdb")
    assert set(data.labels[seven.array("item")]) == {3, 7}
    assert seven.array("value").sum() == 30


def test_measures_of_edits(made: Project) -> None:
    metric = artifacts.read_json(made.folder / LOOP / "edit.json")
    values, curve = metric["values"], metric["curve"]
    assert [row["distance"] for row in curve] == [-4, -2, 0, 2, 4]
    assert (curve[2]["flipped"], curve[2]["preserved_class"], curve[2]["flipped_n"]) == (0, 1, 6)
    assert values["psnr_zero"] == values["psnr_control"] == pytest.approx(values["psnr_plain"], abs=0.1)
    assert values["best_distance"] in (2, 4)
    assert metric["protocol"]["judge"] == "classifier of the classes"
    assert {
        "preserved_even",
        "preserved_ink",
        "preserved_class",
        "preserved_class_low",
        "preserved_class_n",
    } <= set(curve[0])
    assert values["baseline_flipped_n"] == metric["protocol"]["n"] == 6
    assert metric["protocol"]["distances"] == [-4, -2, 0, 2, 4]
    chosen = {"chosen on": 6, "balanced over": "classes", "seed": 0}
    assert metric["protocol"]["best_distance"] == chosen
    assert {"boundaries", "model", "settings"} <= set(metric["made_with"])
    samples = artifacts.read_json(made.folder / "results/boundary/seven/edit.json")
    assert "psnr_plain" not in samples["values"]
    assert samples["protocol"]["judge"] == "classifier of the attribute"
    table = pd.read_csv(made.folder / "results/boundary/table.csv")
    assert table["experiment"].tolist() == ["boundary/loop", "boundary/seven"]
    assert table["flipped 95 %"][0].endswith(", n 6")
    assert {"no move %", "z acc. 95 %", "class preserved 95 %"} <= set(table)


def test_edits_rerun_what_they_touch(made: Project, tmp_path: Path) -> None:
    project = made.copy(tmp_path / "project")
    own = f"{LOOP}/edit.json", f"{LOOP}/accuracy.json", f"{LOOP}/figures/strip.png"
    project.edit(lambda v: v["scales"]["demo"]["boundary"]["edit"].update(end=5))
    assert project.planned(*own) == {"boundary_strips", "boundary_evaluate", "figure"}
    project.edit(lambda v: v["scales"]["demo"]["boundary"]["edit"].update(end=4))
    project.edit(lambda v: v["scales"]["demo"]["boundary"]["search"].update(C=0.5))
    assert "boundary_search" in project.planned(*own)
    assert "train" not in project.planned(*own)


def test_a_checkpoint_of_the_model_makes_a_boundary_of_its_own_and_never_trains(
    made: Project, tmp_path: Path
) -> None:
    project, own = made.copy(tmp_path / "project"), "results/boundary/seven"
    project.edit(lambda v: v["experiments"]["boundary"]["seven"].update(checkpoint=5))
    targets = [f"{own}/edit.json", f"{own}/accuracy.json"]
    assert not {"train", "prepare"} & project.planned(*targets)
    project.snakemake("-c1", "--", *targets)
    kept, last = (
        artifacts.load_card(project.folder / "results/model/ddpm" / name)[artifacts.CONTENT]
        for name in ("checkpoints/5.safetensors", "model.safetensors")
    )
    stores = [ImageStore(project.folder / own / f"{name}.lmdb") for name in ("edited", "latents/train-z")]
    assert [store.card["made_by"]["model"] for store in stores] == [kept, kept] != [last, last]
    photo = tmp_path / "photo.png"
    Image.fromarray(np.zeros((16, 16, 3), dtype=np.uint8)).save(photo)
    strip = ["edit", str(photo), "--boundary", own, "--distances", "1", "-o", str(tmp_path / "strip.png")]
    project.bridgepipe(*strip)  # by the checkpoint: the last weights are refused
    refused = project.bridgepipe(*strip, "--model", "results/model/ddpm", check=False)
    assert f"this boundary is for network {kept}, not {last}" in refused.stderr


def test_one_photograph(made: Project, tmp_path: Path) -> None:
    photo, strip = tmp_path / "photo.png", tmp_path / "strip.png"
    Image.fromarray(np.arange(40 * 30 * 3, dtype=np.uint8).reshape(40, 30, 3)).save(photo)
    made.bridgepipe("edit", str(photo), "--boundary", LOOP, "--distances", "-3:3:7", "-o", str(strip))
    with Image.open(strip) as picture:
        assert picture.size[0] > 9 * 16 * 8
    named = {f"{name}.png" for name in ("image", "no-move", "-3", "-2", "-1", "0", "+1", "+2", "+3")}
    assert {file.name for file in strip.with_suffix("").iterdir()} == named
    pictures = {file.stem: images.read_photo(file) for file in strip.with_suffix("").iterdir()}
    assert {picture.shape for picture in pictures.values()} == {(16, 16, 3)}
    assert np.array_equal(pictures["0"], pictures["no-move"])  # relative, and without noise
    assert not np.array_equal(pictures["+3"], pictures["no-move"])
    two = ["--boundary", LOOP, "--at", "2", "--boundary", LOOP, "--distances", "0:1:2"]
    made.bridgepipe("edit", str(photo), *two, "-o", str(tmp_path / "two.png"))
    refused = made.bridgepipe("edit", str(photo), *two[:2], *two[4:], "-o", "x.png", check=False)
    assert "give one --at for every boundary but the last" in refused.stderr
    other = ["--boundary", LOOP, "--model", "results/model/other"]
    refused = made.bridgepipe("edit", str(photo), *other, "-o", "x.png", check=False)
    assert refused.returncode == 2
    assert "this boundary is for network" in refused.stderr
    assert refused.stderr.count("\n") == 1
    refused = made.bridgepipe("edit", str(photo), *other, "--distances", "1:2", "-o", "x.png", check=False)
    assert "give START:END:N" in refused.stderr


def test_settings_of_one_edit(made: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(made.folder)
    photo = tmp_path / "photo.png"
    Image.fromarray(np.arange(40 * 30 * 3, dtype=np.uint8).reshape(40, 30, 3)).save(photo)

    def edited(name: str, t: int | None = None, **changes: Any) -> np.ndarray:
        strip = tmp_path / f"{name}.png"
        editing.edit(photo, [Path(LOOP)], strip, [1.0], [], None, t, changes, config.Runtime())
        return images.read_photo(tmp_path / name / "+1.png")

    own = edited("own")
    for asked in ({"t": 300}, {"count": 5}, {"eta": 1.0, "seed": 1}, {"kind": "ddpm"}):
        assert not np.array_equal(edited("changed", **asked), own), asked
    once, again, other = (edited("noisy", eta=1.0, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(once, again)
    assert not np.array_equal(once, other)
    for asked, said in (({"count": 1}, "count"), ({"kind": "heun"}, "kind"), ({"t": 9999}, "--t")):
        with pytest.raises(UserError, match=said):
            edited("refused", **asked)
    assert not (tmp_path / "refused").exists()


def test_published_boundaries(made: Project, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    widths = {"z": 3 * 16 * 16, "h": 32 * 16 * 16}
    folder, model = tmp_path / "published", "results/model/ddpm"
    for space, width in widths.items():
        latents = rng.standard_normal((20, width))
        file = tmp_path / f"x_loop_{space}.sav"
        file.write_bytes(pickle.dumps(SVC(kernel="linear").fit(latents, np.arange(20) % 2)))
        words = ["boundary", "import", str(file), "--space", space, "--model", model, "--t", "500"]
        made.bridgepipe(*words, "--attribute", "loop", "--output", str(folder))
    pair = boundary.load_both(folder, t=500)
    assert pair.h is not None
    assert math.isnan(pair.h.accuracy)
    photo = tmp_path / "photo.png"
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(photo)
    words = ["edit", str(photo), "--boundary", str(folder), "--model", model, "--distances", "-5:5:2"]
    made.bridgepipe(*words, "-o", str(tmp_path / "strip.png"))


def drawn(folder: Path, warm: bool) -> None:
    """What stands for a text-to-image model: pictures of one colour or another, with noise."""
    folder.mkdir(parents=True)
    for number in range(40):
        pixels = np.random.default_rng(number + 100 * warm).integers(0, 90, (20, 16, 3), dtype=np.uint8)
        pixels[..., 0 if warm else 2] += 120
        Image.fromarray(pixels).save(folder / f"{number:04d}.png")


def test_words_instead_of_labels(made: Project, tmp_path: Path) -> None:
    """The recipe of docs/boundaries.md: two folders of drawn pictures, a boundary, a photograph edited."""
    page = (ROOT / "docs/boundaries.md").read_text().partition("## Words instead of labels\n")[2]
    recipe = yaml.safe_load(re.search(r"^    datasets:\n(?:    .*\n)+", page, re.MULTILINE)[0])
    paper = read_yaml(ROOT / "params.yaml") | {"scale": "paper"}
    ((name, own),) = recipe["experiments"]["boundary"].items()
    paper["datasets"] |= recipe["datasets"]
    paper["experiments"]["boundary"][name] = {"scales": ["paper"], **own}
    assert config.Resolved(paper).experiment(f"boundary/{name}").model == "church"

    project = made.copy(tmp_path / "project")
    for attribute in (own["attribute"], own["against"]):
        drawn(project.folder / "churches" / attribute, warm=attribute == own["attribute"])
    measured = {"extractor": "drawn", "classifier": None, "judge": {"steps": 60}}
    small = {**own, "model": "ddpm", "evaluate": measured}
    small |= {"search": {"t": 300, "images": None}, "edit": {"images": 4}}
    project.edit(lambda v: v["datasets"].update({k: d | {"size": 16} for k, d in recipe["datasets"].items()}))
    project.edit(lambda v: v["experiments"]["boundary"].update({name: {"scales": ["demo"], **small}}))
    trained = {"kind": "classifier", "dataset": own["dataset"], "steps": 20}
    project.edit(lambda v: v["extractors"].update(drawn=trained))
    metric = f"results/boundary/{name}/edit.json"
    assert f"snakemake {metric}" in page
    project.snakemake("-c2", "--", metric)
    assert artifacts.read_json(project.folder / metric)["protocol"]["judge"] == "classifier of the attribute"
    # a plane tells the two colours apart, also in pictures that it was not fitted to
    assert (
        artifacts.read_json(project.folder / f"results/boundary/{name}/accuracy.json")["values"]["z_accuracy"]
        > 0.9
    )
    photo = project.folder / "churches" / own["against"] / "0000.png"
    words = ["edit", str(photo), "--boundary", f"results/boundary/{name}", "--distances", "0:40:2"]
    project.bridgepipe(*words, "-o", str(tmp_path / "strip.png"))
    before, after = (images.read_photo(tmp_path / f"strip/{d}.png").astype(float) for d in ("0", "+40"))
    warmth = [float((x[..., 0] - x[..., 2]).mean()) for x in (before, after)]
    assert warmth[1] > warmth[0]


def test_paper_scale_dry_runs_with_published_weights(tmp_path: Path) -> None:
    project = Project.create(tmp_path / "project")
    values = read_yaml(ROOT / "params.yaml") | {"scale": "paper"}
    project.write(values)
    planned = project.planned("results/boundary/smiling/edit.json", "results/boundary/dog/edit.json")
    assert {"fetch", "import_published", "prepare", "prepare_train_val", "boundary_judge"} <= planned
    assert {"train", "train_classifier"}.isdisjoint(planned)
    e = config.Resolved(values).experiment("boundary/smiling")
    assert (e.edit.variant, e.edit.eta, e.edit.relative, e.search.t, e.inversion.count) == (
        "published",
        1,
        False,
        500,
        40,
    )
