"""Translation of images along two networks' ODEs: there, back, guided, and between which classes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.closed_form import ONE, A, B, log_snr_process
from bridgepipe import config
from bridgepipe.config.ddib import TranslateImages
from bridgepipe.config.gaussian import Process
from bridgepipe.config.runtime import Runtime
from bridgepipe.data.store import ImageStore, writer
from bridgepipe.data.subset import Subset, items_of_class
from bridgepipe.datasets import digits
from bridgepipe.errors import UserError
from bridgepipe.evaluation.translation import Likeness, likeness, others, partners
from bridgepipe.methods import gaussian
from bridgepipe.methods.ddib import (
    PUBLISHED,
    PUBLISHED_FOLDER,
    Translator,
    denoiser,
    restart,
    states_of,
    steps_of,
    translate,
)
from bridgepipe.methods.gaussian import Diffusion
from bridgepipe.names.classes import number_of
from bridgepipe.processes import schedules
from bridgepipe.processes.gaussian import Gaussian
from bridgepipe.samplers import Denoiser

PROCESS = log_snr_process(200)
EVERY = TranslateImages(respacing="log_snr 60")


def closed(mixture: Any) -> Denoiser:
    return Denoiser(mixture.denoiser(PROCESS), PROCESS)


def tiny(classes: int | None = None, seed: int = 0) -> gaussian.Model:
    """A random network of 8 x 8 images; with classes the last label is the null class."""
    diffusion = gaussian.Diffusion((3, 8, 8))
    arguments = {"model_channels": 32, "num_res_blocks": 1, "channel_mult": (1,), "attention_resolutions": ()}
    told = None if classes is None else classes + 1
    network = gaussian.network("adm", diffusion, told, seed, **arguments)
    for parameter in network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    return gaussian.Model(
        network, diffusion, "digest", classes, classes, runtime=Runtime(device="cpu", batch_size=4)
    )


def guide() -> gaussian.Model:
    diffusion = gaussian.Diffusion((3, 8, 8))
    arguments = {"model_channels": 32, "num_res_blocks": 1, "channel_mult": (1,), "attention_resolutions": ()}
    return gaussian.Model(
        gaussian.classifier(diffusion, 3, **arguments), diffusion, "guide", runtime=Runtime(device="cpu")
    )


IMAGES = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1


def batch(items: Any) -> torch.Tensor:
    return IMAGES[list(items)]


class TestBothWays:
    def test_back_from_the_pair_is_exact(self) -> None:
        x = A.sample(50).float()
        there = translate(closed(A), closed(B), x, EVERY)
        assert there.target.pair is not None
        back = translate(closed(B), closed(A), there.target.pair, EVERY)
        assert (back.target.x - x).norm(dim=1).max() < 1e-6

    def test_back_from_the_image_alone_is_near(self) -> None:
        x = A.sample(50).float()
        there = translate(closed(A), closed(B), x, EVERY)
        back = translate(closed(B), closed(A), there.target.x, EVERY)
        assert 1e-6 < (back.target.x - x).norm(dim=1).mean() < 0.05

    def test_a_domain_to_itself_is_the_identity(self) -> None:
        x = ONE.sample(20)
        assert torch.allclose(translate(closed(ONE), closed(ONE), x, EVERY).target.x, x, atol=1e-12)

    def test_translations_are_of_the_target(self) -> None:
        image = translate(closed(A), closed(B), A.sample(3000), EVERY).target.x
        target = B.sample(3000, seed=1)
        assert torch.allclose(image.mean(0), target.mean(0), atol=0.05)
        assert torch.allclose(image.std(0), target.std(0), atol=0.05)

    def test_different_processes_are_refused(self) -> None:
        other = log_snr_process(100)
        with pytest.raises(UserError, match="different processes"):
            translate(closed(A), Denoiser(B.denoiser(other), other), A.sample(2), EVERY)

    def test_states_go_through_a_store(self, tmp_path: Path) -> None:
        there = translate(closed(A), closed(B), A.sample(4).float(), EVERY)
        with writer(tmp_path / "states.lmdb", {}) as out:
            for state in states_of(there.target):
                out.put(state)
        stored = ImageStore(tmp_path / "states.lmdb")
        pair = restart(np.stack([stored[i] for i in range(4)]))
        assert there.target.pair is not None
        assert torch.equal(pair.x, there.target.pair.x)
        assert torch.equal(pair.neighbour, there.target.pair.neighbour)

    def test_other_solvers_keep_the_image(self) -> None:
        there = translate(closed(A), closed(B), A.sample(4).float(), TranslateImages(solver="ddim"))
        states = states_of(there.target)
        assert states.shape == (4, 1, 2)
        assert torch.equal(restart(states), there.target.x)


@pytest.mark.parametrize(
    ("how", "up", "down"),
    [
        (PUBLISHED, (0, 1000, 1001), (999, -1, 1001)),
        (PUBLISHED_FOLDER, (0, 990, 100), (990, -1, 101)),
        (TranslateImages(), (0, 999, 50), (999, 0, 50)),
        (TranslateImages(solver="ddim", grid="ddib", respacing="quad 10"), (0, 1000, 11), (800, -1, 11)),
    ],
)
def test_steps(how: TranslateImages, up: tuple[int, ...], down: tuple[int, ...]) -> None:
    steps = steps_of(how, Gaussian(schedules.linear(1000)))
    for found, (first, last, count) in ((steps.encode, up), (steps.decode, down)):
        assert (found[0], found[-1], len(found)) == (first, last, count)


@pytest.mark.parametrize("respacing", ["log_snr x", "often 5", "log_snr 2000"])
def test_unknown_spelling(respacing: str) -> None:
    with pytest.raises(UserError):
        steps_of(TranslateImages.model_construct(respacing=respacing), PROCESS)


class TestGuidance:
    def test_scale_0_guides_nothing(self) -> None:
        model, plain = tiny(3), denoiser(tiny(3), 1, 2)
        for kind in ("classifier", "free"):
            guided = denoiser(model, 1, 2, kind, 0.0, guide=guide())
            assert guided.gradient is None
            t = torch.tensor([5, 5])
            assert torch.equal(guided.network(IMAGES[:2], t), plain.network(IMAGES[:2], t))

    def test_free_goes_beyond_the_conditional(self) -> None:
        model, t = tiny(3), torch.tensor([500, 500])
        c, u, g = (
            d.network(IMAGES[:2], t)
            for d in (denoiser(model, 1, 2), denoiser(model, None, 2), denoiser(model, 1, 2, "free", 1.5))
        )
        assert torch.allclose(g, c + 1.5 * (c - u), atol=1e-5)

    def test_classifier_moves_along_its_gradient(self) -> None:
        guided = denoiser(tiny(3), 2, 2, "classifier", 3.0, guide=guide())
        assert guided.gradient is not None
        t = torch.tensor([10, 10])
        expected = 3 * guide().guidance(torch.tensor([2, 2]), 1.0)(IMAGES[:2], t)
        assert torch.allclose(guided.gradient(IMAGES[:2], t), expected)

    def test_a_guide_is_told_the_class_of_the_same_name(self) -> None:
        model, other, t = tiny(3), guide(), torch.tensor([10, 10])
        model.class_names, other.class_names = ["5", "8", "9"], ["8", "9", "5"]
        guided = denoiser(model, 1, 2, "classifier", 3.0, guide=other)
        assert guided.gradient is not None
        expected = 3 * guide().guidance(torch.tensor([0, 0]), 1.0)(IMAGES[:2], t)
        assert torch.allclose(guided.gradient(IMAGES[:2], t), expected)
        other.class_names = ["9", "5", "7"]
        with pytest.raises(UserError, match="the guide knows 9, 5, 7, not 8"):
            denoiser(model, 1, 2, "classifier", 3.0, guide=other)
        other.class_names = None
        with pytest.raises(UserError, match="the guide does not name its classes"):
            denoiser(model, 1, 2, "classifier", 3.0, guide=other)

    def test_classifier_needs_a_guide_and_a_class(self) -> None:
        with pytest.raises(UserError, match="nothing guides"):
            denoiser(tiny(3), 1, 2, "classifier", 1.0)
        with pytest.raises(UserError, match="nothing guides"):
            denoiser(tiny(3), None, 2, "classifier", 1.0, guide=guide())

    def test_free_needs_a_null_class(self) -> None:
        model = tiny(3)
        model.null = None
        with pytest.raises(UserError, match="no null class"):
            denoiser(model, 1, 2, "free", 1.0)

    def test_guided_translation_returns_exactly(self) -> None:
        how = TranslateImages(
            respacing="log_snr 8", clip_decode=True, guidance="classifier", scale_encode=0.5, scale_decode=2.0
        )
        model = tiny(3)
        translator = Translator(model, model, (0, 2), how, guide())
        states = states_of(translator.translate(IMAGES, range(6)).target)
        error = (translator.inverse(restart(states)).target.x - IMAGES).flatten(1).norm(dim=1)
        assert error.max() < 1e-4


class TestTranslator:
    def test_the_batch_changes_nothing(self) -> None:
        model = tiny(3)
        how = TranslateImages(
            solver="ddim", grid="dmi", respacing="uniform 5", clip_encode=True, clip_decode=True
        )
        translator = Translator(model, model, (0, 1), how)
        whole = translator.translate(IMAGES, range(6)).target.x
        single = torch.cat([translator.translate(IMAGES[k : k + 1], [k]).target.x for k in range(6)])
        assert (whole - single).abs().max() < 1e-2  # rounding, amplified by a network of noise

    @pytest.mark.parametrize(
        ("diffusion", "said"),
        [
            (
                Diffusion((3, 8, 8), Process(T=500)),
                "denoises linear with T 500, the source model linear with T 1000",
            ),
            (
                Diffusion((3, 8, 8), Process(schedule="cosine")),
                "denoises cosine with T 1000, the source model linear",
            ),
            (Diffusion((3, 16, 16)), r"is of images \[3, 16, 16\], the source model of \[3, 8, 8\]"),
        ],
    )
    def test_another_process_of_the_guide_or_the_target(self, diffusion: Diffusion, said: str) -> None:
        """Whoever makes the translator: every verb with a guide does, there, back and of folders."""
        other, model = tiny(3), tiny(3)
        other.diffusion = diffusion
        with pytest.raises(UserError, match=f"the guide {said}"):
            Translator(model, model, (0, 1), TranslateImages(), other)
        with pytest.raises(UserError, match=f"the target model {said}"):
            Translator(model, other, (0, 1), TranslateImages())

    def test_two_networks_that_know_no_class(self) -> None:
        how = TranslateImages(solver="ddim", respacing="5")
        translator = Translator(tiny(seed=0), tiny(seed=1), (3, 8), how)
        assert translator.translate(IMAGES[:2], range(2)).target.x.shape == (2, 3, 8, 8)

    def test_noise_belongs_to_the_image(self) -> None:
        model, how = tiny(3), TranslateImages(solver="ddim", grid="dmi", respacing="5", eta=1.0, seed=3)

        def to(end: TranslateImages, items: Sequence[int]) -> Tensor:
            return Translator(model, model, (0, 1), end).translate(IMAGES[: len(items)], items).target.x

        whole = to(how, range(6))
        assert (to(how, [0]) - whole[:1]).abs().max() < 1e-2
        for other in ({"seed": 4}, {"eta": 0.0}, {"eta": 0.5}):
            assert (to(how.model_copy(update=other), range(6)) - whole).abs().max() > 0.1, other
        assert (to(how, range(1, 7)) - whole).abs().max() > 0.1
        with pytest.raises(ValueError, match="eta is of solver: ddim, obelm draws no noise"):
            TranslateImages(eta=0.5)

    @pytest.mark.parametrize("label", [-1, 4])
    def test_unknown_class(self, label: int) -> None:
        with pytest.raises(UserError, match="has the classes 0 to 2"):
            denoiser(tiny(3), label, 1)

    def test_no_class_without_a_null_class(self) -> None:
        model = tiny(3)
        model.null = None
        with pytest.raises(UserError, match="not None"):
            denoiser(model, None, 1)


@pytest.fixture(scope="module")
def some(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All digits, and two classes of them alone."""
    folder = tmp_path_factory.mktemp("some")
    digits.prepare_classes(folder / "some", classes=[5, 8], size=8, progress=False)
    digits.prepare(folder / "all", size=8, progress=False)
    return folder


