"""Boundaries, latents, the mixing step and edits, where the answer is known."""

from __future__ import annotations

import os
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.svm import SVC
from torch import Tensor, nn
from vectors import recipe

from bridgepipe import artifacts
from bridgepipe.config.boundary_settings import Edit, Inversion, Search
from bridgepipe.datasets import attributes
from bridgepipe.errors import UserError
from bridgepipe.evaluation.accuracy import worse
from bridgepipe.methods import boundary_edit, boundary_fit, boundary_latents, boundary_mixing
from bridgepipe.methods.boundary import About, Boundaries, Boundary, fit, load, load_both, measure, save
from bridgepipe.methods.boundary_edit import Move
from bridgepipe.methods.boundary_files import read_boundary, write_boundary
from bridgepipe.methods.boundary_latents import Latents
from bridgepipe.methods.boundary_mixing import MixingRow
from bridgepipe.methods.boundary_sav import read_sav
from bridgepipe.networks import adm, ddpm
from bridgepipe.networks.hspace import HSpace
from bridgepipe.photographs import editing
from bridgepipe.processes import schedules
from bridgepipe.processes.gaussian import Gaussian
from bridgepipe.runtime.rng import ItemNoise

D = 40
PROCESS = Gaussian(schedules.linear(), variance="fixed_small")


def two_gaussians(count: int = 200, gap: float = 3.0, seed: int = 0) -> tuple[Tensor, np.ndarray, Tensor]:
    """Latents [N,5,8] of two classes, labels, and the unit vector that divides them best."""
    generator = torch.Generator().manual_seed(seed)
    axis = torch.randn(D, generator=torch.Generator().manual_seed(9))
    axis = axis / axis.norm()
    labels = np.arange(count) % 2
    side = torch.from_numpy(2.0 * labels - 1).float()[:, None]
    return (torch.randn(count, D, generator=generator) + gap * side * axis).reshape(-1, 5, 8), labels, axis


def test_boundary_between_two_gaussians() -> None:
    latents, labels, axis = two_gaussians(2000)
    boundary = fit(latents, labels, C=0.01, test=two_gaussians(500, seed=1)[:2])
    assert float(boundary.normal.norm()) == pytest.approx(1, abs=1e-6)
    assert float(boundary.normal @ axis) > 0.97
    assert abs(boundary.offset) < 0.2
    assert boundary.accuracy > 0.99
    found = measure(boundary, latents, labels)
    assert found.low < found.accuracy < found.high
    assert found.n == 2000


def test_distance_after_a_move_is_the_target() -> None:
    latents, labels, _ = two_gaussians()
    boundary = fit(latents, labels)
    before = boundary.distance(latents)
    assert torch.allclose(boundary.distance(boundary.move(latents, 2.5)), torch.tensor(2.5), atol=1e-5)
    moved = boundary.move(latents, torch.linspace(-3, 3, len(latents)))
    assert torch.allclose(boundary.distance(moved), torch.linspace(-3, 3, len(latents)), atol=1e-5)
    assert torch.allclose(
        boundary.distance(boundary.move(latents, -1.5, relative=True)), before - 1.5, atol=1e-5
    )
    assert moved.shape == latents.shape
    origin = boundary.through_origin().move(latents, 0.0).flatten(1)
    assert torch.allclose(origin @ boundary.normal, torch.zeros(len(latents)), atol=1e-5)


def test_only_a_unit_normal_is_a_boundary() -> None:
    with pytest.raises(UserError, match="length 2"):
        Boundary(torch.tensor([0.0, 2.0]), 0.0, 1.0)
    with pytest.raises(UserError, match="length nan"):
        Boundary(torch.tensor([0.0, float("nan")]), 0.0, 1.0)
    with pytest.raises(UserError, match="length 0"):
        Boundary.of(torch.zeros(4), 1.0)
    boundary = Boundary.of(torch.tensor([3.0, 4.0]), 10.0)
    assert (boundary.scale, boundary.offset) == (5, 2)
    assert boundary.coef.tolist() == pytest.approx([3, 4])
    with pytest.raises(UserError, match="latents of 3 numbers, a boundary of 2"):
        boundary.distance(torch.zeros(1, 3))


