"""Weights from anywhere: every published layout as the import and as the start of a training."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from in_process import run
from safetensors.torch import save_file
from torch import Tensor

from bridgepipe import artifacts, config
from bridgepipe.config import read_yaml
from bridgepipe.config.stage_files import read_training
from bridgepipe.errors import UserError
from bridgepipe.methods.gaussian import Diffusion, network
from bridgepipe.methods.task import task_of
from bridgepipe.names import origins, released
from bridgepipe.names import unet2d as words
from bridgepipe.networks import layouts, mlp, unet2d
from bridgepipe.workflow.sources import Sources

ROOT = Path(__file__).parents[2]
ADM = {"model_channels": 32, "num_res_blocks": 1, "channel_mult": [1, 2], "attention_resolutions": [2]}
ADM |= {"num_heads": 1, "num_head_channels": 32, "use_scale_shift_norm": True, "resblock_updown": True}
DDPM = {"kind": "ddpm", "ch": 32, "num_res_blocks": 1, "attn_resolutions": [8], "ch_mult": [1, 2]}
DDPM |= {"dropout": 0.0}
SHAPE = (3, 16, 16)
Weights = dict[str, Tensor]


def tuples(section: dict[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in section.items() if k != "kind"}


def drawn(seed: int, kind: str = "ddpm", outputs: int = 3) -> Weights:
    process = {"variance": "learned_range"} if outputs == 6 else {}
    diffusion = Diffusion(SHAPE, config.gaussian.Process(**process))
    made = network(kind, diffusion, None, seed, **tuples(DDPM if kind == "ddpm" else ADM))  # type: ignore[arg-type]
    return {
        k: torch.randn(v.shape, generator=torch.Generator().manual_seed(seed))
        for k, v in made.state_dict().items()
    }


def points(seed: int) -> Weights:
    made = mlp.PointNet(model_channels=64, num_res_blocks=1)
    return {
        k: torch.randn(v.shape, generator=torch.Generator().manual_seed(seed))
        for k, v in made.state_dict().items()
    }


@cache
def stages(method: str) -> str:
    resolved = config.Resolved(read_yaml(ROOT / "params.yaml"))
    full = next(n for n in resolved.experiments if n.startswith(f"{method}/"))
    return json.dumps(resolved.stages(full)["train"])


def settings(method: str, folder: Path, **train: Any) -> Path:
    """Configuration of a training, of a network of the size of these tests."""
    stage = json.loads(stages(method))
    small = {"model": DDPM, "guide": ADM, "i2sb": ADM}.get(method)
    stage["network"] = small or {"kind": "points", "model_channels": 64, "num_res_blocks": 1}
    stage["train"] |= {"steps": 2, "batch_size": 2, **train}
    if method == "model":
        stage["process"] = {"T": 1000}
        stage["conditional"], stage["drop_labels"] = False, 0.0
    file = folder / "train.json"
    artifacts.write_json(file, stage)
    return file


def diffusers_folder(folder: Path, weights: Weights, old: bool = False, **scheduler: Any) -> Path:
    """A UNet2DModel with its scheduler, as save_pretrained writes them."""
    folder.mkdir(parents=True)
    section = {"kind": "ddpm", **tuples(DDPM)}
    theirs = unet2d.to_diffusers(weights, section)
    if old:
        pairs = [(f".{after}.", f".{before}.") for before, after in unet2d.OLD.items()]
        for after, before in pairs:
            theirs = {k.replace(after, before) if "attentions" in k else k: v for k, v in theirs.items()}
    artifacts.write_json(folder / "config.json", words.config_of(section, SHAPE, 3, None))
    artifacts.write_json(folder / "scheduler_config.json", scheduler)
    save_file({k: v.contiguous() for k, v in theirs.items()}, folder / "diffusion_pytorch_model.safetensors")
    return folder


def flat_pipeline_folder(folder: Path, weights: Weights) -> Path:
    """As those of Google, of the first days of diffusers, are."""
    diffusers_folder(folder, weights)
    artifacts.write_json(folder / "model_index.json", {"_class_name": "DDPMPipeline"})
    return folder


def pipeline_folder(folder: Path, weights: Weights) -> Path:
    diffusers_folder(folder / "unet", weights)
    (folder / "scheduler").mkdir()
    (folder / "unet/scheduler_config.json").rename(folder / "scheduler/scheduler_config.json")
    artifacts.write_json(folder / "model_index.json", {"_class_name": "DDPMPipeline"})
    return folder


def bin_folder(folder: Path, weights: Weights) -> Path:
    diffusers_folder(folder, weights, old=True)
    file = folder / "diffusion_pytorch_model.safetensors"
    torch.save(layouts._safetensors(file).weights, file.with_suffix(".bin"))
    file.unlink()
    return folder


def in_shards(folder: Path, weights: Weights) -> Path:
    """The weights in two files and an index, as save_pretrained writes them with max_shard_size."""
    whole = diffusers_folder(folder, weights) / "diffusion_pytorch_model.safetensors"
    tensors = layouts._safetensors(whole).weights
    names = [f"diffusion_pytorch_model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    shard = {tensor: names[i % 2] for i, tensor in enumerate(tensors)}
    for name in names:
        save_file({k: v for k, v in tensors.items() if shard[k] == name}, folder / name)
    artifacts.write_json(folder / f"{whole.name}.index.json", {"metadata": {}, "weight_map": shard})
    whole.unlink()
    return folder


def half_folder(folder: Path, weights: Weights) -> Path:
    whole = diffusers_folder(folder, weights) / "diffusion_pytorch_model.safetensors"
    whole.rename(whole.with_suffix(".fp16.safetensors"))
    return folder


def torch_file(file: Path, content: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, file)
    return file


def guided_folder(folder: Path, weights: Weights) -> Path:
    """The logs of guided-diffusion: the averages of the most steps are meant."""
    other = {k: v + 1 for k, v in weights.items()}
    for name in ("model010000", "model020000", "opt020000", "ema_0.9999_010000"):
        torch_file(folder / f"{name}.pt", other)
    torch_file(folder / "ema_0.9999_020000.pt", weights)
    return folder


def ddim_folder(folder: Path, weights: Weights) -> Path:
    raw = {f"module.{k}": v + 1 for k, v in weights.items()}
    torch_file(folder / "ckpt.pth", [raw, {}, 3, 5000, weights])
    return folder


def i2sb_folder(folder: Path, weights: Weights) -> Path:
    raw = {f"diffusion_model.{k}": v + 1 for k, v in weights.items()}
    shadow = {
        "decay": 0.99,
        "num_updates": 5,
        "shadow_params": list(weights.values()),
        "collected_params": None,
    }
    torch_file(folder / "latest.pt", {"net": raw, "ema": shadow, "optimizer": {}, "sched": {}})
    return folder


def ours(folder: Path, weights: Weights) -> Path:
    artifacts.save_tensors(folder / "model.safetensors", weights, {"kind": "model"})
    return folder


Layout = tuple[str, Callable[[Path, Weights], Path], Callable[[int], Weights]]
LAYOUTS: dict[str, Layout] = {
    "a diffusers folder": ("model", diffusers_folder, drawn),
    "a diffusers folder with the old names": ("model", lambda f, w: diffusers_folder(f, w, old=True), drawn),
    "a diffusers pipeline": ("model", pipeline_folder, drawn),
    "a diffusers pipeline without folders": ("model", flat_pipeline_folder, drawn),
    "diffusers' file of pickles": ("model", bin_folder, drawn),
    "diffusers' shards": ("model", in_shards, drawn),
    "a variant of diffusers": ("model", half_folder, drawn),
    "a DDPM state dict": ("model", lambda f, w: torch_file(f / "model-790000.ckpt", w), drawn),
    "a DDIM checkpoint": ("model", ddim_folder, drawn),
    "a folder of this project": ("model", ours, drawn),
    "the logs of guided-diffusion": ("model", guided_folder, drawn),
    "an I2SB release": ("i2sb", i2sb_folder, lambda seed: drawn(seed, "adm")),
    "points of DDIB": (
        "ddib/sample",
        lambda f, w: torch_file(f / "log2D0/model010000.pt", w).parents[1],
        points,
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_is_imported_and_is_where_a_training_starts(name: str, tmp_path: Path) -> None:
    method, write, draw = LAYOUTS[name]
    weights = draw(3)
    place = write(tmp_path / "theirs", weights)
    told = ["--size", 16] if method == "model" else ["--domain", "moons"] if method == "ddib/sample" else []
    stage, output = settings(method, tmp_path), tmp_path / "model.safetensors"
    run("stage", "import-weights", place, "--config", stage, *told, "--output", output)
    found, card = artifacts.load_tensors(output)
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[k], weights[k]) for k in weights)
    assert card["config"] == read_training(stage).as_json()

    begin = read_training(settings(method, tmp_path, init=str(place)))
    task = task_of(begin, _data(method), None, None)
    state = task.network.state_dict()
    assert all(torch.equal(state[k], weights[k]) for k in weights)
    assert task.card["init"] == card["imported_sha256"]


@pytest.mark.parametrize("named", ["hf:somebody/ddpm", "results/model/theirs", "model/theirs"])
def test_weights_are_imported_by_the_names_that_settings_take(
    named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    weights = drawn(3)
    diffusers_folder(Path("data/hub/somebody/ddpm"), weights)
    Path("results/model").mkdir(parents=True)
    ours(Path("results/model/theirs"), weights)
    stage = settings("model", tmp_path)
    run("stage", "import-weights", named, "--config", stage, "--size", 16, "--output", "model.safetensors")
    assert torch.equal(
        artifacts.load_tensors("model.safetensors")[0]["conv_in.weight"], weights["conv_in.weight"]
    )


class _Images:
    """Training images as far as a task reads them."""

    image_size, labels, classes, digest, path = (16, 16), None, None, "", Path("images")


class _Points:
    dim, digest, card = 2, "", {"made_by": {"domain": "moons"}}


def _data(method: str) -> Any:
    return _Points() if method == "ddib/sample" else _Images()


def test_i2sb_begins_with_adm_or_with_itself(tmp_path: Path) -> None:
    """ADM's variance half goes; weights of I2SB's own, with no such half, are taken whole."""
    for outputs in (6, 3):
        weights = drawn(5, "adm", outputs)
        place = torch_file(tmp_path / f"{outputs}.pt", weights)
        begin = read_training(settings("i2sb", tmp_path, init=str(place)))
        state = task_of(begin, _Images(), None, None).network.state_dict()
        assert torch.equal(state["out.2.weight"], weights["out.2.weight"][:3])


@pytest.mark.parametrize(
    ("scheduler", "told"),
    [
        ({"prediction_type": "v_prediction"}, "process.prediction v, the experiment eps"),
        ({"beta_schedule": "squaredcos_cap_v2"}, "process.schedule cosine, the experiment linear"),
        (
            {"num_train_timesteps": 100, "beta_start": 1e-3, "beta_end": 0.2},
            "process.T 100, the experiment 1000",
        ),
        ({"beta_end": 0.012}, "betas from 0.0001 to 0.012 in 1000 steps"),
    ],
)
def test_another_process_than_the_experiments_is_refused(
    scheduler: dict[str, Any], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = diffusers_folder(tmp_path / "theirs", drawn(3), **scheduler)
    output = tmp_path / "model.safetensors"
    with pytest.raises(SystemExit):
        run(
            "stage",
            "import-weights",
            place,
            "--config",
            settings("model", tmp_path),
            "--size",
            16,
            "--output",
            output,
        )
    assert told in capsys.readouterr().err
    assert not output.exists()


def test_the_size_of_a_model_of_images_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place, output = diffusers_folder(tmp_path / "theirs", drawn(3)), tmp_path / "model.safetensors"
    with pytest.raises(SystemExit):
        run("stage", "import-weights", place, "--config", settings("model", tmp_path), "--output", output)
    assert "(--size): give it, in pixels" in capsys.readouterr().err
    assert not output.exists()


def _without(name: str) -> Callable[[Path], None]:
    def remove(place: Path) -> None:
        file = place / "diffusion_pytorch_model.safetensors"
        weights = layouts._safetensors(file).weights
        save_file({k: v for k, v in weights.items() if k != name}, file)

    return remove


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (
            lambda p: (p / "diffusion_pytorch_model.safetensors").unlink(),
            "diffusion_pytorch_model.safetensors",
        ),
        (lambda p: (p / "config.json").write_text("{"), "config.json"),
        (_without("mid_block.attentions.0.to_q.weight"), "mid_block.attentions.0.to_q.weight is missing"),
        (
            lambda p: artifacts.write_json((p / "scheduler_config.json").rename(p / "model_index.json"), {}),
            "scheduler_config.json",
        ),
        (
            lambda p: (p / "diffusion_pytorch_model.safetensors").write_bytes(b"half"),
            "damaged or foreign file",
        ),
    ],
    ids=["no weights", "half a config", "a tensor lacks", "half a pipeline", "half a file"],
)
def test_a_half_cached_folder_is_refused_by_name(
    spoil: Callable[[Path], Any], told: str, tmp_path: Path
) -> None:
    place = diffusers_folder(tmp_path / "theirs", drawn(3))
    spoil(place)
    with pytest.raises(UserError) as e:
        layouts.open_weights(place)
    assert told in str(e.value)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
WHOLE = "diffusion_pytorch_model.safetensors"
# how weights that a person put there are spoilt, and the file that is named
PARTS: dict[str, tuple[Callable[[Path, Weights], Path], Callable[[Path], Any], str]] = {
    "half a file": (diffusers_folder, lambda p: cut(p / WHOLE), f"{WHOLE}): get it again"),
    "half of a pipeline": (pipeline_folder, lambda p: cut(p / f"unet/{WHOLE}"), f"unet/{WHOLE}): get"),
    "a pointer": (
        diffusers_folder,
        lambda p: (p / WHOLE).write_bytes(POINTER),
        f"{WHOLE}): run `git lfs pull`",
    ),
    "a shard": (in_shards, lambda p: min(p.glob("*-of-*")).unlink(), "00001-of-00002.safetensors): get"),
    "half a shard": (in_shards, lambda p: cut(max(p.glob("*-of-*"))), "00002-of-00002.safetensors): get"),
    "half a header": (
        ours,
        lambda p: (p / "model.safetensors").write_bytes(b"half"),
        "model.safetensors): get",
    ),
    "half of a pickle": (i2sb_folder, lambda p: cut(p / "latest.pt"), "latest.pt): get it again, whole"),
}


@pytest.mark.parametrize("name", PARTS)
def test_a_part_of_weights_is_refused_before_the_first_job(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    put, spoil, told = PARTS[name]
    place = put(Path("theirs"), drawn(3))
    values = read_yaml(ROOT / "params.yaml")
    values["experiments"]["model"]["mine"] = {"train": {"init": "theirs"}}
    sources = Sources(config.Resolved(values), plans=False)
    assert "theirs" in sources.start_files("model/mine")
    spoil(place)
    with pytest.raises(SystemExit):
        sources.start_files("model/mine")
    assert told in capsys.readouterr().err


def test_several_averages_of_the_same_steps_are_not_guessed_between(tmp_path: Path) -> None:
    for rate in ("0.999", "0.9999"):
        torch_file(tmp_path / f"ema_{rate}_010000.pt", {})
    with pytest.raises(
        UserError, match=r"ema_0.9999_010000.pt and ema_0.999_010000.pt|are of the same steps"
    ):
        layouts.open_weights(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no weights in it"):
        layouts.open_weights(tmp_path / "empty")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("google/ddpm-cifar10-32", "data/hub/google/ddpm-cifar10-32"),
        ("hf:google/ddpm-cifar10-32", "data/hub/google/ddpm-cifar10-32"),
        ("hf:me/mine@v1.2", "data/hub/me/mine@v1.2"),
        ("i2sb/jpeg-5", "data/checkpoints/i2sb/jpeg-5"),
        ("results/i2sb/jpeg-5", "results/i2sb/jpeg-5/model.safetensors"),
        ("results/i2sb/jpeg-5/model.safetensors", "results/i2sb/jpeg-5/model.safetensors"),
        ("model/plain", "results/model/plain/model.safetensors"),
        ("ddib/sample/moons", "results/ddib/sample/moons/model.safetensors"),
        ("./model/plain", "model/plain"),
        ("model/plain.pt", "model/plain.pt"),
        ("/weights/a.ckpt", "/weights/a.ckpt"),
    ],
)
def test_a_text_names_one_place(text: str, place: str) -> None:
    from bridgepipe.downloads import sources

    assert sources.place_of(text) == Path(place)


def test_the_workflow_waits_for_the_weights_it_starts_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    values = read_yaml(ROOT / "params.yaml")
    resolved = config.Resolved(values)
    # repeats with other seeds are no entries of the file
    first, second = [
        f"model/{n}" for n in values["experiments"]["model"] if f"model/{n}" in resolved.experiments
    ][:2]

    def starting(text: str) -> dict[str, Any]:
        changed = json.loads(json.dumps(values))
        section = changed["experiments"]["model"][second.removeprefix("model/")]
        section.setdefault("train", {})["init"] = text
        return changed

    found = Sources(config.Resolved(starting(first)), plans=False)
    assert found.start_files(second) == [f"results/{first}/model.safetensors"]
    found = Sources(config.Resolved(starting("hf:me/mine")), plans=False)
    assert found.start_files(second) == ["data/hub/me/mine"]
    assert found.published_files(folders=True)["hub/me/mine"] == "hf:me/mine"
    assert "hub/me/mine" not in found.published_files(folders=False)

    for text, told in (
        (second, "would begin with its own weights"),
        ("model/nothing", "unknown source 'model/nothing'"),
        ("hf:mine", "is no network of a hub"),
        ("hf:datasets/me/mine", "is no network of a hub"),
    ):
        with pytest.raises(UserError, match=told):
            config.Resolved(starting(text))
    circle = starting(first)
    circle["experiments"]["model"][first.removeprefix("model/")].setdefault("train", {})["init"] = second
    with pytest.raises(UserError, match="would begin with its own weights"):
        config.Resolved(circle)


def test_experiments_are_those_that_have_a_network() -> None:
    with_network = {
        m
        for m, kind in config.METHODS.items()
        if "train" in kind.model_fields and "network" in kind.model_fields
    }
    assert set(origins.METHODS) == with_network


def test_lists_of_a_card_are_those_of_the_experiment_that_wrote_them() -> None:
    """JSON has lists where settings have tuples: what was trained here is imported, too."""
    network = {"kind": "adm", **tuples(ADM)}
    whole = {"dataset": "digits", "network": network, "train": {"steps": 1}}
    settings = config.Model.model_validate(whole)
    told = {"network.channel_mult": [1, 2], "network.attention_resolutions": [2]}
    assert not list(released.Weights("", {}, told).differences(settings))
    (other,) = released.Weights("", {}, {**told, "network.channel_mult": [1, 3]}).differences(settings)
    assert other == ("network.channel_mult", "[1, 3]", "[1, 2]")