class TestClasses:
    @pytest.mark.parametrize(
        ("label", "names", "number"),
        [
            ("8", ["5", "8"], 1),
            (8, ["5", "8"], 1),
            ("8", None, 8),
            ("cat", ["cat"], 0),
            (1, ["5", "8"], 1),
            (None,) * 3,
        ],
    )
    def test_name_before_number(self, label: Any, names: list[str] | None, number: int | None) -> None:
        assert number_of(label, names) == number

    def test_unknown_name(self) -> None:
        with pytest.raises(UserError, match="did you mean 'cat'"):
            number_of("cta", ["cat", "dog"])

    def test_number_beyond_the_list(self) -> None:
        with pytest.raises(UserError, match=r"no class '3'.*one of 5, 8 or a number from 0 to 1"):
            number_of(3, ["5", "8"])

    def test_digit_classes_keep_their_split(self, some: Path) -> None:
        for split in ("train", "val", "test"):
            part, whole = (ImageStore(some / kind / f"{split}.lmdb") for kind in ("some", "all"))
            items = items_of_class(whole, 5) + items_of_class(whole, "8")
            assert part.classes == ["5", "8"]
            assert part.names is not None
            assert whole.names is not None
            assert sorted(part.names) == sorted(whole.names[i] for i in items)
            assert [whole.names[i] for i in items_of_class(whole, "8")] == [
                part.names[i] for i in items_of_class(part, "8")
            ]

    def test_items_of_a_class(self, some: Path) -> None:
        store = ImageStore(some / "some/test.lmdb")
        assert items_of_class(store, None) == list(range(len(store)))
        assert len(items_of_class(store, "8", 4)) == 4
        with pytest.raises(UserError, match="no images of class '0'"):  # a name, and not the number of 5
            items_of_class(store, "0")
        with pytest.raises(UserError, match="no images of class '7'"):
            items_of_class(store, 7)

    def test_a_store_without_classes_is_taken_whole(self, tmp_path: Path) -> None:
        with writer(tmp_path / "plain.lmdb", {}) as out:
            out.put(np.zeros((8, 8, 3), np.uint8))
        assert items_of_class(ImageStore(tmp_path / "plain.lmdb"), 5) == [0]