@pytest.mark.parametrize("balance", ["none", "weights", "subsample"])
@pytest.mark.parametrize("gap", [3.0, 0.2])  # divisible, and not
def test_gram_gives_the_boundary_of_svc(gap: float, balance: Any) -> None:
    latents, labels, _ = two_gaussians(150, gap)
    labels = np.where(np.arange(150) % 3 == 0, 1, 0 * labels)
    ours, theirs = (fit(latents, labels, solver=solver, balance=balance) for solver in ("gram", "svc"))
    assert torch.allclose(ours.coef, theirs.coef, atol=1e-6)
    assert ours.offset == pytest.approx(theirs.offset, abs=1e-5)
    assert ours.accuracy == theirs.accuracy


def test_long_latents_have_the_boundary_of_svc() -> None:
    width = boundary_fit.WIDE + 100
    labels = np.arange(60) % 3 // 2
    latents = torch.randn(60, width, generator=torch.Generator().manual_seed(0))
    latents[:, :50] += torch.from_numpy(4.0 * labels).float()[:, None]
    rows = boundary_fit.Rows(latents, block_bytes=4 * width * 25)
    assert np.allclose(boundary_fit.gram(rows), latents.double() @ latents.double().T, atol=1e-7 * width)
    ours, theirs = (fit(latents, labels, solver=solver) for solver in ("gram", "svc"))
    assert float((ours.normal.double() - theirs.normal.double()).norm()) < 1e-6
    assert ours.offset == pytest.approx(theirs.offset, abs=1e-5)
    fresh = torch.randn(400, width, generator=torch.Generator().manual_seed(1)) + latents.mean(0)
    assert torch.equal(ours.distance(fresh) > 0, theirs.distance(fresh) > 0)


def test_blocks_and_sources_do_not_matter(tmp_path: Path) -> None:
    latents, labels, _ = two_gaussians(60)
    whole = boundary_fit.gram(boundary_fit.Rows(latents))
    blocks = boundary_fit.gram(boundary_fit.Rows(latents, block_bytes=8 * D * 7))
    assert np.allclose(whole, blocks, atol=1e-12)
    np.save(tmp_path / "latents.npy", latents.numpy())
    mapped = np.load(tmp_path / "latents.npy", mmap_mode="r")

    class Store:
        def __len__(self) -> int:
            return len(latents)

        def batch(self, indices: Any) -> Tensor:
            return latents[list(indices)]

    expected = fit(latents, labels)
    for source in (mapped, Store()):
        assert torch.equal(fit(source, labels).normal, expected.normal)


def test_balance_counts_the_rare_class() -> None:
    latents, labels, _ = two_gaussians(400, gap=0.3)
    rare = np.flatnonzero((labels == 0) | (np.arange(400) < 60))
    latents, labels = latents[torch.from_numpy(rare)], labels[rare]
    plain, weighted = (fit(latents, labels, C=0.1, balance=b) for b in ("none", "weights"))

    def recall(boundary: Boundary) -> float:
        return float((boundary.distance(latents[torch.from_numpy(labels == 1)]) > 0).float().mean())

    assert recall(weighted) > recall(plain)
    chosen = boundary_fit.subsample(labels, 0)
    assert np.bincount(labels[chosen]).tolist() == [30, 30]


