"""I2SB's method on small networks: item-wise results, conditions, holes, pairs, short memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bridgepipe.config.i2sb import Emphasis, Restoration, Sample
from bridgepipe.config.runtime import Runtime
from bridgepipe.data.pixels import from_uint8, to_uint8
from bridgepipe.errors import UserError
from bridgepipe.methods import i2sb
from bridgepipe.methods.i2sb import Problem, Restorer
from bridgepipe.names.degradations import PAIRED
from bridgepipe.networks.adm import UNet
from bridgepipe.runtime import batches, devices, rng, running
from bridgepipe.runtime.rng import ItemNoise, item_of
from bridgepipe.training.objective import Batch
from bridgepipe.training.views import Views

SIZE = (16, 16)
ARGUMENTS = {
    "model_channels": 32,
    "num_res_blocks": 1,
    "channel_mult": (1, 1),
    "attention_resolutions": (),
    "num_heads": 1,
}


class Photos:
    """12 fixed images; ``shift`` makes another set of them."""

    def __init__(self, shift: int = 0) -> None:
        self._pixels = np.random.default_rng(shift).integers(0, 256, (12, *SIZE, 3), np.uint8)

    def __len__(self) -> int:
        return len(self._pixels)

    def batch(self, indices: Sequence[int]) -> Tensor:
        return from_uint8(self._pixels[list(indices)])


def network(problem: Problem) -> UNet:
    net = i2sb.network(problem.image_size, problem.settings.cond_x1, seed=0, **ARGUMENTS)
    torch.manual_seed(1)
    for parameter in net.parameters():  # published layers start at zero and would predict nothing
        parameter.data += 0.02 * torch.randn_like(parameter)
    return net


def restored(problem: Problem, items: Sequence[int], batch_size: int = 64, **how: object) -> np.ndarray:
    speed = Runtime(device="cpu", batch_size=batch_size)
    restorer = Restorer(network(problem), problem, "digest", runtime=speed)
    sources = Photos(7) if problem.settings.corruption == PAIRED else None
    sampling = Sample(nfe=3, **how)  # type: ignore[arg-type]
    return in_batches(restorer, items, sampling, sources)


def in_batches(
    restorer: Restorer, items: Sequence[int], how: Sample, sources: Photos | None = None
) -> np.ndarray:
    def run(piece: Sequence[int]) -> np.ndarray:
        return restorer.restore(Photos(), piece, how, sources).image

    return np.concatenate(list(batches.in_batches(run, items, restorer.batch_size, "restoring")))


PROBLEMS = {
    "jpeg": Problem(SIZE, Restoration(corruption="jpeg-5")),
    "conditional": Problem(SIZE, Restoration(corruption="sr4x-pool", cond_x1=True)),
    "without noise": Problem(SIZE, Restoration(corruption="blur-uni", beta_max=1.0, ot_ode=True)),
    "hole": Problem(SIZE, Restoration(corruption="inpaint-center", beta_max=1.0, ot_ode=True)),
    "freeform hole": Problem(SIZE, Restoration(corruption="inpaint-freeform1020", beta_max=1.0)),
    "exact hole": Problem(SIZE, Restoration(corruption="inpaint-freeform2030", variant="exact")),
    "mixture": Problem(SIZE, Restoration(corruption="mixture")),
    "noisy end": Problem(SIZE, Restoration(corruption="jpeg-10", add_x1_noise=True)),
    "pairs": Problem(SIZE, Restoration(corruption=PAIRED, cond_x1=True)),
}


def test_repeats_restore_the_same_images_with_other_noise() -> None:
    problem = PROBLEMS["freeform hole"]
    first, second = (
        Restorer(network(problem), problem, "digest", repeat, runtime=Runtime(device="cpu")).restore(
            Photos(), [0], Sample(nfe=3)
        )
        for repeat in (0, 1)
    )
    assert np.array_equal(first.corrupted, second.corrupted)
    assert not np.array_equal(first.image, second.image)


@pytest.mark.parametrize("name", PROBLEMS)
def test_an_image_does_not_depend_on_its_batch(name: str) -> None:
    together = restored(PROBLEMS[name], range(12)).astype(int)
    apart = np.concatenate([restored(PROBLEMS[name], range(a, a + 3), batch_size=2) for a in (0, 3, 6, 9)])
    difference = np.abs(together - apart)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-2


@pytest.mark.parametrize(
    "sampler", [{}, {"sampler": "implicit", "eta": 1.0}, {"sampler": "implicit", "eta": 0.0}]
)
def test_samplers_run_by_name_and_seed_matters(sampler: dict[str, object]) -> None:
    one, again, other = (restored(PROBLEMS["jpeg"], range(4), seed=s, **sampler) for s in (0, 0, 1))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize(
    "runtime", [{"precision": "bf16"}, {"channels_last": True}, {"channels_last": False}]
)
def test_speed_settings_change_little(runtime: dict[str, object]) -> None:
    problem = PROBLEMS["jpeg"]
    expected = restored(problem, range(4)).astype(int)
    restorer = Restorer(network(problem), problem, "digest", runtime=Runtime(device="cpu", **runtime))
    found = in_batches(restorer, range(4), Sample(nfe=3))
    assert np.abs(found.astype(int) - expected).mean() < 1.5


def test_what_measures_may_follow_a_network_in_low_precision() -> None:
    Restorer(
        network(PROBLEMS["jpeg"]), PROBLEMS["jpeg"], "digest", runtime=Runtime(device="cpu", precision="bf16")
    )
    assert running.placed("cpu").dtype is None
    before = torch.backends.cudnn.allow_tf32
    with devices.full_precision():
        assert not torch.backends.cudnn.allow_tf32
    assert torch.backends.cudnn.allow_tf32 == before


def test_large_noise_is_the_same_on_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = ItemNoise(0, "noise", range(3)).normal((3, 16, 16))
    monkeypatch.setattr(rng, "MANY", 100)
    assert torch.equal(ItemNoise(0, "noise", range(3)).normal((3, 16, 16)), whole)
    streams = ItemNoise(0, "noise", [2])
    assert torch.equal(streams.normal((3, 16, 16)), whole[2:])
    monkeypatch.undo()
    assert not torch.equal(streams.normal((3, 16, 16)), whole[2:])  # the stream went on


def test_known_pixels_of_a_hole_are_kept_without_noise() -> None:
    problem = PROBLEMS["hole"]
    images = Photos()
    result = restored(problem, range(4)).astype(int)
    clean = (images.batch(range(4)).permute(0, 2, 3, 1).numpy() + 1) * 127.5
    known = np.ones(SIZE, bool)
    known[4:12, 4:12] = False
    assert np.abs(result - clean)[:, known].max() <= 1


@pytest.mark.parametrize("name", PROBLEMS)
def test_objective_gives_a_loss_for_every_item(name: str) -> None:
    problem = PROBLEMS[name]
    sources = Photos(7) if problem.settings.corruption == PAIRED else None
    images = Photos()
    items = [3, 1, 4]
    batch = Batch(images.batch(items), items, ItemNoise(0, "train", [10, 11, 12]))
    objective, net = i2sb.objective(problem, sources), network(problem)
    losses = objective(net, batch)
    assert losses.shape == (3,)
    assert torch.isfinite(losses).all()
    alone = objective(net, Batch(images.batch([1]), [1], ItemNoise(0, "train", [11])))
    torch.testing.assert_close(alone[0], losses[1], rtol=1e-4, atol=1e-5)


def test_pairs_are_seen_alike() -> None:
    view = Views(torch.tensor([True, False]).view(-1, 1, 1, 1), torch.tensor([0, 1]))
    batch = Batch(Photos().batch([0, 1]), [0, 1], ItemNoise(0, "train", [0, 1]), view)
    other = batch.of(Photos(7))
    assert torch.equal(other[0], Photos(7).batch([0])[0].flip(-1))
    assert torch.equal(other[1], Photos(7).batch([1])[0].rot90(1, (1, 2)))


def test_a_share_is_trained_where_a_single_call_starts() -> None:
    problem, told = Problem(SIZE, Restoration(corruption="blur-uni")), []

    def seen(x: Tensor, t: Tensor) -> Tensor:
        told.append(t)
        return torch.zeros_like(x)

    items = list(range(12)) * 40
    for share in (0.0, 0.5, 1.0):
        batch = Batch(Photos().batch(items), items, ItemNoise(0, "train", range(len(items))))
        i2sb.objective(problem, emphasis=Emphasis(at_end=share))(seen, batch)  # type: ignore[arg-type]
    last = problem.process.network_time(problem.settings.interval - 1)
    none, half, every = ((t == last).float().mean() for t in told)
    assert none < 0.01
    assert half == pytest.approx(0.5, abs=0.07)
    assert every == 1


def test_what_is_clean_is_trained_to_stay() -> None:
    problem, seen = Problem(SIZE, Restoration(corruption="blur-uni", ot_ode=True, cond_x1=True)), []

    def network(x: Tensor, t: Tensor) -> Tensor:
        seen.append(x)
        return torch.zeros_like(x[:, :3])

    items = list(range(12)) * 20
    batch = Batch(Photos().batch(items), items, ItemNoise(0, "train", range(len(items))))
    losses = i2sb.objective(problem, emphasis=Emphasis(clean=0.25))(network, batch)  # type: ignore[arg-type]
    clean = losses < 1e-9
    assert clean.float().mean() == pytest.approx(0.25, abs=0.08)
    torch.testing.assert_close(seen[0][clean], torch.cat([batch.images, batch.images], 1)[clean])


def test_a_residual_network_restores_any_photograph() -> None:
    problem = Problem(SIZE, Restoration(corruption="jpeg-file-10", variant="exact", ot_ode=True))
    net = i2sb.network(
        SIZE, False, 0, kind="residual", model_channels=8, channel_mult=(1, 2), num_res_blocks=1
    )
    restorer = Restorer(net, problem, "digest", runtime=Runtime(device="cpu"))
    photo = np.random.default_rng(0).integers(0, 256, (21, 30, 3), np.uint8)
    out = restorer.restore_photo(photo, Sample(nfe=1))
    assert np.array_equal(out, photo)  # it starts as the identity


def test_sampling_halves_the_batch_when_memory_is_short(capsys: pytest.CaptureFixture[str]) -> None:
    problem = PROBLEMS["jpeg"]
    net = network(problem)
    forward = net.forward

    def hungry(x: Tensor, *rest: Tensor) -> Tensor:
        if len(x) > 3:
            raise torch.OutOfMemoryError("no memory left")
        return forward(x, *rest)

    net.forward = hungry  # type: ignore[method-assign]
    restorer = Restorer(net, problem, "digest", runtime=Runtime(device="cpu", batch_size=12))
    found = in_batches(restorer, range(12), Sample(nfe=3))
    assert np.abs(found.astype(int) - restored(problem, range(12)).astype(int)).max() <= 1
    assert "going on with 3 images at a time" in capsys.readouterr().err


def test_a_photograph_is_restored_as_it_is() -> None:
    problem = PROBLEMS["conditional"]
    restorer = Restorer(network(problem), problem, "digest", runtime=Runtime(device="cpu"))
    photo = np.random.default_rng(3).integers(0, 256, (17, 22, 3), np.uint8)
    found = restorer.restore_photo(photo, Sample(nfe=2))
    assert found.shape == photo.shape
    assert found.dtype == np.uint8
    assert np.array_equal(found, restorer.restore_photo(photo, Sample(nfe=2)))


@pytest.mark.parametrize("variant", ["published", "exact"])
def test_a_photograph_that_needs_nothing_comes_back_as_it_was(variant: Any) -> None:
    """A network that predicts no change: every level is stored as it was, in either variant."""
    problem = Problem(SIZE, Restoration(corruption="jpeg-5", ot_ode=True, variant=variant))
    restorer = Restorer(
        i2sb.network(SIZE, False, seed=0, **ARGUMENTS), problem, "digest", runtime=Runtime(device="cpu")
    )
    photo = np.arange(32 * 32 * 3).reshape(32, 32, 3).astype(np.uint8)
    assert np.array_equal(restorer.restore_photo(photo, Sample(nfe=1)), photo)


@pytest.mark.parametrize("add_x1_noise", [False, True])
def test_the_noise_of_a_photograph_is_its_own(add_x1_noise: bool) -> None:
    problem = Problem(SIZE, Restoration(corruption="jpeg-5", add_x1_noise=add_x1_noise))
    # a fresh network predicts nothing, so that the noise is what is added to the photograph
    fresh = i2sb.network(SIZE, False, seed=0, **ARGUMENTS)
    restorer = Restorer(fresh, problem, "digest", runtime=Runtime(device="cpu"))
    grey = [np.full((32, 32, 3), level, np.uint8) for level in (120, 121)]
    noise = [restorer.restore_photo(g, Sample(nfe=3)).astype(float) - g for g in grey]
    assert min(n.std() for n in noise) > (20 if add_x1_noise else 1)
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.1
    again = restorer.restore_photo(grey[0].copy(), Sample(nfe=3))
    assert np.array_equal(again - grey[0], noise[0].astype(np.uint8))


def test_an_image_is_an_item_by_its_pixels_and_shape() -> None:
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    assert item_of(pixels) == item_of(pixels.copy()) == item_of(pixels[::-1][::-1])
    assert len({item_of(pixels), item_of(pixels + 1), item_of(pixels.reshape(2, 8, 3))}) == 3


def test_pixels_come_back_as_they_were() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    assert np.array_equal(to_uint8(from_uint8(levels)), levels)
    truncated = to_uint8(from_uint8(levels), "published")
    assert np.array_equal(levels - truncated, levels != truncated)  # each loses one level at most
    assert (levels != truncated).sum() == 63


@pytest.mark.parametrize("variant", ["published", "exact"])
@pytest.mark.parametrize("ot_ode", [False, True])
@pytest.mark.parametrize("sampler", ["ancestral", "implicit"])
def test_stored_known_pixels_are_those_of_the_original(sampler: str, ot_ode: bool, variant: Any) -> None:
    """Under ``exact``; published ones lose a level at most, or keep noise of the last ancestral step."""
    problem = Problem(SIZE, Restoration(corruption="inpaint-center", ot_ode=ot_ode, variant=variant))
    found = restored(problem, range(4), sampler=sampler, eta=0.0 if sampler == "implicit" else 1.0)
    originals = Photos()._pixels[:4]
    hole = np.zeros(SIZE, bool)
    hole[SIZE[0] // 4 : 3 * SIZE[0] // 4, SIZE[1] // 4 : 3 * SIZE[1] // 4] = True
    lost = originals[:, ~hole].astype(int) - found[:, ~hole]
    if (sampler, ot_ode, variant) == ("ancestral", False, "published"):
        assert 1 < np.abs(lost).max() < 10
    else:
        assert set(np.unique(lost)) == ({0} if variant == "exact" else {0, 1})
    assert (found[:, hole] != originals[:, hole]).mean() > 0.9


def test_path_goes_from_the_corrupted_image_to_the_result() -> None:
    problem = PROBLEMS["jpeg"]
    restorer = Restorer(network(problem), problem, "digest", runtime=Runtime(device="cpu"))
    result = restorer.restore(Photos(), range(2), Sample(nfe=4))
    assert result.steps[0] == 0
    assert list(result.steps) == sorted(result.steps)
    assert result.states.shape == (2, len(result.steps), *SIZE, 3)
    assert np.array_equal(result.states[:, 0], result.image)


@pytest.mark.parametrize("how", [{}, {"sampler": "implicit", "eta": 0.0, "order": 2}])
def test_a_consistent_restoration_agrees_with_what_was_seen(how: dict[str, Any]) -> None:
    problem = Problem(SIZE, Restoration(corruption="sr4x-pool", variant="exact"))
    free, tied = (restored(problem, range(6), consistent=consistent, **how) for consistent in (False, True))
    pools = [block_means(pixels) for pixels in (Photos()._pixels[:6], free, tied)]
    off = [np.abs(pool - pools[0]).mean() for pool in pools[1:]]
    assert off[0] > 2
    assert off[1] < 0.5  # grey levels: the results are whole numbers, some cut off at black or white


def block_means(pixels: np.ndarray) -> np.ndarray:
    return pixels.astype(float).reshape(len(pixels), 4, 4, 4, 4, 3).mean(axis=(2, 4))


def test_consistency_without_an_operator_is_refused() -> None:
    with pytest.raises(UserError, match=r"no operator to agree with \(sample.consistent\)"):
        restored(Problem(SIZE, Restoration(corruption="noise-10")), [0], consistent=True)
