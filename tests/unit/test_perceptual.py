"""CLIP score and distance of identities: the libraries' own numbers, by tiny networks made here."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from test_measuring import run

from bridgepipe.config import Resolved, read_yaml
from bridgepipe.downloads.sources import load_sources
from bridgepipe.errors import UserError
from bridgepipe.evaluation import perceptual, vision  # noqa: F401  # before open_clip imports torchvision
from bridgepipe.evaluation.image_sets import open_set
from bridgepipe.evaluation.perceptual import Clip, Identity
from bridgepipe.stages import measuring
from bridgepipe.workflow.sources import Sources

ROOT = Path(__file__).parents[2]
RNG = np.random.default_rng(0)
REAL = RNG.integers(0, 256, (5, 48, 48, 3), dtype=np.uint8)
MADE = np.clip(REAL.astype(int) + RNG.integers(-60, 61, REAL.shape), 0, 255).astype(np.uint8)
TEXT = "a smiling face"


def library(name: str) -> Any:
    return pytest.importorskip(name, reason=f"{name} comes with an extra of pyproject.toml, which dev has")


# a ViT of one layer in place of ViT-B/32

TINY = {
    "embed_dim": 16,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "head_width": 32, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}


def tiny_clip(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Weights of a network that is CLIP's from now on."""
    open_clip = library("open_clip")
    (folder / "tiny.json").write_text(json.dumps(TINY))
    open_clip.add_model_config(folder / "tiny.json")
    monkeypatch.setattr(perceptual, "CLIP_NETWORK", "tiny")
    torch.manual_seed(0)
    save_file(open_clip.CLIP(**TINY).state_dict(), folder / "clip.safetensors")
    return folder / "clip.safetensors"


@pytest.fixture
def clip_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return tiny_clip(tmp_path, monkeypatch)


def test_the_clip_score_is_that_of_open_clip(clip_weights: Path) -> None:
    open_clip = library("open_clip")
    network, prepare = open_clip.create_model_from_pretrained("tiny", str(clip_weights))
    images = [*REAL[:3], REAL[3][:40, :24]]
    with torch.no_grad():
        x = torch.stack([prepare(Image.fromarray(image)) for image in images])
        shown, meant = network.eval().encode_image(x), network.encode_text(open_clip.tokenize([TEXT]))
        expected = torch.cosine_similarity(shown, meant)
    clip = Clip(clip_weights)
    assert clip.scores(images, TEXT) == pytest.approx(expected.tolist(), abs=1e-6)
    assert clip.scores(images, "a cat") != pytest.approx(expected.tolist(), abs=1e-3)


def test_weights_of_another_clip_are_refused(clip_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perceptual, "CLIP_NETWORK", "ViT-B-32-quickgelu")
    with pytest.raises(UserError, match=r"weights of another network.*in open_clip's layout"):
        Clip(clip_weights)


# a mean of each quarter of a face, written as ONNX by hand: the reader alone is a dependency