@pytest.mark.parametrize(
    ("labels", "message"),
    [([0, 1, 2, 0], "not all 0 or 1"), ([1, 1, 1, 1], "all 4 labels are 1"), ([0, 1], "for 4 latents")],
)
def test_refused_labels(labels: list[int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        fit(torch.randn(4, 3), labels)


def test_saved_boundary_refuses_another_network_step_or_space(tmp_path: Path) -> None:
    latents, labels, _ = two_gaussians()
    boundary = fit(latents, labels)
    for space in ("z", "h"):
        about = About("loop", space, 400, "abc")  # type: ignore[arg-type]
        save(tmp_path / f"{space}.safetensors", boundary, about, measure(boundary, latents, labels), C=1.0)
    again, about = load(tmp_path / "h.safetensors", "abc", 400, "h")
    assert torch.equal(again.normal, boundary.normal)
    assert (again.offset, again.scale, again.accuracy) == (boundary.offset, boundary.scale, boundary.accuracy)
    assert about == About("loop", "h", 400, "abc")
    assert '"low"' in (tmp_path / "h.json").read_text()
    for wrong in ({"network": "abd"}, {"t": 500}, {"space": "z"}):
        with pytest.raises(UserError, match=f"is for {next(iter(wrong))}"):
            load(tmp_path / "h.safetensors", **wrong)  # type: ignore[arg-type]
    both = load_both(tmp_path, "abc", 400)
    assert both.z is not None
    assert both.h is not None
    save(tmp_path / "z.safetensors", boundary, About("loop", "z", 300, "abc"))
    with pytest.raises(UserError, match="different steps"):
        load_both(tmp_path, "abc")


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_published_file_is_read_without_a_classifier(tmp_path: Path, protocol: int, dtype: type) -> None:
    latents, labels, _ = two_gaussians(50)
    flat = latents.flatten(1).numpy().astype(dtype)
    machine = SVC(kernel="linear").fit(flat, labels)
    path = tmp_path / "smile_h.sav"
    path.write_bytes(pickle.dumps(machine, protocol))
    boundary = read_sav(path)
    assert boundary.coef.numpy() == pytest.approx(machine.coef_[0], abs=1e-6)
    decided = machine.decision_function(flat)
    assert boundary.decide(torch.from_numpy(flat).double()).numpy() == pytest.approx(decided, abs=1e-5)
    save(tmp_path / "h.safetensors", boundary, About("smile", "h", 500, "abc", "published"))
    assert np.isnan(load(tmp_path / "h.safetensors")[0].accuracy)


class Attack:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.target),)


def test_malicious_or_foreign_files_are_refused(tmp_path: Path) -> None:
    path, target = tmp_path / "evil.sav", tmp_path / "made"
    machine = SVC(kernel="linear").fit(np.eye(4), [0, 1, 0, 1])
    machine.extra = Attack(target)
    for content in (Attack(target), machine):
        path.write_bytes(pickle.dumps(content))
        with pytest.raises(UserError, match=r"refused: the file asks to load \w+\.mkdir"):
            read_sav(path)
        assert not target.exists()
    for wrong, message in (
        (SVC(kernel="rbf").fit(np.eye(4), [0, 1, 0, 1]), "kernel is rbf"),
        (SVC(kernel="linear").fit(np.eye(3), [0, 1, 2]), "more than two classes"),
        ([1, 2], "not a pickled linear SVC"),
    ):
        path.write_bytes(pickle.dumps(wrong))
        with pytest.raises(UserError, match=message):
            read_sav(path)
    path.write_bytes(b"\x80\x04 garbage")
    with pytest.raises(UserError, match="not a pickled linear SVC"):
        read_sav(path)


class Mixture(nn.Module):
    """The optimal denoiser of two Gaussians at +-mean with variance std^2; its bottleneck is its input."""

    def __init__(self, mean: Tensor, std: float) -> None:
        super().__init__()
        self.mean, self.std, self.bottleneck = mean, std, nn.Identity()

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        x = self.bottleneck(x)
        alpha_bar = torch.from_numpy(PROCESS.alpha_bar)[t].to(x)[:, None]
        variance = alpha_bar * self.std**2 + 1 - alpha_bar
        mean = alpha_bar.sqrt() * torch.tanh(x @ self.mean[:, None] * alpha_bar.sqrt() / variance) * self.mean
        return (1 - alpha_bar).sqrt() * (x - mean) / variance


@pytest.mark.parametrize("end", [".npz", ".npy"])
def test_boundaries_in_and_out_of_numpy(tmp_path: Path, end: str) -> None:
    found = fit(*two_gaussians()[:2], C=0.01)
    given = found if end == ".npz" else found.through_origin()
    write_boundary(file := tmp_path / f"h{end}", given)
    back = read_boundary(file)
    assert torch.allclose(back.normal, given.normal, atol=1e-7)
    assert (back.offset, back.scale) == pytest.approx((given.offset, given.scale), rel=1e-6)
    x = torch.randn(3, D)
    assert torch.allclose(back.decide(x), given.decide(x), atol=1e-5)


