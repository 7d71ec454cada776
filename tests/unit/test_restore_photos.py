"""`bridgepipe restore`: what of a picture stays, what a person is told, and that nothing is lost."""

from __future__ import annotations

import base64
import io
import json
import struct
import sys
import tracemalloc
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, ImageCms, ImageSequence
from PIL.PngImagePlugin import PngInfo

from bridgepipe import artifacts, cli
from bridgepipe.config.i2sb import RestorationTraining
from bridgepipe.config.stage_files import read_stage
from bridgepipe.datasets.images import decode
from bridgepipe.methods import i2sb, tiles
from bridgepipe.photographs import animation, encoding, likeness, pictures, restoring, shipped
from bridgepipe.photographs.made import NAME
from bridgepipe.runtime.interruption import Interrupted
from bridgepipe.runtime.progress import Progress

NETWORK = {"kind": "residual", "model_channels": 32, "channel_mult": [1, 1], "num_res_blocks": 1}
PROBLEM = {"method": "i2sb", "dataset": "photographs", "corruption": "jpeg-5", "variant": "exact"}
KNOWN = {"size": [16, 300], "statistics": {"jpeg_quality": [5, 40], "saturation": [3, 150]}}
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that changes pixels by a few levels, and its card."""
    file = tmp_path_factory.mktemp("weights") / "small.safetensors"
    network = i2sb.network((64, 64), False, seed=1, **{**NETWORK, "channel_mult": (1, 1)})
    torch.nn.init.normal_(network.last.weight, std=0.02)
    config = {**PROBLEM, "network": NETWORK, "train": {"steps": 1}}
    artifacts.save_tensors(file, network.state_dict(), {"config": config})
    content = artifacts.load_card(file)[artifacts.CONTENT]
    card = {"settings": {**PROBLEM, "sample": {"nfe": 1}}, "content": content, "trained_for": KNOWN}
    artifacts.write_json(file.with_name(shipped.CARD), card)
    return file


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def photo(height: int = 40, width: int = 56, channels: int = 3, seed: int = 0) -> np.ndarray:
    """A gradient with coarse noise, uint8 [H, W, C]; one channel: [H, W]."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(0, 30, (height // 4 + 1, width // 4 + 1, channels)).repeat(4, 0).repeat(4, 1)
    found = coarse[:height, :width] + np.linspace(40, 200, width)[None, :, None]
    return found.clip(0, 255).astype(np.uint8).squeeze()


def opened(name: str, frame: int = 0) -> Image.Image:
    found = Image.open(io.BytesIO(Path(name).read_bytes()))
    found.seek(frame)
    return found


def restore(weights: Path, *words: object) -> None:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as end:
        patch.setattr(sys, "argv", ["bridgepipe", "restore", *map(str, words), "--model", str(weights)])
        cli.main()
    assert not end.value.code, end.value.code


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    capsys.readouterr()
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as end:
        patch.setattr(sys, "argv", ["bridgepipe", "restore", *map(str, words)])
        cli.main()
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def exif(orientation: int = 6) -> Image.Exif:
    made = Image.Exif()
    made[274], made[0x010F] = orientation, "maker"
    made.get_ifd(0x8769)[0x9003] = "2020:01:02 03:04:05"
    return made


def test_a_photograph_keeps_what_no_network_touches(weights: Path, tmp_path: Path) -> None:
    xmp = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"
    text = PngInfo()
    text.add_text("Title", "of the picture")
    kinds: dict[str, dict[str, Any]] = {
        "a.jpg": {"quality": 10, "comment": b"note", "xmp": xmp},
        "b.png": {"pnginfo": text},
        "c.webp": {"quality": 10, "xmp": xmp},
        "d.tif": {},
        "e.avif": {"quality": 20},
    }
    for name, options in kinds.items():
        options |= {"exif": exif().tobytes(), "icc_profile": SRGB, "dpi": (300, 300)}
        Image.fromarray(photo()).save(name, **options)
    before = {name: Path(name).read_bytes() for name in kinds}
    restore(weights, *kinds, "-o", "out", "--jpeg-quality", 100)
    for name in kinds:
        with Image.open(name) as old, Image.open(Path("out", name)) as new:
            assert (new.format, new.mode, new.size) == (old.format, old.mode, old.size), name
            tags = new.getexif()
            assert tags[0x010F] == "maker", name
            # Pillow turns a TIFF as it reads it, and drops the tag
            assert tags.get(274, 1) == (1 if name == "d.tif" else 6), name
            assert tags.get_ifd(0x8769)[0x9003] == "2020:01:02 03:04:05"
            assert new.info["icc_profile"] == SRGB
            assert new.info.get("xmp") == old.info.get("xmp")
            assert new.info.get("comment") == old.info.get("comment")
            if name not in ("c.webp", "e.avif"):  # which have no place for it
                assert tuple(map(round, new.info["dpi"])) == (300, 300)
            change = np.abs(np.asarray(new).astype(int) - np.asarray(old))
            assert 0.5 < change.mean() < 30, name
    assert opened("out/b.png").text["Title"] == "of the picture"
    assert opened("out/a.jpg").layer[0][1:3] == (1, 1)  # colours as fine as the brightness
    assert {name: Path(name).read_bytes() for name in kinds} == before