def field(number: int, value: int | bytes | str) -> bytes:
    """One field of a message of protocol buffers."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    content = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value: int) -> bytes:
    return bytes([value & 127 | 128, *varint(value >> 7)]) if value > 127 else bytes([value])


def tensor(name: str, shape: tuple[int, ...]) -> bytes:
    dims = b"".join(field(1, field(1, size)) for size in shape)
    return field(1, name) + field(2, field(1, field(1, 1) + field(2, dims)))


def node(kind: str, given: str, made: str, **sizes: int) -> bytes:
    attributes = [
        field(5, field(1, key) + field(8, size) + field(8, size) + field(20, 7))
        for key, size in sizes.items()
    ]
    return field(1, given) + field(2, made) + field(4, kind) + b"".join(attributes)


def quarters(path: Path, size: int = 112) -> Path:
    library("onnxruntime")
    pool = node("AveragePool", "face", "means", kernel_shape=size // 2, strides=size // 2)
    graph = field(1, pool) + field(1, node("Flatten", "means", "embedding")) + field(2, "quarters")
    graph += field(11, tensor("face", (1, 3, size, size))) + field(12, tensor("embedding", (1, 12)))
    path.write_bytes(field(1, 7) + field(8, field(2, 13)) + field(7, graph))
    return path


@pytest.fixture
def face_weights(tmp_path: Path) -> Path:
    return quarters(tmp_path / "quarters.onnx")


def embedding(image: np.ndarray) -> np.ndarray:
    """Of 256 x 256 pixels: the face as 112 x 112 means, and the mean of each quarter of that."""
    means = np.zeros((112, 188))
    for i, row in enumerate(means):
        row[i * 188 // 112 : -(-(i + 1) * 188 // 112)] = 1
    means /= means.sum(1, keepdims=True)
    face = np.einsum("ij,jkc,lk->cil", means, image[35:223, 32:220] / 127.5 - 1, means)
    return face.reshape(3, 2, 56, 2, 56).mean(axis=(2, 4)).ravel()


def test_the_distance_of_identities_is_one_minus_the_cosine_of_embeddings(face_weights: Path) -> None:
    images, others = RNG.integers(0, 256, (2, 3, 256, 256, 3), dtype=np.uint8) // [[[[[2, 1, 3]]]]]
    images, others = images.astype(np.uint8), others[:, ::-1].astype(np.uint8)
    images[0, 40:120] = 250
    found = Identity(face_weights).distances(images, others)
    for distance, image, other in zip(found, images, others, strict=True):
        x, y = embedding(image), embedding(other)
        assert distance == pytest.approx(1 - x @ y / np.sqrt(x @ x * (y @ y)), abs=1e-5)
    assert found[0] > 1e-3
    hair = images.copy()
    hair[:, :35], hair[:, :, 220:] = 0, 255  # around the face
    assert Identity(face_weights).distances(images, hair) == pytest.approx([0, 0, 0], abs=1e-12)
    with pytest.raises(UserError, match="its partner has"):
        Identity(face_weights).distances(images, others[:, :100])


def test_what_is_no_face_recognition_is_refused(face_weights: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"takes \[1, 3, 64, 64\]"):
        Identity(quarters(tmp_path / "small.onnx", 64))
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(UserError, match="cannot be read as an ONNX network") as e:
        Identity(tmp_path / "text.onnx")
    assert "\n" not in str(e.value)


# the verb


@pytest.fixture
def sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    np.savez(tmp_path / "made.npz", MADE)
    np.savez(tmp_path / "real.npz", REAL)
    return tmp_path


def test_measure_has_both_where_they_are_asked_for(
    sets: Path, clip_weights: Path, face_weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["measure", "made.npz", "real.npz", "--clip-text", TEXT, "--clip-weights", clip_weights]
    code, out, err = run(capsys, *words, "--identity", face_weights, "--output", "found.json")
    assert not code, err
    found = json.loads((sets / "found.json").read_text())["metrics"]
    assert found["clip"]["values"]["clip"] == pytest.approx(np.mean(Clip(clip_weights).scores(MADE, TEXT)))
    assert found["clip"]["protocol"]["settings"] == {"text": TEXT}
    distances = Identity(face_weights).distances(MADE, REAL)
    assert found["identity"]["values"]["identity"] == pytest.approx(np.mean(distances))
    for name in ("clip", "identity"):
        row = next(line for line in out.splitlines() if line.startswith(f"{name} "))
        assert f"{found[name]['values'][name]:.4g}" in row
        assert found[name]["protocol"]["inputs"]["network"]
    code, out, _ = run(capsys, "measure", "made.npz", "real.npz")
    assert not {"clip", "identity"} & {line.split(" ")[0] for line in out.splitlines() if line}


def test_the_text_decides_what_a_stopped_command_goes_on_from(
    sets: Path, clip_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    identities = []
    monkeypatch.setattr(measuring, "resumable", lambda output, identity, speed: identities.append(identity))
    made, real = (open_set(Path(name)) for name in ("made.npz", "real.npz"))
    for text in (TEXT, "a cat"):
        asked = measuring.Asked(pairs="none", clip=text, clip_weights=clip_weights)
        with pytest.raises((TypeError, AttributeError)):  # nothing to enter
            measuring.measure(made, real, asked, Path("out"), measuring.Runtime())
    assert identities[0] != identities[1]


@pytest.mark.parametrize(
    ("option", "package", "extra"),
    [("--clip-text", "open_clip", "clip"), ("--identity", "onnxruntime", "identity")],
)
def test_without_weights_or_library_one_line_says_what_to_do(
    sets: Path,
    option: str,
    package: str,
    extra: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = {"--clip-text": perceptual.CLIP, "--identity": "identity/w600k-r50"}[option]
    words = ["measure", "made.npz", "real.npz", option, TEXT if option == "--clip-text" else source]
    code, _, err = run(capsys, *words)
    assert code == 2
    assert f"run `bridgepipe fetch {source}`" in err
    place = sets / "data" / load_sources()[source].path
    place.parent.mkdir(parents=True)
    place.touch()
    monkeypatch.setitem(sys.modules, package, None)
    code, _, err = run(capsys, *words)
    assert code == 2
    assert f"the package {package} is missing ({extra}): install it: pip install 'bridgepipe[{extra}]'" in err
    assert len(err.splitlines()) == 1


def test_what_cannot_be_asked_for_is_said(sets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(sets / "moments.npz", mu=np.zeros(3), sigma=np.eye(3))
    code, _, err = run(capsys, "measure", "moments.npz", "moments.npz", "--clip-text", TEXT)
    assert code == 2
    assert "leave --clip-text out" in err
    np.savez(sets / "fewer.npz", REAL[:4])
    code, _, err = run(capsys, "measure", "made.npz", "fewer.npz", "--identity", "mine.onnx")
    assert code == 2
    assert "no pairs: 5 images and 4 (--identity)" in err
    code, _, err = run(capsys, "measure", "made.npz", "real.npz", "--identity", "mine.onnx")
    assert "no such weights (mine.onnx)" in err


# edits


def asking(**evaluate: Any) -> Resolved:
    values = read_yaml(ROOT / "params.yaml")
    experiment = values["experiments"]["boundary"]["loop"]
    experiment["evaluate"] = {**experiment.get("evaluate", {}), **evaluate}
    return Resolved(values)


def test_edits_are_judged_by_networks_that_their_experiment_names() -> None:
    """Their weights are files that the rule waits for and fetches; without the keys nothing changes."""
    before = asking().stages("boundary/loop")["evaluate"]
    assert not {"clip", "identity"} & before.keys()
    asked = asking(clip={"text": "a loop"}, identity="mine.onnx")
    told = asked.stages("boundary/loop")["evaluate"]
    assert told["clip"] == {"text": "a loop", "weights": perceptual.CLIP}
    assert {k: v for k, v in told.items() if k not in ("clip", "identity")} == before
    named = Sources(asked, plans=False).named_files("boundary/loop")
    clip = f"data/{load_sources()[perceptual.CLIP].path}"
    assert named == {"evaluate.clip.weights": clip, "evaluate.identity": "mine.onnx"}


@pytest.mark.parametrize(
    ("evaluate", "told"),
    [
        ({"clip": "a loop"}, r"boundary\.loop\.evaluate\.clip"),
        ({"clip": {}}, "missing key 'text'"),
        ({"clip": {"text": ""}}, r"evaluate\.clip\.text"),
        ({"clip": {"txt": "a loop"}}, "did you mean 'text'"),
        ({"identity": ""}, r"evaluate\.identity"),
    ],
)
def test_settings_of_these_measures_are_checked(evaluate: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        asking(**evaluate)