def test_a_classifier_of_scikit_learn_by_its_own_names(tmp_path: Path) -> None:
    latents, labels, _ = two_gaussians()
    machine = SVC(kernel="linear").fit(latents.flatten(1).numpy(), labels)
    np.savez(tmp_path / "a.npz", coef_=machine.coef_, intercept_=machine.intercept_)
    decided = read_boundary(tmp_path / "a.npz").decide(latents)
    assert np.allclose(decided, machine.decision_function(latents.flatten(1).numpy()), atol=1e-4)


def test_arrays_that_are_no_boundary_are_refused(tmp_path: Path) -> None:
    two, text = np.ones((2, D)), np.array(["a"])
    for name, arrays, said in (
        ("two", {"coef": two}, r"it holds coef \[2, 40\], no coefficients"),
        ("other", {"mean": np.ones(D)}, r"it holds mean \[40\], no coefficients"),
        ("text", {"coef": text}, "no coefficients"),
        ("many", {"coef": np.ones(D), "intercept": np.ones(2)}, "its intercept is not one number"),
        ("nan", {"coef": np.full(D, np.nan)}, "coefficients of length nan"),
    ):
        np.savez(tmp_path / f"{name}.npz", **arrays)  # type: ignore[arg-type]
        with pytest.raises(UserError, match=said):
            read_boundary(tmp_path / f"{name}.npz")
    (tmp_path / "torn.npz").write_bytes((tmp_path / "two.npz").read_bytes()[:100])
    with pytest.raises(UserError, match="not the coefficients of a linear classifier"):
        read_boundary(tmp_path / "torn.npz")
    with pytest.raises(UserError, match="would lose the intercept"):
        write_boundary(tmp_path / "a.npy", fit(*two_gaussians()[:2]))
    with pytest.raises(UserError, match=r"name it \.npz"):
        write_boundary(tmp_path / "a.sav", fit(*two_gaussians()[:2]))


def test_a_published_boundary_is_named_and_lies_where_it_is_fetched_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    artifacts.save_tensors("model/model.safetensors", {"w": torch.zeros(1)}, {})
    asked: tuple[Any, ...] = ("h", Path("model"), "smile", Path("mine"), 500, "exact")
    with pytest.raises(UserError, match="bridgepipe fetch boundary/smile-h"):
        editing.import_boundary(Path("boundary/smile-h"), *asked)
    place = tmp_path / "data/raw/boundaries/smile_h.sav"
    place.parent.mkdir(parents=True)
    latents, labels, _ = two_gaussians(20)
    place.write_bytes(pickle.dumps(SVC(kernel="linear").fit(latents.flatten(1).numpy(), labels)))
    editing.import_boundary(Path("boundary/smile-h"), *asked)
    editing.export_boundary(Path("mine/h.safetensors"), Path("h.npz"))
    assert torch.allclose(read_boundary("h.npz").normal, load("mine/h.safetensors")[0].normal)


def test_mixing_step_of_a_known_process() -> None:
    width = 60
    mean = torch.zeros(width)
    mean[0] = 6.0
    labels = np.arange(120) % 2
    rest = torch.randn(120, width, generator=torch.Generator().manual_seed(0))
    x0 = torch.from_numpy(2.0 * labels - 1).float()[:, None] * mean + 0.2 * rest
    steps = [0, *range(4, 1000, 5)]
    latents = boundary_latents.trajectory(HSpace(Mixture(mean, 0.2)), PROCESS, x0, steps, every=40)
    assert [one.t for one in latents] == [0, 199, 399, 599, 799, 999]
    curve = boundary_mixing.mixing(latents, labels)
    gaps = [row.gap for row in curve.rows]
    assert gaps[0] > 0.3
    assert gaps[-1] < 0.1
    # alpha_bar, the share of the data that is left, is 0.20 at 399 and 0.03 at 599
    assert curve.t == 599
    assert curve.rows[0].h.all()
    assert all(isinstance(value, int | float) for value in curve.rows[0].row().values())
    # spread against its definition
    pairs = torch.cdist(latents[-1].z.double(), latents[-1].z.double()).square().sum() / (120 * 119)
    assert curve.rows[-1].spread == pytest.approx(float((pairs / (2 * width)).sqrt()), rel=1e-6)


