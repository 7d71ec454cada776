"""Translation between classes: the verbs from end to end, the folder variant, and data that nobody needs."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from project import ROOT, Project

from bridgepipe import artifacts, cli, config
from bridgepipe.config import read_yaml
from bridgepipe.data.store import ImageStore
from bridgepipe.datasets import digits, images
from bridgepipe.evaluation.classifier import train_classifier
from bridgepipe.methods import gaussian, task
from bridgepipe.photographs import translating
from bridgepipe.stages import translation
from bridgepipe.workflow import verifying

NETWORK = {"model_channels": 32, "num_res_blocks": 1, "channel_mult": [1], "attention_resolutions": []}


def run(*words: object) -> None:
    """A verb in this process."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as end:
        patch.setattr(sys, "argv", ["bridgepipe", *map(str, words)])
        cli.main()
    assert not end.value.code


def small(values: dict[str, Any]) -> dict[str, Any]:
    """The real parameters with networks and paths that take no time."""
    scale = values["scales"]["demo"]
    scale["model"]["network"] = {"kind": "adm", **NETWORK}
    for own in filter(None, values["experiments"]["model"].values()):
        if own.get("scales") == ["demo"]:
            own.pop("network", None)
    scale["guide"]["network"] = {**NETWORK, "attention_resolutions": [1]}
    scale["ddib/classes"]["sample"] |= {"respacing": "log_snr 4", "count": 6}
    values["experiments"]["ddib/classes"]["3-8-published"]["sample"]["respacing"] = "4"
    values["extractors"]["digits-16-classifier"]["steps"] = 20
    values["runtime"] |= {"threads": 1, "partitions": 1}
    return values


PARAMS = small(read_yaml(ROOT / "params.yaml"))
RESOLVED = config.Resolved(PARAMS)


def model(results: Path, name: str, classes: list[str], seed: int = 0) -> Path:
    """Folder of an experiment whose network is random: what training leaves."""
    trained = RESOLVED.experiment(name)
    settings, arguments = RESOLVED.stages(name)["train"], trained.network.arguments
    diffusion = task.diffusion_of(trained.process, (3, 16, 16), {})
    if settings["method"] == "guide":
        network: Any = gaussian.classifier(diffusion, 10, seed, pool=trained.pool, **arguments)
    else:
        network = gaussian.network(trained.network.kind, diffusion, len(classes) + 1, seed, **arguments)
    for parameter in network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.02)
    card = {"config": settings, "shape": [3, 16, 16], "class_names": classes}
    artifacts.write_json(results / name / "config/train.json", settings)
    artifacts.save_tensors(results / name / "model.safetensors", network.state_dict(), card)
    artifacts.write_text(results / name / "train.csv", "step,loss\n")
    return results / name


