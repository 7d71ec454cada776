"""Published files: what they hold arrives unchanged, and no pickle runs."""

from __future__ import annotations

import argparse
import builtins
import importlib
import io
import os
import pickle
import subprocess
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bridgepipe.errors import UserError
from bridgepipe.networks import adm, plain, published

SMALL: dict[str, Any] = {
    "model_channels": 32,
    "num_res_blocks": 1,
    "attention_resolutions": (2,),
    "channel_mult": (1, 1),
    "num_heads": 2,
}


class Call:
    """Pickles as a call of any function: what a malicious file is made of."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.function, self.arguments


# what the file asks for (old protocols use Python 2's name), and the value that asks
ATTACKS: dict[str, Callable[[str], tuple[str, Any]]] = {
    "system": lambda mark: ("posix.system", Call(os.system, f"touch {mark}")),
    "eval": lambda mark: ("builtins.eval", Call(builtins.eval, f"open({mark!r}, 'w')")),
    "exec": lambda mark: ("builtins.exec", Call(builtins.exec, f"open({mark!r}, 'w')")),
    "getattr": lambda mark: (
        "builtins.getattr",
        Call(getattr, Call(importlib.import_module, "os"), "system"),
    ),
    "open": lambda mark: ("io.open", Call(io.open, mark, "w")),
    "process": lambda mark: (r"(subprocess|commands)\.Popen", Call(subprocess.Popen, ["touch", mark])),
    "memory": lambda mark: ("builtins.bytearray", Call(bytearray, 2**50)),
    "torch": lambda mark: ("torch.serialization.load", Call(torch.load, mark)),
}


@pytest.fixture
def mark(tmp_path: Path) -> Any:
    """A path that an attack would create; it must not exist in the end."""
    path = tmp_path / "ran"
    yield str(path)
    assert not path.exists(), "the pickle ran"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("hide", [lambda x: x, lambda x: {"beta_max": [0.3, (x,)]}], ids=["bare", "nested"])
def test_malicious_options_are_refused_by_name(
    tmp_path: Path, mark: str, attack: str, hide: Any, protocol: int
) -> None:
    name, payload = ATTACKS[attack](mark)
    file = tmp_path / "options.pkl"
    file.write_bytes(pickle.dumps(hide(payload), protocol))
    with pytest.raises(UserError, match=rf"refused: .*{name}"):
        plain.read_options(file)


def test_malicious_value_inside_a_namespace(tmp_path: Path, mark: str) -> None:
    file = tmp_path / "options.pkl"
    options = argparse.Namespace(corrupt="jpeg-5", device=Call(os.system, f"touch {mark}"))
    file.write_bytes(pickle.dumps(options))
    with pytest.raises(UserError, match=r"posix\.system"):
        plain.read_options(file)


@pytest.mark.parametrize(
    "program",
    [b"cos\nsystem\n(S'touch %s'\ntR.", b"(S'touch %s'\nios\nsystem\n.", b"(cos\nsystem\nS'touch %s'\no."],
    ids=["REDUCE", "INST", "OBJ"],
)
def test_malicious_programs_written_by_hand(tmp_path: Path, mark: str, program: bytes) -> None:
    file = tmp_path / "options.pkl"
    file.write_bytes(program % mark.encode())
    with pytest.raises(UserError, match=r"refused: .*os\.system"):
        plain.read_options(file)
    with pytest.raises(UserError, match=r"refused: .*os\.system"):
        plain.read_checkpoint(file)


def test_options_cannot_alter_the_classes_of_this_process(tmp_path: Path) -> None:
    file = tmp_path / "options.pkl"
    # Namespace, then BUILD with (None, {"changed": 1}): sets an attribute on the class itself.
    file.write_bytes(b"cargparse\nNamespace\n(N(dS'changed'\nI1\nstb.")
    with pytest.raises(UserError, match="it holds a type"):
        plain.read_options(file)
    assert not hasattr(argparse.Namespace, "changed")


def i2sb_file(path: Path, cond_x1: bool = False, **save: Any) -> tuple[adm.UNet, list[Tensor]]:
    """A file like I2SB's latest.pt; returns the raw network and the averaged weights."""
    torch.manual_seed(0)
    network = adm.UNet(16, 6 if cond_x1 else 3, out_channels=3, **SMALL)
    shadow = [p.detach() + 1 for p in network.parameters()]
    optimizer = torch.optim.AdamW(network.parameters(), lr=5e-5)
    for p in network.parameters():
        p.grad = torch.ones_like(p)
    optimizer.step()
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1000, 0.99)
    net = OrderedDict((published.I2SB_PREFIX + k, v) for k, v in network.state_dict().items())
    ema = {"decay": 0.99, "num_updates": 7, "shadow_params": shadow, "collected_params": None}
    content = {"net": net, "ema": ema, "optimizer": optimizer.state_dict(), "sched": schedule.state_dict()}
    torch.save(content, path, **save)
    return network, shadow


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("cond_x1", [True, False])
def test_weights_of_i2sb_get_their_names(tmp_path: Path, cond_x1: bool, zipped: bool) -> None:
    file = tmp_path / "latest.pt"
    network, shadow = i2sb_file(file, cond_x1, _use_new_zipfile_serialization=zipped)
    raw, ema = published.i2sb_weights(file, "net"), published.i2sb_weights(file)
    assert list(raw) == list(ema) == [name for name, _ in network.named_parameters()]
    for name, value, averaged in zip(ema, network.state_dict().values(), shadow, strict=True):
        assert torch.equal(raw[name], value)
        assert torch.equal(ema[name], averaged)
    published.load(network, ema, file)


