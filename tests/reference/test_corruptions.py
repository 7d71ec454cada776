"""The published corruptions on the recorded photographs and operator tables."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from vectors import Case, assert_close, case, find, manifest, names

from bridgepipe.corruptions import KERNELS, build
from bridgepipe.corruptions.blur import PublishedBlur, decompose
from bridgepipe.corruptions.inpaint import FILE_KEYS, MaskFile
from bridgepipe.corruptions.jpeg import Jpeg, quantisation
from bridgepipe.corruptions.superresolution import SuperResolution, bicubic_matrix
from bridgepipe.runtime.rng import ItemNoise

PHOTOS, OPERATORS, MASKS = "04_corruption/photos64", "04_corruption/operators", "04_corruption/freeform_masks"
BLURS = ["uni", "gauss"]
FILE_MASKS = "04_corruption/palette_masks_small.npz"


def photos() -> tuple[Case, Tensor]:
    c = case(PHOTOS)
    return c, (c.tensor("in.img_u8").permute(0, 3, 1, 2) / 255) * 2 - 1


def spec(name: str, key: str) -> dict:
    return next(c for c in manifest()["cases"] if c["case"] == name)["keys"][key]


def assert_mostly_close(c: Case, key: str, value: Tensor) -> None:
    """Within the tolerance, but for the share that rounding ties may flip as the manifest allows."""
    expected = c.tensor(key)
    assert value.shape == expected.shape
    outside = ((value - expected).abs() > c.atol[key]).float().mean()
    assert outside <= spec(c.name, key)["max_fraction_outside_atol"]


def test_every_case_is_here() -> None:
    assert set(names("04_corruption")) == {PHOTOS, OPERATORS, MASKS}


@pytest.mark.parametrize("quality", [5, 10])
def test_jpeg(quality: int) -> None:
    c, x = photos()
    key = f"out.jpeg-{quality}"
    luma, chroma = Jpeg(quality, (64, 64)).encode(x)
    assert chroma is not None
    assert_mostly_close(c, f"{key}.coef_luma", luma)
    assert_mostly_close(c, f"{key}.coef_chroma", chroma)
    assert_mostly_close(c, key, build(f"jpeg-{quality}", 64)(x).image)


@pytest.mark.parametrize("quality", [5, 10, 75])
def test_quantisation(quality: int) -> None:
    luma, chroma = quantisation(quality)
    assert_close(case(OPERATORS), f"quant_luma_{quality}", luma.flatten())
    assert_close(case(OPERATORS), f"quant_chroma_{quality}", chroma.flatten())


@pytest.mark.parametrize("filter", ["pool", "bicubic"])
def test_superresolution(filter: str) -> None:
    c, x = photos()
    assert_close(c, f"sr4x-{filter}.lowres", SuperResolution(filter, (64, 64)).reduce(x))
    small = build(f"sr4x-{filter}", 64)(x).image[..., ::4, ::4]
    assert_close(c, f"sr4x-{filter}.lowres", small)
    operators = case(OPERATORS)
    reduced = SuperResolution(filter, (32, 32)).reduce(operators.tensor("in.x32"))
    assert_close(operators, f"{filter}32.H", reduced)


def test_bicubic_matrix() -> None:
    c = case(OPERATORS)
    assert_close(c, "bicubic32.matrix1d", bicubic_matrix(32))
    assert_close(c, "bicubic32.singulars_small", torch.linalg.svdvals(bicubic_matrix(32)))


@pytest.mark.parametrize("blur", BLURS)
def test_blur_operator(blur: str) -> None:
    c, kernel = case(OPERATORS), KERNELS[f"blur-{blur}"]()
    recorded = c.tensor(f"out.{blur}16.perm")
    operator = PublishedBlur(kernel, (16, 16), order=recorded)
    assert_close(c, f"{blur}16.singulars_small", decompose(kernel, 16)[1])
    assert_close(c, f"{blur}16.H", operator.apply(c.tensor("in.x16")))
    singulars = decompose(kernel, 16)[1]
    products = torch.outer(singulars, singulars).flatten()
    # The recorded order and the stable one differ within ties only.
    assert torch.equal(products[recorded], operator.products)
    if blur == "uni":
        assert_close(c, "uni16.singulars", operator.products)


@pytest.mark.parametrize("blur", BLURS)
def test_blur_in_the_recorded_order(blur: str) -> None:
    """The sort that made the vectors breaks ties in an order of its own, kept in blur_order64.npz."""
    c, x = photos()
    with np.load(find("04_corruption/blur_order64.npz")) as file:
        order = torch.from_numpy(file[blur]).long()
    assert_close(c, f"blur-{blur}", PublishedBlur(KERNELS[f"blur-{blur}"](), (64, 64), order)(x))


@pytest.mark.parametrize("blur", BLURS)
def test_blur_in_the_stable_order(blur: str) -> None:
    c, x = photos()
    difference = (build(f"blur-{blur}", 64)(x).image - c.tensor(f"out.blur-{blur}")).abs()
    assert difference.max() <= spec(PHOTOS, f"out.blur-{blur}")["atol_if_sort_ties_resolve_differently"]
    assert difference.mean() < 3e-3


def test_inpaint_center() -> None:
    c, x = photos()
    result = build("inpaint-center", 64)(x)
    assert result.mask is not None
    assert_close(c, "inpaint-center", result.image)
    assert_close(c, "inpaint-center.mask", result.mask[:1])


@pytest.mark.parametrize("kind", ["freeform1020", "freeform2030"])
def test_mask_file(kind: str) -> None:
    c, key = case(MASKS), FILE_KEYS[kind]
    masks = MaskFile(find(FILE_MASKS), kind, (16, 16))
    assert len(masks) == 6
    assert_close(c, f"unpacked.{key}", masks.take(range(6))[:, 0])
    assert np.array_equal(np.packbits(c.arrays[f"in.mask.{key}"]), c.arrays[f"in.packed.{key}"])
    assert torch.equal(masks.take([4, 1])[:, 0], c.tensor(f"in.mask.{key}")[[4, 1]].float())


def test_freeform() -> None:
    c = case(MASKS)
    corrupt = build("inpaint-freeform1020", 16, mask_file=find(FILE_MASKS), mask_size=(16, 16))
    result = corrupt(c.tensor("in.img"), ItemNoise(0, "mask", range(6)), items=range(6))
    assert_close(c, "freeform_corrupt", result.image)