class Mean:
    """An extractor whose feature is the mean colour."""

    name, digest, resize = "mean", "0", "none"

    def features(self, images: Any) -> torch.Tensor:
        return torch.tensor(np.stack([image.mean((0, 1)) for image in images]), dtype=torch.float32)


class TestLikeness:
    def test_gains(self) -> None:
        near = Likeness(np.array([20.0, 30.0]), np.array([0.5, 0.7]), np.array([1.0, 2.0]))
        far = Likeness(np.array([10.0, 10.0]), np.array([0.1, 0.1]), np.array([4.0, 3.0]))
        gains = near.gains(far, "_random")
        assert gains["psnr_gain_random"] == 15
        assert gains["psnr_gain_random_high"] == pytest.approx(15 + 1.959964 * 5)
        assert gains["distance_gain_random"] == 2

    def test_equal_images(self) -> None:
        images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
        found = likeness(Subset(images, [0, 1, 2]), images, Mean()).means("_x")
        for name, value in (("psnr", 100), ("ssim", 1), ("distance", 0)):
            ends = [found[f"{name}_x{end}"] for end in ("", "_low", "_high")]
            assert ends == pytest.approx([value] * 3)

    def test_other_images_come_once_each(self) -> None:
        found = others(7)
        assert sorted(found) == list(range(7))
        assert (found != np.arange(7)).all()
        with pytest.raises(UserError):
            others(1)

    def test_partners_come_in_turns(self) -> None:
        found = partners(7, 3)
        assert sorted(found[:3]) == sorted(found[3:6]) == [0, 1, 2]


