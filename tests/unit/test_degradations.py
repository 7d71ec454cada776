"""Degradations of photographs: what each does, against Pillow and against what its name says."""

from __future__ import annotations

import io
import math
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_image
from torch import Tensor

from bridgepipe.corruptions import build, unused_modules
from bridgepipe.corruptions.codec import FileCodec
from bridgepipe.corruptions.draws import Range
from bridgepipe.corruptions.optics import disks, lines
from bridgepipe.corruptions.resampling import KERNELS, resizing
from bridgepipe.data.pixels import to_uint8
from bridgepipe.names.degradations import FAMILIES, agrees
from bridgepipe.runtime.rng import ItemNoise

SIZE = 48


def crops(count: int = 4, size: int = SIZE) -> Tensor:
    photo = load_sample_image("china.jpg")
    pixels = np.stack([photo[60 * i : 60 * i + size, 90 * i : 90 * i + size] for i in range(count)])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1


def degraded(name: str, x: Tensor, seed: int = 0, first: int = 0) -> Tensor:
    noise = ItemNoise(seed, "corruption", range(first, first + len(x)))
    return build(name, (x.shape[2], x.shape[3]), "exact")(x, noise).image


def through_file(pixels: np.ndarray, format: str, **settings: object) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format, **settings)
    return np.asarray(Image.open(file))


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("jpeg-file-10", {"format": "JPEG", "quality": 10, "subsampling": "4:2:0"}),
        ("jpeg-file-10-444", {"format": "JPEG", "quality": 10, "subsampling": "4:4:4"}),
        ("webp-file-10", {"format": "WEBP", "quality": 10}),
    ],
)
@pytest.mark.parametrize("size", [48, 41])
def test_a_file_is_pillows_own(name: str, settings: dict[str, object], size: int) -> None:
    x = crops(size=size)
    expected = [through_file(pixels, **settings) for pixels in to_uint8(x)]  # type: ignore[arg-type]
    assert np.array_equal(to_uint8(degraded(name, x)), np.stack(expected))


def test_a_grey_picture_is_a_grey_file() -> None:
    x = crops()[:, :1]
    expected = [through_file(p[..., 0], "JPEG", quality=10)[..., None] for p in to_uint8(x)]
    assert np.array_equal(to_uint8(degraded("jpeg-file-10", x)), np.stack(expected))


def test_every_quality_of_a_range_is_drawn_equally_often() -> None:
    x = crops(1, 16).expand(400, -1, -1, -1)
    files = {to_uint8(degraded(f"jpeg-file-{q}", x[:1])).tobytes(): q for q in (5, 6, 7, 8)}
    drawn = Counter(files[image.tobytes()] for image in to_uint8(degraded("jpeg-file-5..8", x)))
    assert set(drawn) == {5, 6, 7, 8}
    assert min(drawn.values()) > 70  # 100 expected, 3.5 standard deviations


def test_low_qualities_are_drawn_more_often_by_their_logarithm() -> None:
    codec = FileCodec("jpeg-file-5..80-log", "JPEG", Range(5, 80), by_ratio=True)
    (drawn,) = codec.draw((4000, 3, 8, 8), ItemNoise(0, "corruption", range(4000)))
    assert (drawn.min(), drawn.max()) == (5, 80)
    octaves = [((low <= drawn) & (drawn < 2 * low)).float().mean() for low in (5, 10, 20, 40)]
    assert octaves == pytest.approx([0.25] * 4, abs=0.03)


def test_saved_twice_shows_a_second_grid() -> None:
    """Steps between columns stand out at the lines of the first grid, which lie anywhere."""
    x = crops(1, 64).expand(40, -1, -1, -1)
    once, twice = degraded("jpeg-file-10", x[:1]), degraded("jpeg-file-10-twice", x)
    assert len({image.tobytes() for image in to_uint8(twice)}) > 20
    assert (twice - x).square().mean() > (once - x[:1]).square().mean()


def test_noise_is_as_strong_as_its_name_says() -> None:
    flat = torch.zeros(200, 3, 16, 16)
    assert float(degraded("noise-25", flat).std()) * 127.5 == pytest.approx(25, rel=0.01)
    stds = degraded("noise-5..50", flat).flatten(1).std(dim=1) * 127.5
    assert 4 < float(stds.min()) < 8 < 45 < float(stds.max()) < 54
    for level in (-0.5, 0.5):
        photons = degraded("poisson-100", flat + level)
        share = (level + 1) / 2
        assert float(photons.mean()) == pytest.approx(level, abs=0.005)
        assert float(photons.std()) == pytest.approx(2 * math.sqrt(share / 100), rel=0.02)
    assert degraded("noise-255", flat).abs().max() == 1  # as in a file


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("small", [24, 37, 11])
def test_resizing_is_pillows(kernel: str, small: int) -> None:
    grey = np.asarray(load_sample_image("china.jpg")[:97, :97, 0], np.float32)
    own = resizing(97, small, kernel) @ torch.from_numpy(grey).double() @ resizing(97, small, kernel).T
    named = getattr(Image.Resampling, {"lanczos": "LANCZOS"}.get(kernel, kernel.upper()))
    pillow = np.asarray(Image.fromarray(grey).resize((small, small), named))
    inside = slice(4, -4)  # Pillow weighs anew beyond the border, which is mirrored here
    assert np.abs(own.numpy() - pillow)[inside, inside].max() < 0.02