def row(t: int, gap: float, accuracy: float, n: int = 100) -> MixingRow:
    right = np.arange(n) < round(accuracy * n)
    return MixingRow(t, 1.0, 0.0, 1.0, gap, right, right)


def test_choice_of_the_mixing_step() -> None:
    choose = boundary_mixing.choose
    rows = [
        row(0, 1.0, 0.9),
        row(200, 0.3, 0.9),
        row(400, 0.03, 0.8),
        row(600, 0.02, 0.9),
        row(800, 0.0, 0.7),
    ]
    assert choose(rows) == 600  # the earliest mixed one, 400, loses ten images that the best gets right
    assert choose([*rows[:2], row(400, 0.05, 0.89), *rows[3:]]) == 400
    assert choose([*rows[:3], row(600, 0.2, 0.9), row(800, 0.0, 0.7)]) == 800  # it leaves the shell again
    assert choose([row(0, 0.0, 0.9), row(300, 0.0, 0.9)]) == 300
    # an inversion that settles beside the shell, and further from it than it began
    assert choose([row(0, 0.2, 0.9), row(200, 0.4, 0.9), row(400, 0.49, 0.9), row(600, 0.5, 0.9)]) == 400
    with pytest.raises(UserError, match="ascending"):
        choose([row(0, 1.0, 0.9)])


@pytest.mark.parametrize(("right", "t"), [(200, 480), (199, 480), (196, 480), (195, 960), (150, 960)])
def test_one_image_more_or_less_does_not_move_the_mixing_step(right: int, t: int) -> None:
    rows = [row(0, 1.0, 1.0, 200), row(480, 0.0, right / 200, 200), row(960, 0.0, 1.0, 200)]
    assert boundary_mixing.choose(rows) == t
    assert rows[1].row()["h_accuracy_n"] == 200


def test_steps_are_compared_on_the_same_images() -> None:
    """55 against 60 of 100: nothing between independent images, but not where 5 are lost and none is won."""
    best, fewer = np.arange(100) < 60, np.arange(100) < 55
    assert worse(fewer, best) == 0.5**5
    assert worse(np.roll(fewer, 10), best) == pytest.approx(0.1509, abs=1e-4)  # 10 lost, 5 won
    assert (worse(best, fewer), worse(best, best)) == (1.0, 1.0)
    rows = [row(0, 1.0, 1.0), row(480, 0.0, 0.55), row(960, 0.0, 0.60)]
    assert boundary_mixing.choose(rows) == 960
    others = replace(rows[1], h=np.roll(rows[1].h, 10))
    assert boundary_mixing.choose([rows[0], others, rows[2]]) == 480


def small(kind: str) -> Any:
    if kind == "ddpm":
        network: nn.Module = ddpm.UNet(8, 3, 32, 3, 1, (4,), ch_mult=(1, 1))
    else:
        network = adm.UNet(8, 3, 32, 3, 1, (2,), channel_mult=(1, 1), num_head_channels=32)
    network.load_state_dict(recipe(network.state_dict(), 3, 0.5))
    return network.eval().requires_grad_(False)


def random_boundaries(latents: Latents) -> Boundaries:
    generator = torch.Generator().manual_seed(5)
    normals = [torch.randn(x[0].numel(), generator=generator) for x in (latents.z, latents.h)]
    return Boundaries(*(Boundary.of(n, 0.7) for n in normals))


def inverted(kind: str, variant: Any = "exact") -> tuple[HSpace, Latents]:
    space = boundary_latents.space(small(kind), variant=variant)
    x0 = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return space, boundary_latents.invert(space, PROCESS, x0, 300, Inversion(count=6, variant=variant))