PARAMS = config.read_yaml(Path(__file__).parents[2] / "params.yaml")
Edit = Callable[[dict[str, Any]], Any]


def pair(values: dict[str, Any], name: str = "3-8") -> dict[str, Any]:
    return values["experiments"]["ddib/classes"][name]


REFUSALS: dict[str, tuple[Edit, str]] = {
    "unknown model": (lambda v: pair(v).update(source_model="x"), "unknown name 'x'.*source_model"),
    "unknown guide": (lambda v: pair(v).update(guide="x"), "unknown name 'x'.*3-8.guide"),
    "split that is not there": (
        lambda v: pair(v).update(sample={"dataset": "cifar10", "split": "val"}),
        "unknown name 'val'.*sample.split",
    ),
    "spelling": (lambda v: pair(v).update(sample={"respacing": "log snr 5"}), "sample.respacing"),
    "obelm to pure noise": (lambda v: pair(v).update(sample={"grid": "ddib"}), "grid must be exact"),
    "guided by nothing": (lambda v: pair(v).update(guide=None), "needs a guide"),
    "up by two models": (
        lambda v: pair(v).update(target_model="digits-high", sample={"scale_encode": 1.0}),
        "one model for both",
    ),
    "no class": (
        lambda v: (v["experiments"]["model"]["conditional"].pop("drop_labels"), pair(v).update(source=None)),
        "no source class",
    ),
    "free without a null class": (
        lambda v: v["experiments"]["model"]["conditional"].pop("drop_labels"),
        "trained without drop_labels",
    ),
    "other process": (
        lambda v: v["experiments"]["guide"]["digits"].update(process={"T": 500}),
        "the guide denoises linear with T 500, the source model linear with T 1000",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refusal(case: str) -> None:
    values = copy.deepcopy(PARAMS)
    edit, expected = REFUSALS[case]
    edit(values)
    with pytest.raises(UserError, match=expected):
        config.Resolved(values)


def test_a_guide_that_guides_nothing_may_have_another_process() -> None:
    values = copy.deepcopy(PARAMS)
    values["experiments"]["guide"]["digits"]["process"] = {"T": 500}
    values["scales"]["demo"]["ddib/classes"]["sample"]["guidance"] = "none"
    for name in ("3-8-published", "3-8-free", "3-8-separate", "3-8-unguided"):
        del values["experiments"]["ddib/classes"][name]
    assert config.Resolved(values).experiment("ddib/classes/3-8").guide == "digits"


def test_published_setting() -> None:
    """Facts 37 to 39: all steps, up unclipped and unguided, down clipped and guided."""
    how = config.Resolved(PARAMS | {"scale": "paper"}).experiment("ddib/classes/260-261").sample
    fields = ("solver", "grid", "respacing", "clip_encode", "clip_decode", "guidance", "scale_encode")
    assert {f: getattr(how, f) for f in fields} == {f: getattr(PUBLISHED, f) for f in fields}