@pytest.mark.parametrize("save", [{}, {"_use_new_zipfile_serialization": False}, {"pickle_protocol": 4}])
@pytest.mark.parametrize("attack", ["system", "eval", "process", "torch"])
@pytest.mark.parametrize("place", ["net", "ema", "sched"])
def test_malicious_checkpoints_are_refused_by_name(
    tmp_path: Path, mark: str, attack: str, place: str, save: Any
) -> None:
    name, payload = ATTACKS[attack](mark)
    content = {"net": {"w": torch.ones(2)}, "ema": {"shadow_params": [torch.ones(2)]}, "sched": None}
    file = tmp_path / "latest.pt"
    torch.save(content | {place: {"inside": payload}}, file, **save)
    with pytest.raises(UserError, match=rf"refused: .*{name}"):
        published.i2sb_weights(file)


def test_malicious_pickle_under_the_name_of_a_checkpoint(tmp_path: Path, mark: str) -> None:
    file = tmp_path / "latest.pt"
    file.write_bytes(pickle.dumps(Call(os.system, f"touch {mark}")))
    with pytest.raises(UserError, match=r"posix\.system"):
        plain.read_weights(file)
    with zipfile.ZipFile(file, "a") as archive:  # a pickle in front, an innocent archive behind
        archive.writestr("archive/data.pkl", pickle.dumps({}))
    with pytest.raises(UserError, match="not a checkpoint"):
        plain.read_weights(file)


def test_options_arrive_as_plain_values(tmp_path: Path) -> None:
    values = {"corrupt": "jpeg-5", "beta_max": 0.3, "ot_ode": False, "gpu": None, "sizes": (1, [2, {3}])}
    file = tmp_path / "options.pkl"
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        namespace = argparse.Namespace(**values, ckpt_path=Path("results/jpeg-5"), odd=OrderedDict(a=1j))
        file.write_bytes(pickle.dumps(namespace, protocol))
        expected = values | {"ckpt_path": "results/jpeg-5", "odd": {"a": 1j}}
        assert plain.read_options(file) == expected
        file.write_bytes(pickle.dumps(values, protocol))
        assert plain.read_options(file) == values


def test_problem_of_i2sb_under_our_names() -> None:
    options = {"corrupt": "blur-uni", "beta_max": 1.0, "ot_ode": True, "n_gpu_per_node": 8}
    assert published.i2sb_problem(options) == {"corruption": "blur-uni", "beta_max": 1.0, "ot_ode": True}