@pytest.mark.parametrize("kind", ["ddpm", "adm"])
def test_exact_edit_moves_both_spaces_of_every_network(kind: str) -> None:
    space, latents = inverted(kind)
    both, how = random_boundaries(latents), Edit(count=6, relative=True)
    assert torch.equal(latents.h, boundary_latents.bottleneck(space, PROCESS, latents.z, 300))
    recon = boundary_edit.reconstruct(space, PROCESS, latents, how)

    def at(distance: float, boundaries: Boundaries = both, editing: Edit = how) -> Tensor:
        return boundary_edit.edit(space, PROCESS, latents, [Move(boundaries, distance)], editing)

    assert torch.allclose(at(0.0), recon, atol=1e-5)
    z_only, h_only = at(4.0, Boundaries(z=both.z)), at(4.0, Boundaries(h=both.h))
    assert not torch.allclose(z_only, recon, atol=1e-3)
    assert not torch.allclose(h_only, recon, atol=1e-4)
    assert not torch.allclose(at(4.0), z_only, atol=1e-4)
    longer = Edit(count=6, relative=True, h_steps=5)
    assert torch.allclose(at(0.0, editing=longer), recon, atol=1e-5)
    assert not torch.allclose(at(4.0, editing=longer), at(4.0), atol=1e-4)


def test_published_edit_loses_h_with_adm_only() -> None:
    for kind in ("ddpm", "adm"):
        space, latents = inverted(kind, "published")
        both, how = random_boundaries(latents), Edit(count=6, variant="published", eta=0.0, relative=False)
        noise = lambda: ItemNoise(0, "edit", [0, 1])  # noqa: E731
        edits = [
            boundary_edit.edit(space, PROCESS, latents, [Move(b, 4.0)], how, noise())
            for b in (both, Boundaries(z=both.z))
        ]
        assert torch.equal(*edits) == (kind == "adm")


def test_exact_edit_moves_h_once() -> None:
    space, latents = inverted("ddpm")
    both = random_boundaries(latents)
    given: list[Tensor | None] = []

    class Watched(HSpace):
        def __init__(self) -> None: ...

        def run(self, x: Tensor, t: Tensor, h: Tensor | None = None) -> tuple[Tensor, Tensor]:
            given.append(h)
            return space.run(x, t, h)

    boundary_edit.edit(Watched(), PROCESS, latents, [Move(both, 2.0)], Edit(count=6, relative=False))
    assert both.h is not None
    assert given[0] is not None
    assert torch.allclose(both.h.distance(given[0]), torch.tensor(2.0), atol=1e-5)
    assert given[1:] == [None] * 4


def test_strip_sequence_and_noise() -> None:
    space, latents = inverted("ddpm")
    both = random_boundaries(latents)
    how = Edit(count=4, eta=0.5, relative=False)
    images = boundary_edit.strip(
        space, PROCESS, latents, both, [-2.0, 2.0, 2.0], how, lambda k: ItemNoise(0, "edit", [0, 1])
    )
    assert images.shape == (2, 3, 3, 8, 8)
    assert torch.equal(images[:, 1], images[:, 2])
    other = random_boundaries(Latents(latents.z.flip(0), latents.h, 300))
    there = boundary_edit.moved(latents, [Move(both, 1.0), Move(other, -1.0)], how)
    assert other.z is not None
    assert torch.allclose(other.z.distance(there.z), torch.tensor(-1.0), atol=1e-5)
    with pytest.raises(UserError, match="draws noise"):
        boundary_edit.edit(space, PROCESS, latents, [Move(both, 1.0)], how)
    ancestral = Edit(count=4, kind="ddpm", relative=False)
    drawn = boundary_edit.edit(
        space, PROCESS, latents, [Move(both, 1.0)], ancestral, ItemNoise(0, "edit", [0, 1])
    )
    assert drawn.shape == latents.z.shape