def test_every_mode_stays_what_it_is(weights: Path) -> None:
    alpha = np.arange(40 * 56).reshape(40, 56).astype(np.uint8)
    coloured, grey = Image.fromarray(photo()), Image.fromarray(photo(channels=1))
    fine = Image.fromarray(photo(channels=1).astype(np.uint16) * 257 + 3)
    wide = Image.fromarray(photo(channels=1).astype(np.float32) / 90 - 1)
    cmyk = coloured.convert("CMYK")
    rgba, la = coloured.copy(), grey.copy()
    rgba.putalpha(Image.fromarray(alpha))
    la.putalpha(Image.fromarray(alpha))
    pictures_of = {
        "l.png": grey,
        "l.jpg": grey,
        "la.png": la,
        "rgba.png": rgba,
        "rgba.webp": rgba,
        "i16.png": fine,
        "i16.tif": fine,
        "f.tif": wide,
        "lzw.tif": coloured,
        "cmyk.jpg": cmyk,
        "cmyk.tif": cmyk,
        "p.gif": coloured.quantize(200),
        "grey.gif": grey,
        "one.png": grey.convert("1"),
        "rgb.bmp": coloured,
        "rgb.ppm": coloured,
        "l.pgm": grey,
        "rgb.tga": rgba,
        "rgb.jp2": coloured,
        "rgb.ico": rgba,
    }
    for name, image in pictures_of.items():
        options = {"rgba.webp": {"lossless": True}, "lzw.tif": {"compression": "tiff_lzw"}}
        image.save(name, **options.get(name, {}))
    restore(weights, *pictures_of, "-o", "out")
    for name in pictures_of:
        with Image.open(name) as old, Image.open(Path("out", name)) as new:
            assert (new.format, new.size) == (old.format, old.size), name
            assert new.info.get("compression") == old.info.get("compression"), name
            assert new.mode == {"1": "L"}.get(old.mode, old.mode), name
            if "A" in old.getbands():
                assert np.array_equal(np.asarray(new.getchannel("A")), np.asarray(old.getchannel("A"))), name
            span = np.ptp(np.asarray(old).astype(float)) / 255
            change = np.abs(np.asarray(new).astype(float) - np.asarray(old)).mean()
            assert name == "one.png" or old.mode == "P" or 0.3 * span < change < 40 * span, name
    values = np.asarray(Image.open("out/i16.png"))
    assert len(np.unique(values % 257)) > 200  # not 8 bits made wide
    assert np.ptp(np.asarray(opened("out/grey.gif").convert("RGB")), axis=-1).max() == 0