def test_kernels_of_a_camera() -> None:
    length, angle = torch.tensor([9.0, 9.0, 5.0]), torch.tensor([0.0, math.pi / 2, math.pi / 4])
    kernels = lines(length, angle, 9)
    torch.testing.assert_close(kernels.sum((1, 2)), torch.ones(3))
    half = kernels.shape[-1] // 2
    assert float(kernels[0, half].sum()) == pytest.approx(1)  # flat
    assert float(kernels[1, :, half].sum()) == pytest.approx(1)  # upright
    torch.testing.assert_close(kernels[2], kernels[2].flip(0, 1))
    spread = (kernels[0, half] * (torch.arange(2 * half + 1) - half) ** 2).sum()
    assert float(spread) == pytest.approx(9**2 / 12, rel=0.05)  # of a line
    disk = disks(torch.tensor([4.0]), 4)[0]
    squares = torch.arange(-5, 6) ** 2
    assert float((disk * (squares[:, None] + squares)).sum()) == pytest.approx(4**2 / 2, rel=0.1)


def test_scratches_are_holes_that_the_restorer_is_told_of() -> None:
    x = crops()
    result = build("scratches-3..6", SIZE)(x, ItemNoise(0, "corruption", range(4)))
    assert result.mask is not None
    assert torch.equal(result.image, x * (1 - result.mask) + result.mask)
    assert 0.01 < float(result.mask.mean()) < 0.3
    blind = build("scratches-3..6+grey", SIZE)(x, ItemNoise(0, "corruption", range(4)))
    assert blind.mask is None
    assert (blind.image == 1).all(1, keepdim=True)[result.mask == 1].all()


def test_grey_is_the_luminance() -> None:
    x = crops()
    pillow = np.stack([np.asarray(Image.fromarray(p).convert("L")) for p in to_uint8(x)])
    grey = to_uint8(degraded("grey", x))
    assert np.abs(grey - pillow[..., None].astype(int)).max() <= 1


def test_a_chain_does_its_parts_in_the_order_that_is_written() -> None:
    x = crops()
    blurred = degraded("defocus-2", x)
    assert torch.equal(degraded("defocus-2+jpeg-file-10", x), degraded("jpeg-file-10", blurred))
    assert torch.equal(
        degraded("jpeg-file-10+defocus-2", x), degraded("defocus-2", degraded("jpeg-file-10", x))
    )


def test_a_shuffled_chain_draws_its_order_for_every_image() -> None:
    x = crops(1).expand(60, -1, -1, -1)
    orders = [degraded(name, x[:1])[0] for name in ("defocus-2+jpeg-file-10", "jpeg-file-10+defocus-2")]
    shuffled = degraded("shuffle:defocus-2+jpeg-file-10", x)
    found = [[torch.allclose(image, order, atol=1e-6) for order in orders].index(True) for image in shuffled]
    assert 15 < sum(found) < 45


@pytest.mark.parametrize(
    "name",
    [
        *(f"downscale-1.5..4-{kernel}" for kernel in KERNELS),
        "grey",
        "blur-gauss",
        "sr4x-pool",
        "inpaint-center",
    ],
)
def test_what_agrees_with_what_is_seen(name: str) -> None:
    """A+ is the pseudo-inverse: it changes nothing that agrees already, and else as little as it can."""
    x, other = crops(), crops().flip(3)
    result = build(name, SIZE, "exact")(x, ItemNoise(0, "corruption", range(4)))
    assert result.linear is not None
    seen = result.linear.apply(x)
    agreeing = result.linear.agreeing(other, seen)
    torch.testing.assert_close(result.linear.apply(agreeing), seen, atol=2e-3, rtol=0)
    torch.testing.assert_close(result.linear.agreeing(x, seen), x, atol=2e-4, rtol=0)
    change, rest = agreeing - other, x - agreeing  # orthogonal: no image that agrees is nearer
    cosine = (change * rest).sum() / (change.norm() * rest.norm()).clamp(min=1e-12)
    assert abs(float(cosine)) < 0.01


@pytest.mark.parametrize("name", ["motion-5..9", "defocus-1..3"])
def test_what_agrees_with_a_blur_agrees_nearly(name: str) -> None:
    x = crops()
    result = build(name, SIZE)(x, ItemNoise(0, "corruption", range(4)))
    assert result.linear is not None
    torch.testing.assert_close(result.linear.apply(x), result.image)
    agreeing = result.linear.agreeing(torch.zeros_like(x), result.image)
    assert (result.linear.apply(agreeing) - result.image).abs().mean() < 0.005
    assert (agreeing - x).square().mean() < 0.7 * (result.image - x).square().mean()


def test_modules_that_a_corruption_computes_nothing_with() -> None:
    modules = {module for family in FAMILIES for module in family.modules}
    unused = {name.rpartition(".")[2] for name in unused_modules("shuffle:noise-5+jpeg-file-5..40")}
    assert modules - unused == {"noise", "codec"}
    assert {name.rpartition(".")[2] for name in unused_modules("jpeg-5")} == modules - {"jpeg"}


def test_names_tell_which_corruptions_can_be_agreed_with() -> None:
    x, drawn = crops(), ItemNoise(0, "corruption", range(4))
    for family in FAMILIES:
        for name in family.names:
            known = build(name, SIZE, "exact")(x, drawn, items=[0, 1, 2, 3]).linear is not None
            assert known == (agrees(name) or name.startswith(("inpaint", "scratches"))), name


def test_what_agrees_with_a_jpeg_is_nearer_to_it() -> None:
    x = crops()
    for name in ("jpeg-10", "jpeg-file-5..20"):
        seen = build(name, SIZE, "exact")(x, ItemNoise(0, "corruption", range(4)))
        assert seen.linear is not None
        other = (seen.image + x.roll(1, dims=3)) / 2
        agreeing = seen.linear.agreeing(other, seen.image)
        off = [(seen.linear.apply(image) - seen.image).abs().mean() for image in (other, agreeing)]
        assert off[1] < 0.25 * off[0], name