TEN = [str(digit) for digit in range(10)]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with models, digits and their classifier, without a workflow."""
    folder = tmp_path_factory.mktemp("made")
    model(folder / "results", "model/conditional", TEN)
    model(folder / "results", "guide/digits", TEN)
    digits.prepare(folder / "digits", size=16, progress=False)
    images = ImageStore(folder / "digits/train.lmdb")
    train_classifier(images, images.labels, steps=20).save(folder / "classifier.safetensors", {})
    artifacts.write_json(folder / "classifier.json", {"kind": "classifier", "dataset": "any"})
    return folder


def stage(folder: Path, name: str, stage: str) -> Path:
    artifacts.write_json(folder / f"{stage}.json", RESOLVED.stages(f"ddib/classes/{name}")[stage])
    return folder / f"{stage}.json"


def translate(made: Path, out: Path, name: str, parts: int) -> None:
    """Everything of an experiment, verb by verb."""
    results, test = made / "results", made / "digits/test.lmdb"
    ends: list[object] = ["--source-model", results / "model/conditional", "--data", test]
    if RESOLVED.experiment(f"ddib/classes/{name}").sample.guidance == "classifier":
        ends += ["--guide", results / "guide/digits"]
    for verb, config_of, kinds in (
        ("translate-classes", "sample", ("translated", "latents", "states")),
        ("translate-back", "cycle", ("back",)),
    ):
        for part in range(parts):
            names = [out / f"{kind}-{part}.lmdb" for kind in kinds]
            options = ["--output"] if kinds == ("back",) else [f"--{kind}" for kind in kinds]
            written = [word for pair in zip(options, names, strict=True) for word in pair]
            if kinds == ("back",):
                written += ["--translated", out / "translated.lmdb", "--states", out / "states.lmdb"]
            share = ["--part", part, "--parts", parts]
            run("stage", verb, "--config", stage(out, name, config_of), *ends, *share, *written)
        for kind in kinds:
            run(
                "stage",
                "gather",
                *(out / f"{kind}-{p}.lmdb" for p in range(parts)),
                "--output",
                out / f"{kind}.lmdb",
            )
    extractor = ["--extractor", made / "classifier.json", "--weights", made / "classifier.safetensors"]
    common = ["--translated", out / "translated.lmdb", *extractor]
    settings = ["--config", stage(out, name, "evaluate")]
    real = ["--reference", made / "digits/train.lmdb", "--source", test, "--real", test]
    run("stage", "evaluate", "translation-fid", *settings, *common, *real, "--output", out / "fid.json")
    run("stage", "evaluate", "target-accuracy", *settings, *common, "--output", out / "accuracy.json")
    run("stage", "evaluate", "similarity", *common, "--source", test, "--output", out / "similarity.json")
    run("stage", "evaluate", "cycle-of-images", "--back", out / "back.lmdb", "--output", out / "cycle.json")
    stores = [w for k in ("latents", "translated", "back") for w in (f"--{k}", out / f"{k}.lmdb")]
    run("stage", "figure", "translations", "--source", test, *stores, "--output", out / "grid.png")


@pytest.fixture(scope="module")
def translated(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("translated")
    translate(made, out, "3-8", parts=2)
    return out


def values(file: Path) -> dict[str, float]:
    return artifacts.read_json(file)["values"]


def test_names_say_source_target_and_image(made: Path, translated: Path) -> None:
    images, test = ImageStore(translated / "translated.lmdb"), ImageStore(made / "digits/test.lmdb")
    items = images.array("item")
    assert test.labels is not None
    assert test.names is not None
    assert images.names == [f"3-to-8/{test.names[i]}" for i in items]
    assert (test.labels[items] == 3).all()
    assert len(images) == 6
    assert images.card["made_by"]["settings"]["sample"]["nfe"] == 4 + 2


def test_translations_are_verified_against_their_settings(
    translated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a result records beside its settings, such as calls, is no other setting."""
    monkeypatch.chdir(tmp_path)
    for name in ("3-8", "1-7"):
        file = Path(f"results/ddib/classes/{name}/translated.lmdb")
        file.parent.mkdir(parents=True)
        file.write_bytes((translated / "translated.lmdb").read_bytes())
        assert verifying.is_sound(file, RESOLVED, {}) == (name == "3-8")
    assert (
        "made under another configuration: source differs (results/ddib/classes/1-7"
        in capsys.readouterr().err
    )


def test_back_from_the_pair_is_exact(translated: Path) -> None:
    found = values(translated / "cycle.json")
    assert found["pair_max"] < 1e-3 < found["uint8_mean"]
    # DVC rounds to 5 decimals, logarithms show more; so few steps return to the last bit, which has none
    assert found["pair_max"] > 0 or found["pair_log10_max"] is None
    assert found["image_log10_max"] == pytest.approx(np.log10(found["image_max"]), abs=1e-5)
    assert found["pair_mean"] <= found["image_mean"] <= found["uint8_mean"]


def test_metrics(translated: Path) -> None:
    assert {"fid", "kid", "fid_source", "fid_real", "kid_real"} <= set(values(translated / "fid.json"))
    assert 0 <= values(translated / "accuracy.json")["accuracy"] <= 1
    similarity = values(translated / "similarity.json")
    assert similarity["psnr_gain_random"] == pytest.approx(
        similarity["psnr"] - similarity["psnr_random"], abs=1e-6
    )
    assert (
        similarity["distance_gain_other_low"]
        < similarity["distance_gain_other"]
        < similarity["distance_gain_other_high"]
    )
    assert similarity["psnr_low"] < similarity["psnr"] < similarity["psnr_high"]
    table = translated / "table.csv"
    metrics = [translated / f"{name}.json" for name in ("fid", "accuracy", "similarity", "cycle")]
    run("stage", "table", *metrics, "--csv", table, "--markdown", translated / "table.md")
    assert "ddib/classes/" in table.read_text()
    assert (translated / "grid.png").stat().st_size > 1000


def test_published_translation_keeps_no_pair(made: Path, tmp_path: Path) -> None:
    translate(made, tmp_path, "3-8-published", parts=1)
    assert "pair_mean" not in values(tmp_path / "cycle.json")
    assert ImageStore(tmp_path / "states.lmdb")[0].shape == (1, 3, 16, 16)


