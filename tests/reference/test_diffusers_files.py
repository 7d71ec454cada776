"""Folders as diffusers writes them, in shards and in variants, against what diffusers reads from them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bridgepipe.downloads import repository
from bridgepipe.errors import UserError
from bridgepipe.names.origins import UNET
from bridgepipe.networks import layouts
from tests.reference.test_diffusers import DDPM_TINY, UNet2DModel, ours, theirs

SHARDS: dict[str, Any] = {"max_shard_size": "300KB"}
INDEX = f"{UNET}.safetensors.index.json"
FIRST = f"{UNET}-00001-of-"


def written(folder: Path, change: float = 0.0, **how: Any) -> Path:
    """A small network as ``save_pretrained`` writes it, its weights moved by ``change``."""
    network = theirs(DDPM_TINY)
    with torch.no_grad():
        for value in network.parameters():
            value += change
    network.save_pretrained(folder, **how)
    return folder


def first_shard(folder: Path) -> Path:
    return next(folder.glob(f"{FIRST}*"))


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
@pytest.mark.parametrize("variant", [None, "fp16", "non_ema"])
@pytest.mark.parametrize("parts", [SHARDS, {}], ids=["shards", "one file"])
def test_what_diffusers_writes_gives_the_same_outputs(
    parts: dict[str, Any], variant: str | None, kind: str, tmp_path: Path
) -> None:
    how = {**parts, "variant": variant, "safe_serialization": kind == "safetensors"}
    folder = written(tmp_path, **how)
    assert (len(list(folder.iterdir())) > 3) == bool(parts)
    expected = UNet2DModel.from_pretrained(
        folder, variant=variant, use_safetensors=kind == "safetensors"
    ).eval()
    found = layouts.open_weights(folder)
    network = ours(DDPM_TINY)
    network.load_state_dict(found.weights)
    x, t = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1)), torch.tensor([3, 700])
    with torch.no_grad():
        torch.testing.assert_close(network(x, t), expected(x, t).sample, rtol=1e-5, atol=1e-5)
    assert repository.lacking(folder) == []


def test_full_precision_is_taken_and_a_file_that_is_named_in_its_place(tmp_path: Path) -> None:
    full = layouts.open_weights(written(tmp_path / "full")).weights["conv_in.bias"]
    written(tmp_path / "half", 0.5, variant="fp16", **SHARDS)  # into a folder of its own: saving clears it
    folder = written(tmp_path / "both", 0.25, variant="non_ema")
    shutil.copytree(tmp_path / "half", folder, dirs_exist_ok=True)
    with pytest.raises(UserError, match="variants fp16 and non_ema"):
        layouts.open_weights(folder)
    shutil.copy(tmp_path / f"full/{UNET}.safetensors", folder)
    assert torch.equal(layouts.open_weights(folder).weights["conv_in.bias"], full)
    for name, change in (("non_ema.safetensors", 0.25), ("safetensors.index.fp16.json", 0.5)):
        found = layouts.open_weights(folder / f"{UNET}.{name}")
        torch.testing.assert_close(found.weights["conv_in.bias"], full + change)


def test_half_precision_becomes_single(tmp_path: Path) -> None:
    theirs(DDPM_TINY).half().save_pretrained(tmp_path, variant="fp16")
    assert {value.dtype for value in layouts.open_weights(tmp_path).weights.values()} == {torch.float32}


def test_the_digest_of_shards_is_of_every_one(tmp_path: Path) -> None:
    one = layouts.open_weights(written(tmp_path / "a", **SHARDS))
    other = layouts.open_weights(written(tmp_path / "b", 0.1, **SHARDS))
    assert one.file.read_bytes() == other.file.read_bytes()  # the index holds names alone
    assert one.sha256 != other.sha256
    assert one.sha256 == layouts.open_weights(tmp_path / "a").sha256


def _names(tensor: str, file: str) -> Callable[[Path], None]:
    def rewrite(folder: Path) -> None:
        content = json.loads((folder / INDEX).read_text())
        content["weight_map"][tensor] = file
        (folder / INDEX).write_text(json.dumps(content))

    return rewrite


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda p: first_shard(p).unlink(), f"{FIRST}"),
        (lambda p: (p / INDEX).unlink(), INDEX),
        (lambda p: (p / INDEX).write_text("{"), INDEX),
        (lambda p: first_shard(p).write_bytes(first_shard(p).read_bytes()[:-100]), FIRST),
        (_names("conv_in.bias", "../other.safetensors"), "no file of its folder"),
        (lambda p: _names("no.such", first_shard(p).name)(p), "it lacks no.such, against"),
        (lambda p: _names("conv_out.bias", first_shard(p).name)(p), "conv_out.bias, against"),
    ],
    ids=["no shard", "no index", "half an index", "half a shard", "a path", "a tensor", "another shard"],
)
def test_a_set_of_shards_that_is_not_whole_is_refused_by_name(
    spoil: Callable[[Path], Any], told: str, tmp_path: Path
) -> None:
    folder = written(tmp_path, **SHARDS)
    spoil(folder)
    with pytest.raises(UserError) as e:
        layouts.open_weights(folder)
    assert told in str(e.value)


def test_a_folder_that_lacks_shards_is_known_by_their_names(tmp_path: Path) -> None:
    folder = written(tmp_path, **SHARDS)
    gone = first_shard(folder)
    gone.unlink()
    assert repository.lacking(folder) == [gone.name]
    (folder / INDEX).unlink()
    assert repository.lacking(folder) == [INDEX]