def test_adm_arguments_fill_in_what_the_flags_imply() -> None:
    flags = {
        "image_size": 256,
        "num_channels": 256,
        "num_res_blocks": 2,
        "channel_mult": "",
        "learn_sigma": True,
        "class_cond": True,
        "attention_resolutions": "32,16,8",
        "num_heads": 4,
        "num_head_channels": 64,
        "num_heads_upsample": -1,
        "use_scale_shift_norm": True,
        "dropout": 0.0,
        "resblock_updown": True,
        "use_new_attention_order": False,
        "use_fp16": True,
    }
    arguments = published.adm_arguments(flags)
    wanted = published.ARCHITECTURES["adm_256x256_diffusion"][1]
    assert {k: arguments[k] for k in wanted if k != "attention_resolutions"} == {
        k: v for k, v in wanted.items() if k != "attention_resolutions"
    }
    assert set(arguments["attention_resolutions"]) == {8, 16, 32}
    with pytest.raises(UserError, match="size 96"):
        published.adm_arguments(flags | {"image_size": 96})


def adm_weights() -> dict[str, Tensor]:
    torch.manual_seed(0)
    weights = adm.UNet(16, 3, out_channels=6, **SMALL).state_dict()
    return {k: torch.randn(v.shape) * 0.1 for k, v in weights.items()}


@torch.no_grad()
def test_start_from_adm_is_adm_without_its_variance() -> None:
    weights, x, t = adm_weights(), torch.randn(2, 3, 16, 16), torch.tensor([1.0, 500])
    before = adm.UNet(16, 3, out_channels=6, **SMALL).eval()
    published.load(before, weights, "adm")
    after = adm.UNet(16, 3, out_channels=3, **SMALL).eval()
    published.load(after, published.i2sb_from_adm(weights), "i2sb")
    torch.testing.assert_close(after(x, t), before(x, t)[:, :3], rtol=0, atol=1e-5)
    wide = adm.UNet(16, 6, out_channels=3, **SMALL).eval()
    published.load(wide, published.i2sb_from_adm(weights, cond_x1=True), "i2sb")
    conditioned = torch.cat([x, torch.randn_like(x)], dim=1)
    torch.testing.assert_close(wide(conditioned, t), after(x, t), rtol=0, atol=1e-5)


def test_published_start_draws_the_new_channels() -> None:
    weights, key = adm_weights(), "input_blocks.0.0.weight"
    one, same, other = (
        published.i2sb_from_adm(weights, cond_x1=True, new_channels="published", seed=s)[key]
        for s in (0, 0, 1)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(one[:, :3], weights[key])
    bound = (6 * 9) ** -0.5
    assert 0.9 * bound < one[:, 3:].abs().max() <= bound
    assert abs(one[:, 3:].std().item() - bound / 3**0.5) < 0.01


def test_start_from_adm_needs_a_variance_half() -> None:
    weights = adm.UNet(16, 3, out_channels=3, **SMALL).state_dict()
    with pytest.raises(UserError, match="no variance half"):
        published.i2sb_from_adm(weights)


def test_other_files_are_refused_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "latest.pt"
    with pytest.raises(UserError, match="no such file"):
        plain.read_checkpoint(file)
    network, _ = i2sb_file(file)
    content = plain.read_checkpoint(file)
    del content["ema"]["shadow_params"][3]
    torch.save(content, tmp_path / "short.pt")
    with pytest.raises(UserError, match="do not match its network one by one"):
        published.i2sb_weights(tmp_path / "short.pt")
    torch.save(network.state_dict(), tmp_path / "plain.pt")
    assert set(plain.read_weights(tmp_path / "plain.pt")) == set(network.state_dict())
    with pytest.raises(UserError, match="no net and ema"):
        published.i2sb_weights(tmp_path / "plain.pt")
    with pytest.raises(UserError, match="no weights in it"):
        plain.read_weights(file)
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(UserError, match="not a checkpoint"):
        plain.read_checkpoint(file)
    file.write_bytes(b"")
    with pytest.raises(UserError, match="not a pickle"):
        plain.read_options(file)


def test_weights_of_another_network_are_named() -> None:
    network, weights = adm.UNet(16, 3, out_channels=3, **SMALL), adm_weights()
    with pytest.raises(UserError, match=r"out.2.weight is \(6, 32, 3, 3\), expected \(3, 32, 3, 3\)"):
        published.load(network, weights, "file.pt")
    with pytest.raises(UserError, match="extra is "):
        published.load(network, {**network.state_dict(), "extra": torch.ones(1)}, "file.pt")
    del weights["time_embed.0.bias"]
    with pytest.raises(UserError, match=r"time_embed.0.bias is missing"):
        published.load(network, weights, "file.pt")