def test_checkpoints_of_the_models_and_of_the_guide(made: Path, tmp_path: Path) -> None:
    """Of a model for both classes, and of the classifier, beside other weights of the same experiments."""
    for name in ("model/conditional", "guide/digits"):
        folder = tmp_path / "results" / name
        shutil.copytree(made / "results" / name, folder)
        early = model(tmp_path / "early", name, TEN, seed=1) / "model.safetensors"
        (folder / "checkpoints").mkdir()
        early.rename(folder / "checkpoints" / ("best.safetensors" if "guide" in name else "2.safetensors"))
    settings = RESOLVED.stages("ddib/classes/3-8")["sample"]
    settings["sample"] |= {"checkpoint": 2, "guide_weights": {"checkpoint": "best"}, "count": 2}
    artifacts.write_json(tmp_path / "sample.json", settings)
    stores = [
        word for k in ("translated", "latents", "states") for word in (f"--{k}", tmp_path / f"{k}.lmdb")
    ]
    networks = ["--source-model", tmp_path / "results/model/conditional"]
    networks += ["--target-model", networks[1], "--guide", tmp_path / "results/guide/digits"]
    data = ["--config", tmp_path / "sample.json", "--data", made / "digits/test.lmdb"]
    run("stage", "translate-classes", *data, *networks, *stores)
    made_by = ImageStore(tmp_path / "translated.lmdb").card["made_by"]
    for key, file in (
        ("model", "model/conditional/checkpoints/2"),
        ("target_model", "model/conditional/checkpoints/2"),
        ("guide", "guide/digits/checkpoints/best"),
    ):
        card = artifacts.load_card(tmp_path / f"results/{file}.safetensors")
        assert made_by[key] == card[artifacts.CONTENT]


