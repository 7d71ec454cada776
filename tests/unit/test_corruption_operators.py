"""Corruptions: what each does to an image, on any size, in any batch."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_image
from torch import Tensor

from bridgepipe.corruptions import KERNELS, MIXTURE, NAMES, blur, build
from bridgepipe.corruptions.inpaint import FILE_KEYS, RATIOS, BrushMasks, MaskFile, fill_hole
from bridgepipe.corruptions.jpeg import Jpeg
from bridgepipe.corruptions.superresolution import bicubic_matrix
from bridgepipe.errors import UserError
from bridgepipe.runtime.rng import ItemNoise

VARIANTS = ["published", "exact"]
HOLES = [name for name in NAMES if name.startswith(("inpaint", "scratches"))]
# what takes no other number of channels than 1 and 3, or does not do the same to every channel
PARTICULAR = [n for n in NAMES if "jpeg" in n or n == "mixture" or n.startswith(("webp", "noise", "poisson"))]
LINEAR = ["blur-uni", "blur-gauss", "sr4x-pool"]


@cache
def photo() -> np.ndarray:
    return load_sample_image("china.jpg")


def crops(size: tuple[int, int] = (32, 32), count: int = 6) -> Tensor:
    h, w = size
    pixels = np.stack([photo()[40 * i : 40 * i + h, 60 * i : 60 * i + w] for i in range(count)])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1


def noise(items: range | list[int], seed: int = 0) -> ItemNoise:
    return ItemNoise(seed, "corruption", items)


def psnr(a: Tensor, b: Tensor) -> float:
    return float(10 * torch.log10(4 / (a - b).square().mean()))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(32, 32), (32, 48)])
def test_shape_and_type(name: str, variant: str, size: tuple[int, int]) -> None:
    x = crops(size)
    kept = x.clone()
    result = build(name, size, variant)(x, noise(range(6)))
    assert result.image.shape == x.shape
    assert result.image.dtype == torch.float32
    assert result.image.isfinite().all()
    assert torch.equal(x, kept)
    assert (result.mask is not None) == (name in HOLES)
    if result.mask is not None:
        assert result.mask.shape == (6, 1, *size)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", NAMES)
def test_batch_does_not_matter(name: str, variant: str) -> None:
    x, corrupt = crops(), build(name, 32, variant)
    together = corrupt(x, noise(range(6))).image
    alone = torch.cat([corrupt(x[[i]], noise([i])).image for i in range(6)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["blur-uni", "jpeg-5", "sr4x-bicubic"])
def test_half_precision_around_does_not_reach_in(name: str) -> None:
    x, corrupt = crops(), build(name, 32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = corrupt(x).image
    assert torch.equal(inside, corrupt(x).image)


@pytest.mark.parametrize("channels", [1, 2, 4])
@pytest.mark.parametrize("name", [n for n in NAMES if n not in PARTICULAR])
def test_any_number_of_channels(name: str, channels: int) -> None:
    x = crops()[:, :1].expand(-1, channels, -1, -1)
    image = build(name, 32, "exact")(x, noise(range(6))).image
    assert image.shape == x.shape
    torch.testing.assert_close(image, image[:, :1].expand_as(image), rtol=0, atol=1e-6)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", LINEAR)
def test_linear(name: str, variant: str) -> None:
    corrupt = build(name, 32, variant)
    a, b = crops()[:3], crops()[3:]
    mixed = corrupt(0.3 * a + 0.7 * b).image
    parts = 0.3 * corrupt(a).image + 0.7 * corrupt(b).image
    torch.testing.assert_close(mixed, parts, rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [(32, 32), (9, 20), (3, 5), (1, 2)])
@pytest.mark.parametrize("name", ["blur-uni", "blur-gauss"])
def test_exact_blur_keeps_a_flat_image(name: str, size: tuple[int, int]) -> None:
    flat = torch.full((1, 3, *size), 0.4)
    torch.testing.assert_close(build(name, size, "exact")(flat).image, flat, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("name", "radius"), [("blur-uni", 4), ("blur-gauss", 2)])
def test_exact_blur_is_the_kernel_of_its_name(name: str, radius: int) -> None:
    point = torch.zeros(1, 3, 21, 21)
    point[:, 1, 10, 10] = 1
    image = build(name, 21, "exact")(point).image
    kernel = KERNELS[name]().float()
    expected = torch.zeros(21, 21)
    expected[10 - radius : 11 + radius, 10 - radius : 11 + radius] = torch.outer(kernel, kernel)
    torch.testing.assert_close(image[0, 1], expected, rtol=0, atol=1e-7)
    assert not image[0, [0, 2]].any()


@pytest.mark.parametrize(("name", "gain"), [("blur-uni", 8 / 9), ("blur-gauss", 0.802)])
def test_published_blur_loses_a_tap(name: str, gain: float) -> None:
    matrix = blur.published_matrix(KERNELS[name](), 64)
    assert float(matrix[32].sum()) == pytest.approx(gain, abs=1e-3)
    half = len(KERNELS[name]()) // 2
    assert matrix[32].nonzero().flatten().tolist() == list(range(32 - half, 32 + half))


def test_published_blur_mixes_channels() -> None:
    red = torch.zeros(1, 3, 32, 32)
    red[:, 0] = crops()[0, 0]
    operator = blur.PublishedBlur(blur.uniform_kernel(), (32, 32))
    gain = operator.gain(3)
    assert torch.equal(gain[0].flatten()[operator.order][:300], operator.products[::3][:300])
    single = operator.gain(1).flatten()[operator.order]
    assert torch.equal(single, operator.products)


@pytest.mark.parametrize("size", [16, 32, 64, 256])
def test_bicubic_loses_no_singular_value(size: int) -> None:
    """The published code zeroes those below 0.03: there are none, so the plain product is the same."""
    matrix = bicubic_matrix(size)
    assert torch.linalg.svdvals(matrix).min() > 0.03
    torch.testing.assert_close(matrix.sum(1), torch.ones(size // 4), rtol=0, atol=1e-6)


def test_pool_is_the_mean_of_four_by_four_and_idempotent() -> None:
    corrupt, x = build("sr4x-pool", (32, 48)), crops((32, 48))
    image = corrupt(x).image
    torch.testing.assert_close(
        image[0, :, :4, :4], x[0, :, :4, :4].mean((1, 2), keepdim=True).expand(3, 4, 4)
    )
    torch.testing.assert_close(corrupt(image).image, image, rtol=0, atol=1e-6)


def test_exact_bicubic_is_clipped() -> None:
    edge = torch.where(torch.arange(32) < 16, -1.0, 1.0).expand(1, 1, 32, 32)
    assert build("sr4x-bicubic", 32)(edge).image.max() > 1.01
    assert build("sr4x-bicubic", 32, "exact")(edge).image.abs().max() <= 1


@pytest.mark.parametrize("variant", VARIANTS)
def test_jpeg_improves_with_quality(variant: str) -> None:
    x = crops((128, 160), 2)
    values = [psnr(build(f"jpeg-{q}", (128, 160), variant)(x).image, x) for q in (1, 5, 10, 30, 60, 90)]
    assert values == sorted(values)
    assert values[0] > 12
    assert values[-1] > 27


def test_exact_jpeg_gives_pixels() -> None:
    pixels = (build("jpeg-5", 64, "exact")(crops((64, 64))).image + 1) * 127.5
    torch.testing.assert_close(pixels, pixels.round(), rtol=0, atol=1e-4)
    assert pixels.min() > -1e-4
    assert pixels.max() < 255 + 1e-4
    assert build("jpeg-5", 64)(crops((64, 64))).image.max() > 1


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("quality", [5, 10, 50, 95])
@pytest.mark.parametrize("size", [(256, 384), (37, 51)])
def test_exact_jpeg_is_what_a_jpeg_file_holds(quality: int, size: tuple[int, int], mode: str) -> None:
    source = Image.fromarray(photo()[100 : 100 + size[0], 200 : 200 + size[1]]).convert(mode)
    file = io.BytesIO()
    source.save(file, "JPEG", quality=quality, subsampling=2)
    before, after = (torch.from_numpy(np.atleast_3d(np.array(i))) for i in (source, Image.open(file)))
    x0, stored = (i.permute(2, 0, 1)[None] / 127.5 - 1 for i in (before, after))
    image = build(f"jpeg-{quality}", size, "exact")(x0).image
    assert (image - stored).abs().mean() < 1 / 127.5
    assert psnr(image, stored) > psnr(x0, stored) + 4


@pytest.mark.parametrize("variant", VARIANTS)
def test_grey_jpeg_is_luma_only(variant: str) -> None:
    codec = Jpeg(10, (24, 40), variant)
    luma, chroma = codec.encode(crops((24, 40))[:, :1])
    assert chroma is None
    assert luma.shape == (6, 1, 24, 40)
    assert psnr(codec(crops((24, 40))[:, :1]), crops((24, 40))[:, :1]) > 18


@pytest.mark.parametrize("name", HOLES)
def test_hole_is_white_and_the_rest_untouched(name: str) -> None:
    x = crops((40, 24))
    result = build(name, (40, 24))(x, noise(range(6)))
    assert result.mask is not None
    hole = result.mask.bool().expand_as(x)
    assert (result.image[hole] == 1).all()
    assert torch.equal(result.image[~hole], x[~hole])
    draw = noise(range(6)).normal(x.shape[1:])
    filled = fill_hole(result.image, result.mask, draw)
    assert torch.equal(filled[hole], draw[hole])
    assert torch.equal(filled[~hole], x[~hole])
    assert torch.equal(build(name, (40, 24))(result.image, noise(range(6))).image, result.image)


@pytest.mark.parametrize("size", [(32, 32), (80, 28), (4, 4)])
@pytest.mark.parametrize("kind", RATIOS)
def test_area_of_drawn_masks(kind: str, size: tuple[int, int]) -> None:
    low, high = RATIOS[kind]
    masks = BrushMasks(size, low, high).take(range(1000 if size == (32, 32) else 100))
    share = masks.double().mean((1, 2, 3))
    assert share.min() >= low - 1e-9
    assert share.max() <= high + 1e-9
    assert set(masks.unique().tolist()) == {0.0, 1.0}
    if size != (4, 4):
        assert share.std() > 0.015


def test_drawn_masks_are_strokes_at_any_size() -> None:
    """Few borders between hole and image, unlike scattered pixels; and the masks differ."""
    masks = BrushMasks((200, 130), 0.2, 0.3).take(range(12))
    borders = masks.diff(dim=-1).abs().mean((1, 2, 3))
    assert borders.max() < 0.08
    assert len({m.numpy().tobytes() for m in masks}) == 12


def test_drawn_masks_do_not_depend_on_the_order() -> None:
    forwards, backwards = (BrushMasks((32, 32), 0.1, 0.2) for _ in range(2))
    assert torch.equal(forwards.take([3, 8, 5]), backwards.take([5, 8, 3]).flip(0))
    assert not torch.equal(forwards.take([3]), BrushMasks((32, 32), 0.1, 0.2, seed=1).take([3]))


def test_mask_of_an_item_is_fixed() -> None:
    corrupt, x = build("inpaint-freeform2030", 32), crops()
    fixed = corrupt(x, noise(range(6)), items=range(20, 26)).mask
    assert fixed is not None
    assert torch.equal(fixed, BrushMasks((32, 32), 0.2, 0.3).take(range(20, 26)))
    again, other = corrupt(x, noise(range(6))).mask, corrupt(x, noise(range(6), seed=1)).mask
    assert again is not None
    assert other is not None
    assert torch.equal(again, corrupt(x, noise(range(6))).mask)
    assert not torch.equal(again, other)


def test_mixture_in_validation_numbers_kind_and_mask_alike() -> None:
    x, items = crops(count=6).repeat(3, 1, 1, 1), range(100, 118)
    images = {v: build("mixture", 32, v)(x, noise(items), items).image for v in VARIANTS}
    draws = noise(items).normal(x.shape[1:])
    for i, item in enumerate(items):
        kind = item % 9
        for variant, number in (("published", kind), ("exact", item)):
            part = build(MIXTURE[kind], 32, variant)(x[[i]], items=[number])
            expected = part.image if part.mask is None else fill_hole(part.image, part.mask, draws[[i]])
            torch.testing.assert_close(images[variant][[i]], expected, rtol=0, atol=1e-6)


def test_mixture_in_training_uses_every_kind() -> None:
    x = crops(count=1).expand(90, -1, -1, -1)
    result = build("mixture", 32)(x, noise(range(90)))
    assert result.mask is None
    kinds = noise(range(90)).integers(9)
    assert set(kinds.tolist()) == set(range(9))
    first = (kinds == 2).nonzero().flatten()
    torch.testing.assert_close(result.image[first], build("blur-uni", 32)(x[first]).image, rtol=0, atol=1e-6)


def write_masks(path: Path, size: tuple[int, int], count: int = 5) -> np.ndarray:
    masks = np.random.default_rng(0).integers(0, 2, (count, *size), dtype=np.uint8)
    np.savez(path, **{key: np.packbits(masks) for key in FILE_KEYS.values()})
    return masks


def test_mask_file_not_aligned_to_bytes(tmp_path: Path) -> None:
    masks = write_masks(tmp_path / "masks.npz", (7, 9))
    file = MaskFile(tmp_path / "masks.npz", "freeform3040", (7, 9))
    assert len(file) == 5
    assert np.array_equal(file.take([4, 0, 2])[:, 0].numpy(), masks[[4, 0, 2]])
    with pytest.raises(IndexError):
        file.take([5])


def test_mask_file_that_cannot_be_used(tmp_path: Path) -> None:
    def message(path: Path, **arguments: object) -> str:
        with pytest.raises(UserError) as caught:
            build("inpaint-freeform1020", 8, mask_file=path, mask_size=(8, 8))(
                torch.zeros(1, 3, 8, 8), noise([0])
            )
        return str(caught.value)

    path = tmp_path / "masks.npz"
    assert "fetch" in message(path)
    path.write_bytes(b"nothing")
    assert "unreadable" in message(path)
    np.savez(path, other=np.zeros(8, np.uint8))
    assert "10-20% freeform" in message(path)
    np.savez(path, **{"10-20% freeform": np.array([{}], dtype=object)})
    assert "unreadable" in message(path)
    np.savez(path, **{"10-20% freeform": np.zeros(4)})
    assert "packed" in message(path)
    whole = tmp_path / "whole.npz"
    write_masks(whole, (8, 8))
    path.write_bytes(whole.read_bytes()[:300])
    assert "unreadable" in message(path)
    with pytest.raises(UserError, match="256 x 256"):
        build("inpaint-freeform1020", 32, mask_file=whole)


@pytest.mark.parametrize(
    ("name", "size", "told"),
    [
        ("jpg-5", 32, "jpeg-5"),
        ("blur-gaussian", 32, "blur-gauss"),
        ("inpaint-centre", 32, "inpaint-center"),
        ("jpeg-0", 32, "1"),
        ("jpeg-101", 32, "100"),
        ("jpeg-5", 20, "multiples of 16"),
        ("sr4x-pool", (32, 30), "multiples of 4"),
        ("sr4x-bicubic", 30, "multiples of 4"),
        ("inpaint-center", 1, "2 x 2"),
        ("inpaint-freeform1020", 2, "larger image"),
        ("mixture", 20, "multiples of 16"),
    ],
)
def test_bad_input_is_told(name: str, size: int | tuple[int, int], told: str) -> None:
    with pytest.raises(UserError, match=told):
        build(name, size)


def test_bad_images_are_told() -> None:
    with pytest.raises(UserError, match="32 x 32"):
        build("sr4x-pool", 64)(crops())
    with pytest.raises(UserError, match="channels"):
        build("jpeg-5", 32)(crops().repeat(1, 2, 1, 1))
    with pytest.raises(UserError, match="16"):
        build("jpeg-5", 24)(crops((24, 24)))
    with pytest.raises(UserError, match="variant"):
        build("jpeg-5", 32, "original")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="rng"):
        build("inpaint-freeform1020", 32)(crops())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", NAMES)
def test_gpu_agrees(name: str, variant: str) -> None:
    x, corrupt = crops(), build(name, 32, variant)
    expected = corrupt(x, noise(range(6)))
    result = corrupt(x.cuda(), ItemNoise(0, "corruption", range(6), "cuda"))
    assert result.image.is_cuda
    difference = (result.image.cpu() - expected.image).abs()
    assert (difference > 1e-4).float().mean() < 1e-3
    if expected.mask is not None:
        assert result.mask is not None
        assert torch.equal(result.mask.cpu(), expected.mask)