def png_of_16_bits(pixels: np.ndarray, colour_type: int) -> bytes:
    """A file that Pillow cannot write, of uint16 [H, W, C]."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    lines = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    head = struct.pack(">II", pixels.shape[1], pixels.shape[0]) + bytes([16, colour_type, 0, 0, 0])
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", head),
            chunk(b"IDAT", zlib.compress(lines)),
            chunk(b"IEND", b""),
        ]
    )


def levels_of_png(content: bytes) -> np.ndarray:
    """Pixels uint16 [H, W, C] of such a file whose lines are less the pixel to the left."""
    at, data = 8, b""
    while at < len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        if kind == b"IHDR":
            width, height, bits, colours = struct.unpack_from(">IIBB", content, at + 8)
        data += content[at + 8 : at + 8 + length] if kind == b"IDAT" else b""
        at += 12 + length
    channels = {2: 3, 6: 4}[colours]
    assert bits == 16
    lines = np.frombuffer(zlib.decompress(data), np.uint8).reshape(height, 1 + 2 * width * channels)
    assert (lines[:, 0] == 1).all()
    pixels = lines[:, 1:].reshape(height, width, 2 * channels).cumsum(axis=1, dtype=np.uint8)
    return np.ascontiguousarray(pixels).view(">u2").astype(np.uint16)


def fine_photo(channels: int = 3) -> np.ndarray:
    """Colour of 16 bits, whose lower halves are noise."""
    low = np.random.default_rng(5).integers(0, 256, (40, 56, channels))
    return (photo(channels=channels).astype(np.uint16) << 8) + low.astype(np.uint16)


def test_colour_of_16_bits_stays(weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for channels, kind in ((3, 2), (4, 6)):
        Path(f"{channels}.png").write_bytes(png_of_16_bits(fine_photo(channels), kind))
        alpha = {"extrasamples": ["unassalpha"]} if channels == 4 else {}
        for name, how in {
            "": {},
            "z": {"compression": "zlib", "predictor": True},
            "b": {"byteorder": ">"},
        }.items():
            tifffile.imwrite(f"{channels}{name}.tif", fine_photo(channels), photometric="rgb", **alpha, **how)
    restore(weights, *sorted(map(str, Path().glob("*.*"))), "-o", "out")
    assert "bits" not in capsys.readouterr().err
    for file in sorted(Path("out").glob("[34]*")):
        deep = levels_of_png(file.read_bytes()) if file.suffix == ".png" else tifffile.imread(file)
        old = fine_photo(int(file.name[0]))
        assert (deep.dtype, deep.shape) == (old.dtype, old.shape)
        assert np.array_equal(deep[..., 3:], old[..., 3:])
        change = np.abs(deep[..., :3].astype(int) - old[..., :3])
        assert 0.5 < change.mean() / 257 < 30
        assert len(np.unique(deep % 257)) > 200  # not 8 bits made wide
        assert np.array_equal(deep, levels_of_png(Path(f"out/{deep.shape[2]}.png").read_bytes()))
        with Image.open(file) as seen:  # other programs read it
            assert np.array_equal(np.asarray(seen), deep >> 8)


def test_colour_of_16_bits_keeps_its_metadata(weights: Path) -> None:
    Path("a.png").write_bytes(png_of_16_bits(fine_photo(), 2))
    Image.fromarray(photo()).save("tags.png", icc_profile=SRGB, exif=exif(1).tobytes(), dpi=(300, 300))
    chunks = Path("tags.png").read_bytes()
    deep, at = Path("a.png").read_bytes(), chunks.index(b"iCCP") - 4
    Path("a.png").write_bytes(deep[:33] + chunks[at : chunks.index(b"IDAT") - 4] + deep[33:])
    restore(weights, "a.png", "-o", "out")
    restore(weights, "a.png", "-o", "out", "--format", "tif")
    for name in ("a.png", "a.tif"):
        new = opened(f"out/{name}")
        assert new.info["icc_profile"] == SRGB
        assert new.getexif()[0x010F] == "maker"
        assert tuple(map(round, new.info["dpi"])) == (300, 300)
    assert np.array_equal(tifffile.imread("out/a.tif"), levels_of_png(Path("out/a.png").read_bytes()))


def test_lost_bits_are_told(weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.png").write_bytes(png_of_16_bits(fine_photo(), 2))
    restore(weights, "a.png", "-o", "out.jpg")
    assert "a.png: more than 8 bits a channel become 8 in JPEG\n" in capsys.readouterr().err
    assert opened("out.jpg").mode == "RGB"
    grey = png_of_16_bits(fine_photo(2), 4)  # with transparency: read as 8 bits
    Path("la.png").write_bytes(grey)
    Path("a.ppm").write_bytes(b"P6 56 40 65535 " + fine_photo().astype(">u2").tobytes())
    Path("b.ppm").write_bytes(b"P6 56 40 255 " + photo().tobytes())
    Image.fromarray(photo(channels=1).astype(np.uint16) * 257).save("i16.png")
    restore(weights, "la.png", "a.ppm", "b.ppm", "i16.png", "-o", "out")
    told = [line for line in capsys.readouterr().err.splitlines() if "bits" in line]
    assert told == [
        "la.png: more than 8 bits a channel become 8 in PNG",
        "a.ppm: more than 8 bits a channel become 8 in PPM",
    ]


def test_a_tiff_file_that_pillow_decodes_to_noise_is_refused(
    weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    apart = np.ascontiguousarray(np.moveaxis(fine_photo(), -1, 0))
    tifffile.imwrite("a.tif", apart, photometric="rgb", planarconfig="separate")
    assert "of 16 bits whose colours are stored apart" in refused(capsys, "a.tif", "--model", weights)
    with pytest.raises(ValueError, match="stored apart"):
        decode(Path("a.tif"))
    tifffile.imwrite("b.tif", apart.astype(np.uint8), photometric="rgb", planarconfig="separate")
    assert np.array_equal(np.asarray(decode(Path("b.tif"))), fine_photo().astype(np.uint8))


def test_a_grey_picture_in_colours_stays_grey(weights: Path) -> None:
    Image.fromarray(photo(channels=1)).convert("RGB").save("grey.png")
    restore(weights, "grey.png", "-o", "out")
    assert np.ptp(np.asarray(Image.open("out/grey.png").convert("RGB")), axis=-1).max() == 0


def test_another_format_turns_what_it_cannot_tell(weights: Path) -> None:
    Image.fromarray(photo()).save("a.jpg", exif=exif(6), quality=90)
    restore(weights, "a.jpg", "-o", "out", "--format", "bmp")
    restore(weights, "a.jpg", "-o", "out", "--format", "png")
    assert opened("out/a.bmp").size == (40, 56)
    assert opened("out/a.png").size == (56, 40)
    restore(weights, "a.jpg", "-o", "named.webp")
    assert opened("named.webp").format == "WEBP"


def test_standard_input_and_output(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.BytesIO()
    Image.fromarray(photo()).save(file, "jpeg", quality=10)
    out = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(file.getvalue())))
    monkeypatch.setattr(sys, "stdout", out)
    restore(weights, "-")
    made = Image.open(io.BytesIO(out.buffer.getvalue()))
    assert (made.format, made.size) == ("JPEG", (56, 40))


def test_folders_and_globs(weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("in/a.png", "in/deep/b.png", "in/deep/c.jpg"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo()).save(name)
    restore(weights, "in")
    assert capsys.readouterr().out.split() == ["restored/a.png", "restored/deep/b.png", "restored/deep/c.jpg"]
    restore(weights, "in/**/*.png", "-o", "some")
    assert capsys.readouterr().out.split() == ["some/a.png", "some/b.png"]
    assert "would be taken for images next time" in refused(
        capsys, "in", "-o", "in/restored", "--model", weights
    )


def test_a_run_goes_on_where_it_was(
    weights: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for k in range(3):
        Image.fromarray(photo(40, 56 + k, seed=k)).save(f"{k}.png")
    names = [f"{k}.png" for k in range(3)]
    restore(weights, *names, "-o", "once")
    told = Progress.after

    def stop(self: Progress, items: int) -> None:
        told(self, items)
        if items == 40 * 57:
            raise Interrupted("stopped")

    monkeypatch.setattr(Progress, "after", stop)
    with pytest.raises(SystemExit), monkeypatch.context() as patch:
        patch.setattr(sys, "argv", ["bridgepipe", "restore", *names, "-o", "twice", "--model", str(weights)])
        cli.main()
    assert sorted(file.name for file in Path("twice").glob("*.png")) == ["0.png"]
    first = Path("twice/0.png").stat().st_mtime_ns
    monkeypatch.setattr(Progress, "after", told)
    capsys.readouterr()
    restore(weights, *names, "-o", "twice")
    assert "found 2.24k of 6.84k pixels finished" in capsys.readouterr().err
    assert Path("twice/0.png").stat().st_mtime_ns == first
    for name in (*names, NAME):
        assert Path("twice", name).read_bytes() == Path("once", name).read_bytes()
    restore(weights, *names, "-o", "twice", "--strength", "0.5")  # another result takes its place
    assert Path("twice/0.png").read_bytes() != Path("once/0.png").read_bytes()
    Image.fromarray(photo()).save("twice/1.png")  # somebody's own
    assert "did not make" in refused(capsys, *names, "-o", "twice", "--model", weights)


def written_at(folder: str) -> dict[str, int]:
    """When each file of a folder was written."""
    return {file.name: file.stat().st_mtime_ns for file in Path(folder).iterdir()}


def test_the_result_of_another_photograph_is_not_replaced(
    weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed, name in enumerate(("photo.png", "other/photo.png")):
        Path(name).parent.mkdir(exist_ok=True)
        Image.fromarray(photo(seed=seed)).save(name)
    restore(weights, "photo.png")
    first = written_at("restored")
    for words in (["other/photo.png"], ["other"], ["other/photo.png", "-o", "restored/photo.png"]):
        line = refused(capsys, *words, "--model", weights)
        assert "made of another photograph" in line
        assert line.endswith("(restored/photo.png): give another place to --output, or move it away")
    assert written_at("restored") == first
    restore(weights, "photo.png")
    assert capsys.readouterr().err.splitlines() == ["already restored"]
    assert written_at("restored") == first
    Path("renamed.png").write_bytes(Path("photo.png").read_bytes())
    restore(weights, "renamed.png", "-o", "restored/photo.png")  # the same photograph
    assert written_at("restored") == first
    Image.fromarray(photo(seed=2)).save("photo.png")  # edited
    restore(weights, "photo.png")
    assert written_at("restored") != first
    Path("restored/photo.png").unlink()
    restore(weights, "other/photo.png")
    assert Path("restored/photo.png").is_file()


def test_records_that_do_not_say_which_photograph_a_result_is_of_are_read(weights: Path) -> None:
    for seed, name in enumerate(("photo.png", "other/photo.png")):
        Path(name).parent.mkdir(exist_ok=True)
        Image.fromarray(photo(seed=seed)).save(name)
    restore(weights, "photo.png")
    record = Path("restored", NAME)
    entry = json.loads(record.read_text())
    assert entry.pop("photo") == artifacts.digest_file(Path("photo.png"))
    record.write_text(json.dumps(entry) + "\n")
    first = written_at("restored")
    restore(weights, "photo.png")
    assert written_at("restored") == first
    restore(weights, "other/photo.png")
    assert written_at("restored") != first


def test_small_pictures_do_not_depend_on_their_neighbours(weights: Path) -> None:
    for k in range(5):
        Image.fromarray(photo(24, 24, seed=k)).save(f"{k}.png")
    restore(weights, *(f"{k}.png" for k in range(5)), "-o", "all", "--nfe", 3)
    restore(weights, "3.png", "-o", "one", "--nfe", 3)
    assert Path("all/3.png").read_bytes() == Path("one/3.png").read_bytes()
    restore(weights, "3.png", "-o", "seed", "--nfe", 3, "--seed", 5)
    assert Path("seed/3.png").read_bytes() != Path("one/3.png").read_bytes()


def test_what_is_unlike_is_told_once(weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for quality in (5, 30, 90):
        Image.fromarray(photo()).save(f"{quality}.jpg", quality=quality)
    Image.fromarray(photo(channels=1)).save("grey.png")
    restore(weights, "5.jpg", "30.jpg", "90.jpg", "grey.png", "-o", "out")
    assert capsys.readouterr().err.splitlines() == [
        "5.jpg: JPEG of quality about 5, 4:2:0",
        "30.jpg: JPEG of quality about 30, 4:2:0",
        "90.jpg: JPEG of quality about 90, 4:2:0",
        "unlike what the network was trained on: 90.jpg: jpeg quality 90 (trained on 5 to 40), and 1 more",
    ]


def moving(alpha: bool = False) -> list[Image.Image]:
    """Three frames; what shows in one is transparent in the next."""
    frames = [Image.fromarray(photo(24, 32, seed=k)) for k in range(3)]
    for k, frame in enumerate(frames if alpha else []):
        seen = np.zeros((24, 32), np.uint8)
        seen[1 + 6 * k : 10 + 6 * k, 4:28] = 255
        frame.putalpha(Image.fromarray(seen))
    return frames


def frames_of(name: str) -> list[np.ndarray]:
    """Composed, as a viewer shows them [N,H,W,4]."""
    return [np.asarray(frame.convert("RGBA")).astype(int) for frame in ImageSequence.Iterator(opened(name))]


def times_of(name: str) -> tuple[Any, list[Any], list[Any]]:
    """Loop, durations and disposals."""
    image, durations, disposals = opened(name), [], []
    for frame in ImageSequence.Iterator(image):
        frame.load()
        durations.append(frame.info.get("duration"))
        disposals.append(getattr(frame, "disposal_method", frame.info.get("disposal")))
    return image.info.get("loop"), durations, disposals


def test_all_frames_of_an_animation_are_restored(weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain, clear = moving()[:2], moving(alpha=True)[:2]
    kinds: dict[str, dict[str, Any]] = {
        "a.gif": {"loop": 0, "disposal": [1, 2]},
        "once.gif": {},
        "clear.gif": {"loop": 3, "disposal": 2},
        "a.webp": {"loop": 2, "quality": 95},
        "clear.webp": {"lossless": True},
        "a.png": {"loop": 5, "disposal": [0, 2]},
        "clear.png": {"loop": 0, "disposal": 1},
        "a.avif": {"quality": 95},
    }
    for name, options in kinds.items():
        frames = clear if "clear" in name else plain
        frames[0].save(name, save_all=True, append_images=frames[1:], duration=[50, 100], **options)
    default = {"save_all": True, "append_images": plain[1:], "default_image": True, "duration": [50]}
    plain[0].save("default.png", **default)
    before = {name: Path(name).read_bytes() for name in kinds}
    restore(weights, *kinds, "default.png", "-o", "out", "--jpeg-quality", 100)
    for name in (*kinds, "default.png"):
        old, new = frames_of(name), frames_of(f"out/{name}")
        assert len(new) == 2, name
        assert times_of(f"out/{name}") == times_of(name)
        for one, other in zip(old, new, strict=True):
            assert (one[..., 3] == other[..., 3]).all(), name
            seen = one[..., 3] == 255
            assert 0.5 < np.abs(one - other)[seen][..., :3].mean() < 12, name
    assert opened("out/default.png").info["default_image"]
    assert "frames" not in capsys.readouterr().err
    assert {name: Path(name).read_bytes() for name in kinds} == before
    with artifacts_of("out") as made:  # again: nothing is left to do
        restore(weights, *kinds, "default.png", "-o", "out", "--jpeg-quality", 100)
    assert made() == []


@contextmanager
def artifacts_of(folder: str) -> Iterator[Any]:
    """Which files of a folder are written meanwhile."""
    before = {file: file.stat().st_mtime_ns for file in Path(folder).iterdir()}
    yield lambda: [file for file in before if file.stat().st_mtime_ns != before[file]]


def test_frames_move_to_formats_that_hold_them(weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames = moving()
    shown = {"save_all": True, "append_images": frames[1:], "duration": [50, 100, 200]}
    frames[0].save("three.gif", loop=2, disposal=3, **shown)
    frames[0].save("pages.tif", save_all=True, append_images=frames[1:])
    for format, loop in {"png": 3, "webp": 3}.items():
        restore(weights, "three.gif", "-o", format, "--format", format)
        assert times_of(f"{format}/three.{format}")[:2] == (loop, [50, 100, 200])
    restore(weights, "three.gif", "-o", "gif")
    assert times_of("gif/three.gif") == (2, [50, 100, 200], [1, 1, 1])  # whole frames: none is taken back
    assert "frames" not in capsys.readouterr().err
    told = {
        (
            "three.gif",
            "jpg",
        ): "three.gif: 3 frames, of which JPEG holds one: the first is restored; --format png holds all",
        ("three.gif", "tiff"): "three.gif: 3 frames become pages: a TIFF file has no durations",
        (
            "pages.tif",
            "png",
        ): "pages.tif: 3 pages, of which PNG holds one: the first is restored; --format tiff holds all",
    }
    for (name, format), line in told.items():
        restore(weights, name, "-o", f"to-{format}", "--format", format)
        assert line in capsys.readouterr().err.splitlines()
    assert opened("to-tiff/three.tif").n_frames == 3
    assert getattr(opened("to-png/pages.png"), "n_frames", 1) == 1


def as_png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def test_a_grey_animation_of_16_bits_keeps_them(weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fine = [
        Image.fromarray(photo(24, 32, channels=1, seed=k).astype(np.uint16) * 257 + 3 + k) for k in range(2)
    ]
    with animation.Spool() as spool:  # Pillow (13.0.0) takes frames above level 255 for equal, and drops them
        for frame in fine:
            spool.add(frame)
        times = animation.Times("PNG", [100, 100], [0, 0])
        Path("a.png").write_bytes(animation.animation(spool, times, "PNG", as_png))
    plain = moving()
    default = {"save_all": True, "append_images": plain[1:], "default_image": True, "duration": [50, 100]}
    plain[0].save("default.png", **default)
    restore(weights, "a.png", "-o", "out")
    assert "bits" not in capsys.readouterr().err
    for k, frame in enumerate(fine):
        new = opened("out/a.png", k)
        assert new.mode == "I;16"
        assert 100 < np.abs(np.asarray(new).astype(int) - np.asarray(frame)).mean() < 12 * 257
    restore(weights, "a.png", "default.png", "-o", "webp", "--format", "webp")
    assert "a.png: more than 8 bits a channel become 8 in WEBP" in capsys.readouterr().err
    change = frames_of("webp/a.webp")[1][..., 0] - np.asarray(fine[1]) / 257
    assert np.abs(change).mean() < 12  # scaled, not cut
    assert times_of("webp/default.webp")[1] == [50, 100]  # the picture beside the animation is no frame


def test_pages_of_a_tiff_file_stay_what_they_are(weights: Path) -> None:
    """Sizes, modes, bits and compression of each."""
    grey = Image.fromarray(photo(160, 48, channels=1))
    fine = Image.fromarray(photo(channels=1).astype(np.uint16) * 257 + 3)
    pages = [Image.fromarray(photo()), grey, fine, Image.fromarray(photo()).convert("CMYK")]
    for compression in (None, "tiff_lzw"):
        name = f"{compression}.tif"
        pages[0].save(name, save_all=True, append_images=pages[1:], compression=compression)
        restore(weights, name, "-o", "out")
        if compression is None:  # by another reader
            assert (tifffile.imread(f"out/{name}", key=1) == np.asarray(opened(f"out/{name}", 1))).all()
        new = opened(f"out/{name}")
        assert new.n_frames == 4
        for k, page in enumerate(pages):
            new.seek(k)
            assert (new.mode, new.size) == (page.mode, page.size)
            assert new.info.get("compression") == (compression or "raw")
            change = np.abs(np.asarray(new).astype(int) - np.asarray(page)).mean()
            assert 0.5 < change / (257 if new.mode == "I;16" else 1) < 8
    with tifffile.TiffWriter("deep.tif") as file:
        for k in range(2):
            file.write(photo(seed=k).astype(np.uint16) * 257 + k, photometric="rgb")
    restore(weights, "deep.tif", "-o", "out")
    with tifffile.TiffFile("out/deep.tif") as made:
        assert [page.dtype for page in made.pages] == [np.uint16, np.uint16]


def test_a_page_keeps_its_own_exif() -> None:
    files = []
    for name in ("one", "two"):
        tags, file = exif(1), io.BytesIO()
        tags[0x010F] = name
        Image.fromarray(photo()).save(file, "TIFF", exif=tags.tobytes())
        files.append(file.getvalue())
    found = Image.open(io.BytesIO(animation.pages(files, "both")))
    for k, name in enumerate(("one", "two")):
        found.seek(k)
        assert found.getexif()[0x010F] == name
        assert found.getexif().get_ifd(0x8769)[0x9003] == "2020:01:02 03:04:05"
        assert (np.asarray(found) == photo()).all()


def test_a_damaged_frame_is_told_before_work(weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames = moving()
    frames[0].save("a.tif", save_all=True, append_images=frames[1:], compression="tiff_lzw")
    damaged = opened("a.tif")
    damaged.seek(2)
    content, start = bytearray(Path("a.tif").read_bytes()), damaged.tag_v2[273][0]
    content[start : start + 200] = bytes(200)
    Path("a.tif").write_bytes(content)
    line = refused(capsys, "a.tif", "-o", "out", "--model", weights)
    assert "cannot be read as an image" in line
    assert not Path("out").exists()


def test_memory_does_not_grow_with_the_number_of_frames() -> None:
    """Frames wait on the disk: of 40 of 0.3 megapixels few are held at a time."""
    flat = Image.new("RGB", (640, 480), "grey")
    file = io.BytesIO()
    flat.save(file, "PNG")
    first = pictures.read(file.getvalue())
    tracemalloc.start()
    content = encoding.animated(
        ((first, Image.new("RGB", flat.size, (k, 0, 0))) for k in range(40)), first, "PNG", 95
    )
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5 * flat.width * flat.height * 3
    assert Image.open(io.BytesIO(content)).n_frames == 40


def test_a_grey_animation_stays_grey_and_transparency_stays(weights: Path) -> None:
    levels = np.maximum(photo(channels=1), 8)
    levels[:5] = 7
    palette = Image.fromarray(levels).convert("P")
    palette.putpalette([level for level in range(256) for _ in range(3)])
    palette.save("a.gif", transparency=7)
    grey = [Image.fromarray(photo(channels=1, seed=k)) for k in range(2)]
    grey[0].save("b.png", save_all=True, append_images=grey[1:], duration=100)
    restore(weights, "a.gif", "b.png", "-o", "out")
    (one,) = frames_of("out/a.gif")
    assert (one[..., 3] == frames_of("a.gif")[0][..., 3]).all()
    assert (one[..., :1] == one[..., :3])[one[..., 3] == 255].all()
    assert opened("out/b.png").mode == "L"


def test_bits_that_pillow_does_not_give_are_told_once(
    weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of AVIF and JPEG 2000 in colour it gives 8, of grey JPEG 2000 all."""
    avif = (
        "AAAAIGZ0eXBhdmlmAAAAAGF2aWZtaWYxbWlhZk1BMUEAAADrbWV0YQAAAAAAAAAhaGRscgAAAAAAAAAAcGljdAAAAAAAAAAA"
        "AAAAAAAAAAAOcGl0bQAAAAAAAQAAAB5pbG9jAAAAAEQAAAEAAQAAAAEAAAETAAAAJwAAAChpaW5mAAAAAAABAAAAGmluZmUC"
        "AAAAAAEAAGF2MDFDb2xvcgAAAABqaXBycAAAAEtpcGNvAAAAFGlzcGUAAAAAAAAAEAAAABAAAAAQcGl4aQAAAAADCgoKAAAA"
        "DGF2MUOBIEAAAAAAE2NvbHJuY2x4AAIAAgAGgAAAABdpcG1hAAAAAAAAAAEAAQQBAoMEAAAAL21kYXQSAAoIOAz/28CAgaQy"
        "GRlCYwTAADQQAAB1hG2ZJl8aggZ33xIuscg="
    )
    jpeg_2000 = (
        "AAAADGpQICANCocKAAAAFGZ0eXBqcDIgAAAAAGpwMiAAAAAtanAyaAAAABZpaGRyAAAAEAAAABAAAw8HAAAAAAAPY29scgEA"
        "AAAAABAAAACjanAyY/9P/1EALwAAAAAAEAAAABAAAAAAAAAAAAAAABAAAAAQAAAAAAAAAAAAAw8BAQ8BAQ8BAf9SAA4BAgAB"
        "AQEEBAAAiIj/XAALQogkl9OX05di/2QAJQABQ3JlYXRlZCBieSBPcGVuSlBFRyB2ZXJzaW9uIDIuNS40/5AACgAAAAAAIgAB"
        "/5PPGhEd9Zvh5pQzXbUO7f6AgICAgP/Z"
    )
    Path("a.avif").write_bytes(base64.b64decode(avif))
    Path("b.jp2").write_bytes(base64.b64decode(jpeg_2000))
    Image.fromarray(photo(channels=1).astype(np.uint16) * 257 + 3).save("grey.jp2")
    Image.fromarray(photo()).save("c.avif")
    Image.fromarray(photo()).save("d.jp2")
    Image.fromarray(photo(channels=1).astype(np.float32)).save("e.pfm", "PPM")
    Image.fromarray(photo()).save("f.sgi", bpc=2)
    restore(weights, "a.avif", "b.jp2", "grey.jp2", "c.avif", "d.jp2", "e.pfm", "f.sgi", "-o", "out")
    told = [line for line in capsys.readouterr().err.splitlines() if "more than 8 bits" in line]
    assert told == [
        "a.avif: more than 8 bits a channel become 8 in AVIF",
        "b.jp2: more than 8 bits a channel become 8 in JPEG2000",
        "f.sgi: more than 8 bits a channel become 8 in SGI",
    ]
    assert opened("out/grey.jp2").mode == "I;16"
    assert len(np.unique(np.asarray(opened("out/grey.jp2")))) > 256
    assert opened("out/e.pfm").mode == "F"


