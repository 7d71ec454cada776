"""The same work on a CUDA device: recorded vectors, the CPU's results, repeated, resumed, short of memory.

Skipped, and said so, where there is none.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import vectors
from accelerate.state import AcceleratorState
from torch import Tensor, nn
from vectors import Case, assert_close, case, recipe

from bridgepipe.config.ddib import TranslateImages
from bridgepipe.config.gaussian import Process
from bridgepipe.config.i2sb import Restoration, Sample
from bridgepipe.config.recipe import Recipe
from bridgepipe.config.runtime import Runtime
from bridgepipe.data.pixels import from_uint8
from bridgepipe.errors import UserError
from bridgepipe.methods import gaussian, i2sb
from bridgepipe.methods.ddib import Translator
from bridgepipe.networks import adm
from bridgepipe.runtime import batches, devices, running
from bridgepipe.runtime.interruption import Interrupted
from bridgepipe.training.loop import train
from bridgepipe.training.objective import Batch

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine"),
]
RECIPES = [name for name in vectors.names("01_adm/") if name.endswith("_recipe")]
SMALL = {"model_channels": 32, "num_res_blocks": 1, "channel_mult": (1, 2), "attention_resolutions": (2,)}
DIFFUSION = gaussian.Diffusion((3, 16, 16), Process(prediction="v"))
PIXELS = np.random.default_rng(0).integers(0, 256, (12, 16, 16, 3), np.uint8)


class Photos:
    """12 fixed images of 16 x 16."""

    def __len__(self) -> int:
        return len(PIXELS)

    def batch(self, indices: Sequence[int]) -> Tensor:
        return from_uint8(PIXELS[list(indices)])


def filled(network: nn.Module) -> nn.Module:
    """Layers that start at zero would hide what the others do."""
    torch.manual_seed(1)
    for parameter in network.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.05)
    return network


def restored(device: str, **runtime: object) -> np.ndarray:
    AcceleratorState._reset_state(reset_partial_state=True)  # a process has one precision for life
    problem = i2sb.Problem((16, 16), Restoration(corruption="jpeg-5"))
    network = filled(i2sb.network((16, 16), False, 0, **SMALL))
    speed = Runtime.model_validate({"device": device, "precision": "fp32", **runtime})
    restorer = i2sb.Restorer(network, problem, "digest", runtime=speed)
    results = batches.in_batches(
        lambda piece: restorer.restore(Photos(), piece, Sample(nfe=5)),
        range(12),
        restorer.batch_size,
        "x",
    )
    return np.concatenate([r.image for r in results])


def trained(
    folder: Path, device: str = "cuda", precision: str = "fp32", stop_at: int | None = None
) -> dict[str, Tensor]:
    AcceleratorState._reset_state(reset_partial_state=True)
    network = filled(gaussian.network("adm", DIFFUSION, seed=0, **SMALL))
    objective, calls = gaussian.Denoising(DIFFUSION), 0

    def loss(network: nn.Module, batch: Batch) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == stop_at:
            os.kill(os.getpid(), signal.SIGTERM)
        return objective(network, batch)

    steps = Recipe(steps=12, batch_size=8, lr=1e-3, ema=0.9, flip=True, log_every=1)
    running = Runtime(device=device, precision=precision, channels_last=True, save_every=4)
    return train(network, loss, Photos(), steps, running, folder, {})


def losses(folder: Path) -> list[float]:
    return [float(line.split(",")[1]) for line in (folder / "train.csv").read_text().splitlines()[1:]]


@pytest.fixture
def little_memory() -> Iterator[None]:
    """A device with 256 MiB left for tensors."""
    torch.cuda.empty_cache()
    whole = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 2**28) / whole)
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)


class TestRecordedVectors:
    @pytest.mark.parametrize("channels_last", [False, True])
    @pytest.mark.parametrize("name", RECIPES)
    @torch.no_grad()
    def test_networks(self, name: str, channels_last: bool) -> None:
        c = case(name)
        network = self.network(c).cuda()
        x = c.tensor("in.x").cuda()
        if channels_last:
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            x = x.contiguous(memory_format=torch.channels_last)
        labels = [c.tensor("in.y").cuda()] if "in.y" in c.arrays else []
        with devices.full_precision():
            assert_close(c, "y", network(x, c.tensor("in.t").cuda(), *labels))

    @staticmethod
    def network(c: Case) -> nn.Module:
        kind = adm.Classifier if c.config["cls"] == "EncoderUNetModel" else adm.UNet
        arguments = {k: v for k, v in c.config.items() if k not in ("cls", "recipe_seed", "gain")}
        network = kind(**arguments).eval()
        network.load_state_dict(recipe(network.state_dict(), c.config["recipe_seed"], c.config["gain"]))
        return network


def test_tf32_is_near_and_turned_off_where_results_are_measured() -> None:
    convolution, x = nn.Conv2d(64, 64, 3, padding=1).cuda(), torch.randn(8, 64, 32, 32, device="cuda")
    exact = convolution.double()(x.double())
    convolution.float()
    running.placed("cuda", "tf32")
    error = (convolution(x) - exact).abs().max()
    with devices.full_precision():
        assert (convolution(x) - exact).abs().max() < 1e-5
    assert 1e-5 < error < 1e-2
    running.placed("cuda", "fp32")
    assert (convolution(x) - exact).abs().max() < 1e-5


class TestRestoration:
    def test_is_the_one_of_the_cpu(self) -> None:
        difference = np.abs(restored("cuda").astype(int) - restored("cpu"))
        assert difference.max() <= 1  # of 255: where rounding to uint8 was close
        assert (difference > 0).mean() < 1e-3

    def test_twice_is_the_same(self) -> None:
        assert np.array_equal(restored("cuda"), restored("cuda"))

    @pytest.mark.parametrize("precision", ["bf16", "fp16"])
    def test_half_precision_is_near(self, precision: str) -> None:
        difference = np.abs(restored("cuda", precision=precision).astype(int) - restored("cuda"))
        assert 0 < difference.mean() < 1.5

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the compiler's own
    def test_compiled_is_near(self) -> None:
        difference = np.abs(restored("cuda", compile=True).astype(int) - restored("cuda"))
        assert difference.max() <= 1


class TestTranslation:
    def translator(self, device: str, **runtime: object) -> Translator:
        AcceleratorState._reset_state(reset_partial_state=True)
        network = filled(gaussian.network("adm", DIFFUSION, 11, seed=0, **SMALL))
        model = gaussian.Model(
            network,
            DIFFUSION,
            "digest",
            10,
            10,
            runtime=Runtime.model_validate({"device": device, "precision": "fp32", **runtime}),
        )
        return Translator(model, model, (3, 8), TranslateImages(respacing="log_snr 20"))

    def test_is_the_one_of_the_cpu(self) -> None:
        ends = [
            [self.translator(device).translate(Photos().batch(range(6)), range(6)).target.x.cpu()]
            for device in ("cpu", "cuda")
        ]
        torch.testing.assert_close(*(torch.cat(end) for end in ends), rtol=0, atol=1e-3)

    @pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16", "fp16"])
    def test_way_back_is_exact_but_for_tf32(self, precision: str) -> None:
        translator = self.translator("cuda", precision=precision)
        there = translator.translate(Photos().batch(range(6)), range(6))
        assert there.target.pair is not None
        back = translator.inverse(there.target.pair)
        # convolutions that round their inputs make more of the last bit of a state
        limit = 1e-2 if precision == "tf32" else 1e-5
        assert (back.target.x.cpu() - Photos().batch(range(6))).abs().max() < limit


class TestTraining:
    def test_follows_the_cpu(self, tmp_path: Path) -> None:
        trained(tmp_path / "cuda")
        trained(tmp_path / "cpu", "cpu")
        assert losses(tmp_path / "cuda") == pytest.approx(losses(tmp_path / "cpu"), rel=1e-3)

    def test_twice_gives_the_same_bytes(self, tmp_path: Path) -> None:
        a, b = trained(tmp_path / "a"), trained(tmp_path / "b")
        assert all(torch.equal(a[key], b[key]) for key in a)

    @pytest.mark.parametrize("precision", ["fp32", "fp16"])
    def test_interrupted_ends_as_if_undisturbed(self, tmp_path: Path, precision: str) -> None:
        with pytest.raises(Interrupted, match="stopped after step 6"):
            trained(tmp_path / "a", precision=precision, stop_at=6)
        a, b = trained(tmp_path / "a", precision=precision), trained(tmp_path / "b", precision=precision)
        assert all(torch.equal(a[key], b[key]) for key in a)

    @pytest.mark.parametrize("precision", ["bf16", "fp16"])
    def test_half_precision_learns_alike(self, tmp_path: Path, precision: str) -> None:
        trained(tmp_path / "half", precision=precision)
        trained(tmp_path / "whole")
        half, whole = (np.mean(losses(tmp_path / kind)) for kind in ("half", "whole"))
        assert half == pytest.approx(whole, rel=0.05)


@pytest.mark.usefixtures("little_memory")
class TestShortOfMemory:
    """One image of 256 x 256 fits through this network; 32 do not."""

    SIZE = (256, 256)

    class Large(Photos):
        def __len__(self) -> int:
            return 32

        def batch(self, indices: Sequence[int]) -> Tensor:
            return torch.linspace(-1, 1, 3 * 256 * 256).view(1, 3, 256, 256).repeat(len(indices), 1, 1, 1)

    def test_sampling_halves_the_batch(self, capsys: pytest.CaptureFixture[str]) -> None:
        arguments = {
            "model_channels": 32,
            "num_res_blocks": 1,
            "channel_mult": (1,),
            "attention_resolutions": (),
        }
        network = i2sb.network(self.SIZE, False, 0, **arguments)
        restorer = i2sb.Restorer(
            network,
            i2sb.Problem(self.SIZE, Restoration(corruption="jpeg-5")),
            "digest",
            runtime=Runtime(device="cuda", precision="fp32"),
        )
        done = list(
            batches.in_batches(
                lambda piece: restorer.restore(self.Large(), piece, Sample(nfe=2)), range(32), 64, "x"
            )
        )
        assert sum(len(r.image) for r in done) == 32
        assert "going on with 16 images" in capsys.readouterr().err

    def test_training_halves_the_pieces(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        network = nn.Sequential(*(nn.Conv2d(3 if i == 0 else 16, 16, 3, padding=1) for i in range(3)))

        def loss(network: nn.Module, batch: Batch) -> Tensor:
            return network(batch.images).square().flatten(1).mean(1)

        steps = Recipe(steps=1, batch_size=32, lr=1e-3)
        train(network, loss, self.Large(), steps, Runtime(device="cuda"), tmp_path, {})
        assert "going on with pieces of 16 images" in capsys.readouterr().err


def test_more_processes_than_devices_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from bridgepipe.runtime import launch

    monkeypatch.setattr(launch, "local_world_size", lambda: torch.cuda.device_count() + 1)
    with pytest.raises(UserError, match="start one per GPU"):
        running.placed("cuda")
