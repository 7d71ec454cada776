"""A trained network as a folder for others: diffusers reads it, we read it, and a hub keeps it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from in_process import run
from PIL import Image

from bridgepipe import artifacts, config
from bridgepipe.config.gaussian import ModelTraining
from bridgepipe.config.stage_files import parsed_stage, read_training
from bridgepipe.errors import UserError
from bridgepipe.evaluation import vision
from bridgepipe.methods.gaussian import Diffusion, network
from bridgepipe.methods.trained import Trained, load_model
from bridgepipe.names import unet2d as words

assert vision.torchvision  # diffusers imports it, too
from diffusers import DDPMPipeline, UNet2DModel  # noqa: E402

SHAPE = (3, 16, 16)
DDPM = {"kind": "ddpm", "ch": 32, "num_res_blocks": 1, "attn_resolutions": [8], "ch_mult": [1, 2]}
ADM = {"kind": "adm", "model_channels": 32, "num_res_blocks": 1, "channel_mult": [1, 2], "num_heads": 2}
ADM |= {"attention_resolutions": [2]}
KINDS: dict[str, dict[str, Any]] = {
    "ddpm": {"network": DDPM},
    "adm": {"network": ADM},
    "adm with classes": {"network": ADM, "conditional": True, "drop_labels": 0.1},
    "adm with a learned variance": {"network": ADM, "process": {"variance": "learned_range"}},
    "v": {"network": DDPM, "process": {"prediction": "v", "schedule": "cosine", "T": 100}},
}
ALONE: dict[str, dict[str, Any]] = {
    "heads of two widths": {"network": {**ADM, "attention_resolutions": [1, 2]}},
    "shortest path": {
        "network": DDPM,
        "process": {"schedule": "shortest_path", "c1": 1.59, "c2": 0.0086, "m": 2.0, "T": 100},
    },
}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def trained(about: dict[str, Any], name: str = "mine") -> Path:
    """Results of a model that was trained."""
    folder = Path("results/model") / name
    stage = {"method": "model", "dataset": "digits", "train": {"steps": 3}, **about}
    settings = parsed_stage(stage, folder, ModelTraining)
    artifacts.write_json(folder / "config/train.json", settings.as_json())
    diffusion = Diffusion(SHAPE, settings.process)
    labels = 3 if settings.conditional else None
    made = network(settings.network.kind, diffusion, labels, **settings.network.arguments)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    card = {"kind": "model", "shape": list(SHAPE), "config": settings.as_json(), "data": "d" * 64}
    card |= {"licences": {"a.png": "CC0-1.0"}}
    card |= {"class_names": ["zero", "one"]} if settings.conditional else {}
    artifacts.save_tensors(folder / "model.safetensors", made.state_dict(), card)
    return folder


def opened(folder: Path) -> Any:
    return load_model(Trained.within(folder), config.Runtime(device="cpu"))


@torch.no_grad()
def same(one: Any, other: Any) -> bool:
    x, t = torch.randn(2, *SHAPE), torch.tensor([3, 50])
    labels = None if one.classes is None else torch.tensor([0, 1])
    return torch.equal(one.bound(labels)(x, t), other.bound(labels)(x, t))


@pytest.mark.parametrize("kind", KINDS)
def test_diffusers_reads_what_is_shared_and_so_do_we(kind: str) -> None:
    before = opened(trained(KINDS[kind]))
    run("share", "model/mine", "--folder", "shared", "--licence", "MIT")
    them = UNet2DModel.from_pretrained("shared/unet")
    x, t = torch.randn(1, *SHAPE), torch.tensor([7])
    labels = None if before.classes is None else torch.tensor([1])
    with torch.no_grad():
        wanted = before.bound(labels)(x, t)
        found = them(x, t, *([] if labels is None else [labels])).sample
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    after = opened(Path("shared"))
    assert same(before, after)
    assert (after.classes, after.null, after.class_names) == (before.classes, before.null, before.class_names)
    assert after.diffusion == before.diffusion
    card = Path("shared/README.md").read_text()
    assert card.startswith('---\nlibrary_name: "diffusers"\nlicense: "mit"\n')
    assert "- a.png: CC0-1.0" in card
    assert "Dataset `digits`." in card


def test_a_pipeline_of_diffusers_draws_with_it() -> None:
    trained({"network": DDPM, "process": {"T": 100}})
    run("share", "model/mine", "--folder", "shared")
    pipeline = DDPMPipeline.from_pretrained("shared")
    assert pipeline.scheduler.config.num_train_timesteps == 100
    pipeline.set_progress_bar_config(disable=True)
    assert pipeline(num_inference_steps=2, output_type="np").images.shape == (1, 16, 16, 3)


@pytest.mark.parametrize("kind", ALONE)
def test_what_diffusers_lacks_is_a_folder_of_its_own(kind: str) -> None:
    before = opened(trained(ALONE[kind]))
    with pytest.raises(SystemExit):
        run("share", "model/mine", "--folder", "results/model/mine")
    run("share", "model/mine", "--folder", "shared")
    assert {f.name for f in Path("shared").iterdir()} == {"model.safetensors", "config.json", "README.md"}
    told = artifacts.read_json("shared/config.json")
    assert told["settings"] == read_training("results/model/mine/config/train.json").as_json()
    assert told["content"] == artifacts.load_card("shared/model.safetensors")[artifacts.CONTENT]
    assert same(before, opened(Path("shared")))


def test_only_a_bridge_is_rounded(capsys: pytest.CaptureFixture[str]) -> None:
    trained(KINDS["ddpm"])
    with pytest.raises(SystemExit):
        run("share", "model/mine", "--folder", "shared", "--precision", "bf16")
    assert "only a bridge is shared in bf16 (--precision)" in capsys.readouterr().err
    assert not Path("shared").exists()


def test_the_card_has_the_metrics_of_everything_that_used_the_model() -> None:
    trained({"network": DDPM})
    trained({"network": DDPM}, "other")
    metric = {
        "values": {"fid": 12.5, "n": 10},
        "protocol": {"n": 10, "extractor": "small"},
        "protocol_hash": "a",
    }
    for name, model in (("one", "mine"), ("two", "other")):
        artifacts.write_json(f"results/spd/{name}/config/sample.json", {"model": model})
        artifacts.write_json(f"results/spd/{name}/fid.json", metric)
    run("share", "model/mine", "--folder", "shared")
    card = Path("shared/README.md").read_text()
    assert "### spd/one/fid.json" in card
    assert "| fid | 12.5 |" in card
    assert '"extractor": "small"' in card
    assert "spd/two" not in card
    assert artifacts.read_json("shared/bridgepipe.json")["metrics"] == {"spd/one/fid.json": metric}


def diffusers_folder(folder: Path, **scheduler: Any) -> Path:
    values = words.config_of({"dropout": 0.0, **DDPM}, SHAPE, 3, None)
    torch.manual_seed(0)
    UNet2DModel.from_config(values).save_pretrained(folder)
    artifacts.write_json(folder / "scheduler_config.json", scheduler)
    return folder


def test_images_are_drawn_from_a_folder_of_diffusers() -> None:
    folder = diffusers_folder(Path("theirs"), num_train_timesteps=25, beta_start=0.004, beta_end=0.8)
    run("generate", "--model", folder, "--output", "out", "--num-images", 2, "--threads", 1)
    pictures = [np.asarray(Image.open(f)) for f in sorted(Path("out").glob("*.png"))]
    assert [p.shape for p in pictures] == [(16, 16, 3)] * 2
    assert not np.array_equal(*pictures)
    again = opened(folder)
    assert (again.process.T, again.classes) == (25, None)


def test_a_folder_is_translated_between_two_folders_of_diffusers() -> None:
    for name in ("a", "b"):
        diffusers_folder(Path(name))
    Path("photos").mkdir()
    Image.fromarray(np.full((16, 16, 3), 99, np.uint8)).save("photos/one.png")
    run(
        *("translate", "--input", "photos", "--output", "out", "--model", "a", "--target-model", "b"),
        *("--steps", 4, "--grid", "exact", "--threads", 1),
    )
    assert np.asarray(Image.open("out/one.png")).shape == (16, 16, 3)


def test_weights_that_tell_no_settings_are_refused() -> None:
    torch.save({"a": torch.zeros(1)}, "plain.pt")
    with pytest.raises(UserError, match="weights that tell no settings"):
        opened(Path("plain.pt"))


def test_only_whole_folders_with_a_card_are_pushed(capsys: pytest.CaptureFixture[str]) -> None:
    folder = diffusers_folder(Path("theirs"))
    for spoil, told in (
        (lambda: None, "no README.md in it"),
        ((folder / "diffusion_pytorch_model.safetensors").unlink, "diffusion_pytorch_model.safetensors"),
    ):
        spoil()
        with pytest.raises(SystemExit):
            run("push", folder, "me/mine")
        assert told in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:Use 'content")  # the library's own call of its client
def test_what_is_pushed_is_fetched_and_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    from tests.unit.hub_server import serving

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", "secret")
    before = opened(trained(KINDS["ddpm"]))
    run("share", "model/mine", "--folder", "shared")
    with serving() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        run("push", "shared", "me/mine")
        files = {f.relative_to("shared").as_posix() for f in Path("shared").rglob("*") if f.is_file()}
        assert hub.repositories["me/mine"].keys() == files
        assert same(before, opened(Path("hf:me/mine")))
    assert same(before, opened(Path("hf:me/mine")))  # it is here now
    assert json.loads(Path("data/hub/me/mine.fetched.json").read_text())["source"] == "hf:me/mine"