def test_the_control_draws_the_noise_of_the_edits_and_moves_nothing() -> None:
    """Published eta 1 on a known process: decoding alone changes the class of two in five images."""
    mean = torch.zeros(D)
    mean[0] = 2.0
    rest = torch.randn(400, D, generator=torch.Generator().manual_seed(0))
    x0 = (2.0 * (torch.arange(400) % 2) - 1)[:, None] * mean + 0.2 * rest
    space = HSpace(Mixture(mean, 0.2))
    latents = boundary_latents.invert(space, PROCESS, x0, 700, Inversion(count=40))
    how, both = Edit(count=40, eta=1.0, relative=True), random_boundaries(latents)

    def noise() -> ItemNoise:
        return ItemNoise(0, "edit", range(400))

    control = boundary_edit.control(space, PROCESS, latents, how, noise())
    assert torch.equal(boundary_edit.edit(space, PROCESS, latents, [Move(both, 0.0)], how, noise()), control)
    plain = boundary_edit.reconstruct(space, PROCESS, latents, how)
    assert torch.equal(plain[:, 0] > 0, x0[:, 0] > 0)
    assert 0.3 < ((control[:, 0] > 0) != (plain[:, 0] > 0)).float().mean() < 0.5
    with pytest.raises(UserError, match="draws noise"):
        boundary_edit.control(space, PROCESS, latents, how)


def test_the_control_hands_h_over_as_the_published_edit_does() -> None:
    space, latents = inverted("ddpm", "published")
    h = random_boundaries(latents).h
    assert h is not None
    how, own = (
        Edit(count=6, variant="published", eta=0.0, relative=False),
        h.through_origin().distance(latents.h),
    )
    stays = boundary_edit.edit(space, PROCESS, latents, [Move(Boundaries(h=h), own)], how)
    control = boundary_edit.control(space, PROCESS, latents, how)
    assert torch.allclose(control, stays, atol=1e-5)
    assert not torch.allclose(control, boundary_edit.reconstruct(space, PROCESS, latents, how), atol=1e-4)


def test_batches_do_not_matter() -> None:
    space = boundary_latents.space(small("ddpm"))
    x0 = torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(1)) * 2 - 1
    how = 200, Inversion(count=4)
    pieces = [boundary_latents.invert(space, PROCESS, x0[k : k + 2], *how) for k in (0, 2, 4)]
    whole = boundary_latents.invert(space, PROCESS, x0, *how)
    assert torch.allclose(torch.cat([p.z for p in pieces]), whole.z, atol=1e-5)
    assert torch.allclose(torch.cat([p.h for p in pieces]), whole.h, atol=1e-4)


def test_generated_latents() -> None:
    space = boundary_latents.space(small("ddpm"))
    noise = torch.randn(1, 3, 8, 8)
    latents = boundary_latents.generate(space, PROCESS, noise, 998, count=10)
    assert torch.equal(latents.h, boundary_latents.bottleneck(space, PROCESS, latents.z, 998))


@pytest.mark.parametrize("t", [998, 500, 250])
@pytest.mark.parametrize("count", [999, 100, 40])
def test_the_step_of_an_unconditional_edit_is_always_on_the_grid(t: int, count: int) -> None:
    """The best predictions of data of variance 1 are known, and states keep that variance wherever t is."""
    process, seen = Gaussian(schedules.linear(), prediction="x0"), []

    class Unit:
        def capture(self, x: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
            seen.append(int(at[0]))
            return x * float(process.alpha_bar[int(at[0])]) ** 0.5, torch.full((len(x), 1), float(at[0]))

    noise = torch.randn(64, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    latents = boundary_latents.generate(Unit(), process, noise, t, count, "published")  # type: ignore[arg-type]
    assert latents.t == t
    assert min(seen) > t  # h is that of the call before t
    assert latents.h[0, 0] == min(seen)
    assert latents.z.std() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("images", [2, 100, 333, 1000])
@pytest.mark.parametrize("middle", [0.0, 0.1, 0.3, 0.5, 0.95])
def test_as_many_images_take_part_as_are_asked_for(images: int, middle: float) -> None:
    inverted = Search(images=images, middle=middle).inverted
    assert inverted is not None
    values = np.random.default_rng(0).normal(size=inverted)
    assert len(attributes.clear(values, 0.0, middle)) == images
    assert Search(middle=middle).inverted is None


def test_settings_that_exclude_each_other() -> None:
    for wrong in ({"relative": True}, {"h_steps": 2}, {"solver": "heun"}):
        with pytest.raises(ValueError, match="published edit"):
            Edit.model_validate({"variant": "published", "relative": False, **wrong})
    with pytest.raises(ValueError, match="h_steps"):
        Edit(h_steps=0)