# folders


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Five images of several sizes and kinds, two folders deep."""
    rng = np.random.default_rng(0)
    for i, name in enumerate(["a.png", "b.jpg", "in/c.png", "in/d.bmp", "in/deep/e.png"]):
        pixels = rng.integers(0, 256, (20 + i, 16 + 3 * i, 3), dtype=np.uint8)
        file = tmp_path / "photos" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(file)
    return tmp_path / "photos"


def words(made: Path, photos: Path, output: Path, *more: object) -> list[str]:
    fixed = ["--input", photos, "--output", output, "--model", made / "results/model/conditional"]
    ends = ["--class-a", "3", "--class-b", "8", "--steps", "4", "--batch-size", "2", "--threads", "1"]
    return [str(word) for word in ("translate", *fixed, *ends, *more)]


def pictures(folder: Path) -> dict[str, bytes]:
    return {f.relative_to(folder).as_posix(): f.read_bytes() for f in folder.rglob("*.png")}


NAMES = {"a.png", "b.png", "in/c.png", "in/d.png", "in/deep/e.png"}


def test_folder_in_one_process_and_in_two(made: Path, photos: Path, tmp_path: Path) -> None:
    verb, context = str(Path(sys.executable).parent / "bridgepipe"), Project(tmp_path).context()
    context["env"]["CUDA_VISIBLE_DEVICES"] = ""  # two processes take two GPUs or none
    for name, count in (("one", 1), ("two", 2)):
        line = words(made, photos, tmp_path / name, "--side-by-side", "--processes", count)
        done = subprocess.run([verb, *line], check=False, **context)
        assert done.returncode == 0, done.stderr[-3000:]
    alone = pictures(tmp_path / "one")
    assert set(alone) == NAMES | {f"side-by-side/{name}" for name in NAMES}
    with Image.open(tmp_path / "one/side-by-side/a.png") as both:
        assert both.size == (32, 16)
    assert pictures(tmp_path / "two") == alone


def test_folder_with_all_times_and_noise(
    made: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in photos.iterdir():
        if folder.name != "a.png":
            shutil.rmtree(folder) if folder.is_dir() else folder.unlink()
    for name, more in (("a", ["--seed", "1"]), ("b", ["--seed", "1"]), ("c", ["--seed", "2"])):
        run(*words(made, photos, tmp_path / name, "--eta", "1", *more))
    a, b, c = (pictures(tmp_path / name) for name in "abc")
    assert a == b != c
    asked: list[Any] = []
    monkeypatch.setattr(translating, "translate", lambda *given: asked.append(given[3]))
    run(*words(made, photos, tmp_path / "all", "--steps", "all"))
    assert asked[0].respacing == ""


def test_folder_that_is_stretched_loses_no_border(made: Path, photos: Path, tmp_path: Path) -> None:
    run(*words(made, photos, out := tmp_path / "out", "--side-by-side", "--crop", "stretch"))
    for name in ("a.png", "in/c.png"):
        shown = images.read_photo(out / "side-by-side" / name)[:, :16]
        assert np.array_equal(shown, images.fit(images.decode(photos / name), 16, "stretch"))


def test_folder_goes_on_where_it_stopped(made: Path, photos: Path, tmp_path: Path) -> None:
    run(*words(made, photos, tmp_path / "out"))
    before = pictures(tmp_path / "out")
    times = {name: (tmp_path / "out" / name).stat().st_mtime_ns for name in before}
    (tmp_path / "out/in/deep/e.png").unlink()
    run(*words(made, photos, tmp_path / "out"))
    assert pictures(tmp_path / "out") == before
    changed = [n for n, time in times.items() if (tmp_path / "out" / n).stat().st_mtime_ns != time]
    assert changed == ["in/deep/e.png"]


@pytest.mark.parametrize(
    "spelling", ["uniform", "uniform-leading", "uniform-trailing", "uniform-linspace", "quad"]
)
def test_every_spelling(made: Path, photos: Path, tmp_path: Path, spelling: str) -> None:
    run(*words(made, photos, tmp_path / "out", "--respace-type", spelling))
    assert set(pictures(tmp_path / "out")) == NAMES


def refusal(capsys: pytest.CaptureFixture[str], line: list[str]) -> str:
    with pytest.raises(AssertionError):
        run(*line)
    return capsys.readouterr().err


def test_folder_refusals(
    made: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    run(*words(made, photos, out))
    for other in (["--scale", "1"], ["--crop", "stretch"]):
        assert "under other settings" in refusal(capsys, words(made, photos, out, *other))
    unknown = words(made, photos, tmp_path / "x", "--crop", "squeeze")
    assert "not one of 'adm', 'torchvision', 'stretch'" in refusal(capsys, unknown)
    unknown = words(made, photos, tmp_path / "x", "--class-b", "cat")
    assert "no class 'cat'" in refusal(capsys, unknown)
    guided = words(made, photos, tmp_path / "x", "--guide", made / "results/guide/digits")
    assert "guides nothing" in refusal(capsys, guided)
    (photos / "a.jpg").write_bytes((photos / "b.jpg").read_bytes())
    assert "a.jpg and a.png have one name" in refusal(capsys, words(made, photos, tmp_path / "x"))
    (photos / "a.jpg").unlink()
    (photos / "b.jpg").write_bytes(b"no image")
    assert "cannot be read" in refusal(capsys, words(made, photos, tmp_path / "y"))


def test_no_translation_is_translated_and_no_original_replaced(
    made: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    originals = {f: f.read_bytes() for f in photos.rglob("*") if f.is_file()}
    (tmp_path / "link").symlink_to(photos)
    for inside in (photos, photos / "out", tmp_path / "link", tmp_path / "link/new/out"):
        line = refusal(capsys, words(made, photos, inside))
        assert "which is an input" in line or "would be taken for" in line
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/a.png").write_bytes((photos / "a.png").read_bytes())
    assert "did not make" in refusal(capsys, words(made, photos, tmp_path / "mine"))
    assert {f: f.read_bytes() for f in photos.rglob("*") if f.is_file()} == originals
    assert [f.name for f in (tmp_path / "mine").iterdir()] == ["a.png"]


def test_an_image_that_changed_is_translated_again(made: Path, photos: Path, tmp_path: Path) -> None:
    run(*words(made, photos, tmp_path / "out"))
    before = (tmp_path / "out/a.png").read_bytes()
    (photos / "a.png").write_bytes((photos / "b.jpg").read_bytes())
    run(*words(made, photos, tmp_path / "out"))
    assert (tmp_path / "out/a.png").read_bytes() != before


# two networks


def test_translation_needs_no_data_of_the_target(tmp_path: Path) -> None:
    """There and back by both models, while the target's images are nowhere and nothing makes them."""
    project = Project.create(tmp_path / "project")
    project.write(PARAMS)
    for path, content in RESOLVED.stage_files().items():  # which is older than what was made from it
        artifacts.write_json(project.folder / path, content)
    data = project.folder / "data/prepared"
    digits.prepare_classes(data / "digits-16-low", classes=[0, 1, 2, 3, 4], size=16, progress=False)
    for name, classes in (("digits-low", TEN[:5]), ("digits-high", TEN[5:])):
        model(project.folder / "results", f"model/{name}", classes, seed=int(classes[0]))
    folder = "results/ddib/classes/3-8-separate"
    project.snakemake("--", f"{folder}/translated.lmdb", f"{folder}/cycle.json")
    images = ImageStore(project.folder / folder / "translated.lmdb")
    assert images.card["made_by"]["target_label"] == 3  # 8 is the fourth class of its network
    assert len(images) == 6
    assert values(project.folder / folder / "cycle.json")["pair_max"] < 1e-3
    assert {f.parent.name for f in data.rglob("*.lmdb")} == {"digits-16-low"}
    assert not (project.folder / "results/model/digits-high/train").exists()