def test_a_network_that_sees_the_whole_picture_says_that_it_is_given_parts(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    attending = {"model_channels": 32, "channel_mult": [1], "num_res_blocks": 1, "attention_resolutions": []}
    settings = {**PROBLEM, "network": attending, "train": {"steps": 1}}
    artifacts.write_json("train.json", settings)
    network = read_stage("train.json", RestorationTraining).network
    made = i2sb.network((64, 64), False, seed=1, kind=network.kind, **network.arguments)
    artifacts.save_tensors(tmp_path / "whole.safetensors", made.state_dict(), {"config": settings})
    for name, width in (("small", 16), ("large", 48), ("larger", 64)):
        Image.fromarray(photo(16, width)).save(f"{name}.png")
    monkeypatch.setattr(i2sb, "WHOLE", 16 * 40)
    monkeypatch.setattr(tiles, "PROBE", 256)
    restore(tmp_path / "whole.safetensors", "small.png", "large.png", "larger.png", "-o", "out")
    told = [line for line in capsys.readouterr().err.splitlines() if "as a whole" in line]
    assert [line.endswith("tones may differ: large.png, and 1 more") for line in told] == [True]
    restore(weights, "large.png", "-o", "other")
    assert "as a whole" not in capsys.readouterr().err


@pytest.mark.parametrize("quality", [1, 5, 10, 25, 40, 50, 75, 95, 100])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_quality_of_a_jpeg(quality: int, subsampling: int) -> None:
    file = io.BytesIO()
    Image.fromarray(photo(16, 16)).save(file, "jpeg", quality=quality, subsampling=subsampling)
    image = pictures.read(file.getvalue()).image
    assert likeness.jpeg_quality(image) == quality
    words = f"JPEG of quality about {quality}, {('4:4:4', '4:2:2', '4:2:0')[subsampling]}"
    assert likeness.jpeg_in_words(image) == words


def test_measures_of_a_picture() -> None:
    flat = np.full((900, 700, 3), (10, 20, 60), np.uint8)
    assert likeness.measures(flat) == {"mean": 30.0, "sd": 0.0, "gradient": 0.0, "saturation": 50.0}
    assert likeness.measures(flat.astype(np.uint16) * 257) == likeness.measures(flat)
    assert likeness.ranges([flat, flat + 40])["mean"] == [30.0, 70.0]
    assert likeness.measures(flat[:1, :1])["gradient"] == 0


def test_comparisons(weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a <b>.jpg", "c.tif"):
        Image.fromarray(photo()).save(name)
    restore(weights, "a <b>.jpg", "c.tif", "-o", "out", "--compare", "both.html")
    page = Path("both.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 2
    assert page.count("data:image/png;base64,") == 2
    assert "a &lt;b&gt;.jpg" in page
    assert "http" not in page.replace("http-equiv", "")
    restore(weights, "c.tif", "-o", "out", "--compare", "both.png")
    both = np.asarray(Image.open("both.png"))
    assert np.array_equal(both[:, :56], np.asarray(Image.open("c.tif")))
    assert np.array_equal(both[:, 56:], np.asarray(Image.open("out/c.tif")))
    Path("mine.html").write_text("mine")
    line = refused(capsys, "c.tif", "-o", "out", "--compare", "mine.html", "--model", weights)
    assert "did not make" in line


def test_bad_input_is_told_before_work(weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(photo()).save("a.jpg")
    Path("cut.jpg").write_bytes(Path("a.jpg").read_bytes()[:500])
    Path("results/i2sb/x").mkdir(parents=True)
    for words, line in {
        ("a.jpg", "cut.jpg"): "cannot be read as an image",
        ("a.jpg", "none*.jpg"): "no file has such a name",
        ("a.jpg", "--format", "xyz"): "unknown format 'xyz'",
        ("a.jpg", "--nfe", "1000"): "take 1 to 999",
        ("a.jpg", "--compare", "a.txt"): "a comparison is .png or .html",
        ("a.jpg", "--experiment", "i2sb/x"): "two networks",
        ("a.jpg", "-o", "."): "which is an input",
    }.items():
        assert line in refused(capsys, *words, "--model", weights)
        assert not Path("restored").exists()
    card = artifacts.read_json(weights.with_name(shipped.CARD))
    Path("other.safetensors").write_bytes(weights.read_bytes())
    artifacts.write_json(Path(shipped.CARD), {**card, "content": "0"})
    assert "the model card is of other weights" in refused(capsys, "a.jpg", "--model", "other.safetensors")


def test_without_weights_a_person_is_told_how_to_give_some(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from bridgepipe.photographs import shipped

    monkeypatch.setattr(shipped, "WEIGHTS", Path("nowhere"))
    Image.fromarray(photo()).save("a.jpg")
    line = refused(capsys, "a.jpg")
    assert "carries no weights" in line
    assert "--experiment METHOD/NAME" in line


def test_the_card_of_the_shipped_network_is_understood() -> None:
    found = shipped.find()
    chosen = restoring.choose(None, Path("results"), None)
    assert chosen.sample.sample.nfe == 1
    measures = {*likeness.measures(photo()), likeness.JPEG_QUALITY}
    assert set(found.card["trained_for"]["statistics"]) <= measures


def test_help_fits_a_screen(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["bridgepipe", "restore", "--help"])
        cli.main()
    assert len(capsys.readouterr().out.splitlines()) <= 40