# pairs


@pytest.fixture
def pairs(made: Path, tmp_path: Path) -> Project:
    """A project with an experiment of two pairs, whose models are trained and whose data are prepared."""
    project = Project.create(tmp_path / "project")
    project.write(PARAMS)
    mine = {"scales": ["demo"], "pairs": {"3": 8, "8": 3}, "cycle": 2}
    project.edit(lambda values: values["experiments"]["ddib/classes"].update(mine=mine))
    for path, content in config.Resolved(project.params).stage_files().items():
        artifacts.write_json(project.folder / path, content)
    for source, place in (
        ("digits", "data/prepared/digits-16"),
        ("classifier.safetensors", "data/checkpoints/digits-16-classifier.safetensors"),
        ("results/model/conditional", "results/model/conditional"),
        ("results/guide/digits", "results/guide/digits"),
    ):
        for file in filter(Path.is_file, [made / source, *sorted((made / source).rglob("*"))]):
            copy = project.folder / place / file.relative_to(made / source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
    return project


def test_pairs_of_one_experiment_are_one_job_and_as_those_of_their_own(
    pairs: Project, translated: Path
) -> None:
    table = "results/ddib/classes/mine/table.csv"
    planned = pairs.planned(table)
    assert "translate_pairs_of_mine" in planned
    assert not {"translate", "train", "prepare", "train_classifier"} & planned
    pairs.snakemake("--", table)
    assert pairs.planned(table) == set()
    rows = (pairs.folder / table).read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == [
        "experiment",
        "ddib/classes/mine.3-8",
        "ddib/classes/mine.8-3",
    ]
    folder = pairs.folder / "results/ddib/classes"
    assert {f.name for f in (folder / "mine.8-3").glob("*.lmdb")} >= {"translated.lmdb", "back.lmdb"}
    assert values(folder / "mine.8-3/cycle.json")["pair_max"] < 1e-3
    own, one = (ImageStore(f / "translated.lmdb") for f in (translated, folder / "mine.3-8"))
    assert own.names == one.names
    assert all((own[i] == one[i]).all() for i in range(6))


def test_pairs_go_on_where_a_killed_job_stopped(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill in the second pair costs no image of the first."""
    words: list[object] = ["--source-model", made / "results/model/conditional"]
    words += ["--guide", made / "results/guide/digits", "--data", made / "digits/test.lmdb"]
    for one, (source, target) in (("a", (3, 8)), ("b", (8, 3))):
        how = RESOLVED.stages("ddib/classes/3-8")["sample"] | {"source": source, "target": target}
        artifacts.write_json(tmp_path / f"{one}.json", how)
        words += ["--config", tmp_path / f"{one}.json"]
        for kind in ("translated", "latents", "states"):
            words += [f"--{kind}", tmp_path / f"{kind}-{one}.lmdb"]
    translated_by, done = translation._translated, []

    def counted(translator: Any, images: Any, items: Any) -> Any:
        if len(done) == 1:
            raise KeyboardInterrupt
        done.append((translator.labels, len(items)))
        return translated_by(translator, images, items)

    monkeypatch.setattr(translation, "_translated", counted)
    monkeypatch.setattr(sys, "argv", ["bridgepipe", "stage", "translate-classes", *map(str, words)])
    with pytest.raises((SystemExit, KeyboardInterrupt)):
        cli.main()
    assert [labels for labels, _ in done] == [(3, 8)]
    done.append("the kill")
    run("stage", "translate-classes", *words)
    assert [labels for labels, _ in done[2:]] == [(8, 3)]
    monkeypatch.undo()
    kinds = [tmp_path / f"{kind}-{one}.lmdb" for kind in ("translated", "states") for one in "ab"]
    digests = [ImageStore(store).digest for store in kinds]
    for store in kinds:
        store.unlink()
    run("stage", "translate-classes", *words)
    assert [ImageStore(store).digest for store in kinds] == digests
    with pytest.raises(AssertionError):
        run("stage", "translate-classes", *words[:-2])
