"""Classes are names, and what is compared item by item belongs together: wrong partners are refused."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bridgepipe import artifacts, cli
from bridgepipe.config import Runtime
from bridgepipe.config.boundary import BoundaryMeasures
from bridgepipe.data.lineage import open_sources
from bridgepipe.data.store import ImageStore, writer
from bridgepipe.datasets import attributes, digits
from bridgepipe.errors import UserError
from bridgepipe.evaluation import extractors, features, fid, judges
from bridgepipe.evaluation.accuracy import classifier_accuracy
from bridgepipe.evaluation.classifier import SmallClassifier, train_classifier
from bridgepipe.evaluation.strips import ByClass
from bridgepipe.methods.translators import guided_class
from bridgepipe.names import classes, ilsvrc
from bridgepipe.networks.convnet import ConvNet

SIZE = 16
SETTINGS = {"method": "i2sb", "dataset": "digits", "sample": {"nfe": 2}}


def run(*words: object) -> str:
    """A verb in this process: what it prints to stderr, "" when it succeeds."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as end:
        patch.setattr(sys, "argv", ["bridgepipe", *map(str, words)])
        printed: list[str] = []
        patch.setattr(sys.stderr, "write", lambda text: printed.append(text) or len(text))
        cli.main()
    assert end.value.code in (0, None, 2)
    return "".join(printed) if end.value.code else ""


def images(
    path: Path, names: Sequence[str] | None, n: int = 12, made_by: dict[str, Any] | None = None, seed: int = 0
) -> ImageStore:
    """A store of random images, classes in turn."""
    pixels = np.random.default_rng(seed).integers(0, 256, (n, SIZE, SIZE, 3), dtype=np.uint8)
    with writer(path, {"source": "folder"} if made_by is None else made_by, classes=names) as out:
        for image in pixels:
            out.put(image)
        if names is not None:
            out.set_labels(np.arange(n) % len(names))
    return ImageStore(path)


def restored(folder: Path, truth: ImageStore, **other: Any) -> tuple[Path, Path]:
    """Stores of restored and of corrupted images, as a run of `sample` leaves them."""
    made = {"settings": SETTINGS, "model": "abc", "data": truth.digest, **other}
    for kind in ("restored", "corrupted"):
        images(folder / f"{kind}.lmdb", truth.classes, len(truth), {"images": kind, **made}, seed=2)
    return folder / "restored.lmdb", folder / "corrupted.lmdb"


@pytest.fixture(scope="module")
def digit_classifier(tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    """Options that name the classifier of ten digits, trained by its verb."""
    folder = tmp_path_factory.mktemp("classifier")
    digits.prepare(folder / "digits", size=SIZE, progress=False)
    config = {"kind": "classifier", "dataset": "digits", "steps": 2, "batch_size": 8, "lr": 1e-3, "seed": 0}
    artifacts.write_json(folder / "c.json", config)
    train, val = folder / "digits/train.lmdb", folder / "digits/val.lmdb"
    weights = folder / "c.safetensors"
    assert not run(
        "stage",
        "train-classifier",
        "--config",
        folder / "c.json",
        "--train",
        train,
        "--val",
        val,
        "--output",
        weights,
    )
    return ["--extractor", folder / "c.json", "--weights", weights]


def test_a_classifier_carries_its_classes(digit_classifier: list[object]) -> None:
    assert artifacts.load_card(str(digit_classifier[-1]))["class_names"] == digits.CLASSES
    assert extractors.ResNet50.classes[151] == "n02085620"


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["cat", "dog", "owl"], "classes are cat, dog, owl; the small classifier"),
        (["with", "without"], "knows 0, 1, 2, 3, 4, … (10 classes), not with, without"),
        (None, "these images have no classes"),
    ],
)
def test_other_classes_than_the_classifier_knows(
    tmp_path: Path, digit_classifier: list[object], names: list[str] | None, said: str
) -> None:
    truth = images(tmp_path / "truth.lmdb", names)
    made, corrupted = restored(tmp_path, truth)
    common = [*digit_classifier, "--output", tmp_path / "out"]
    pair = ["--restored", made, "--corrupted", corrupted, "--originals", truth.path]
    assert said in run("stage", "evaluate", "accuracy", *pair, *common)
    assert said in run("stage", "statistics", "--data", truth.path, *common)
    assert not (tmp_path / "out").exists()


def test_classes_in_another_order_are_mapped_by_name() -> None:
    network = ConvNet(4, 8)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        network.head.bias[2] = 1.0  # it always says "owl"
    known = SmallClassifier(network, (SIZE, SIZE), classes=["ant", "bee", "owl", "pig"])
    pixels = np.zeros((4, SIZE, SIZE, 3), np.uint8)
    found = classifier_accuracy(known, pixels, [0, 1, 0, 0], classes=["owl", "ant"])
    assert found.accuracy == 0.75
    assert classes.numbers_in(ilsvrc.classes(), ["n02088364", "n01440764"], "network", "") == [162, 0]
    with pytest.raises(UserError, match="not n01440764"):
        classes.numbers_in(["n02088364"], ["n02088364", "n01440764"], "network", "images")


def test_labels_of_a_part_of_the_digits_are_those_of_all(
    tmp_path: Path, digit_classifier: list[object]
) -> None:
    digits.prepare_classes(tmp_path / "high", classes=[5, 6, 7, 8, 9], size=SIZE, progress=False)
    digits.prepare(tmp_path / "all", size=SIZE, progress=False)
    known = SmallClassifier.load(str(digit_classifier[-1]))
    part, whole = (ImageStore(tmp_path / kind / "test.lmdb") for kind in ("high", "all"))
    assert part.labels is not None
    assert whole.labels is not None
    high = np.flatnonzero(whole.labels >= 5)
    same = [whole[int(i)] for i in high]
    of_part = classifier_accuracy(known, part, part.labels, classes=part.classes)
    assert of_part == classifier_accuracy(known, same, whole.labels[high], classes=whole.classes)


def test_images_of_another_size_than_the_extractor_takes(
    tmp_path: Path, digit_classifier: list[object]
) -> None:
    digits.prepare(tmp_path / "digits", size=8, progress=False)
    said = run(
        "stage",
        "statistics",
        "--data",
        tmp_path / "digits/test.lmdb",
        *digit_classifier,
        "--output",
        tmp_path / "out",
    )
    assert "takes images of 16x16, these are (8, 8)" in said


def test_weights_of_another_configuration(tmp_path: Path, digit_classifier: list[object]) -> None:
    config = artifacts.read_json(str(digit_classifier[1])) | {"steps": 400}
    artifacts.write_json(tmp_path / "other.json", config)
    told = ["--extractor", tmp_path / "other.json", *digit_classifier[2:], "--output", tmp_path / "out"]
    store = images(tmp_path / "truth.lmdb", digits.CLASSES)
    assert "made under another configuration" in run("stage", "statistics", "--data", store.path, *told)


def test_originals_of_other_images(tmp_path: Path, digit_classifier: list[object]) -> None:
    truth = images(tmp_path / "truth.lmdb", digits.CLASSES)
    other = images(tmp_path / "other.lmdb", digits.CLASSES, seed=1)
    made, corrupted = restored(tmp_path, truth)
    pair = ["--restored", made, "--corrupted", corrupted]
    for metric, options in (("restoration", []), ("accuracy", digit_classifier)):
        out = tmp_path / f"{metric}.json"
        words = ["stage", "evaluate", metric, *pair, *options, "--output", out, "--originals"]
        assert "originals of other images" in run(*words, other.path)
        assert not out.exists()
        assert run(*words, truth.path) == ""
        assert artifacts.read_json(out)["made_with"]["data"] == truth.digest
    grid = ["stage", "figure", "grid", *pair, "--output", tmp_path / "grid.png", "--originals", other.path]
    assert "originals of other images" in run(*grid)


@pytest.mark.parametrize("other", [{"model": "def"}, {"settings": {**SETTINGS, "sample": {"nfe": 9}}}])
def test_corrupted_images_of_another_run(tmp_path: Path, digit_classifier: list[object], other: Any) -> None:
    truth = images(tmp_path / "truth.lmdb", digits.CLASSES)
    made, _ = restored(tmp_path / "a", truth)
    _, corrupted = restored(tmp_path / "b", truth, **other)
    said = run(
        "stage",
        "evaluate",
        *("restoration", "--restored", made, "--corrupted", corrupted),
        *("--originals", truth.path, "--output", tmp_path / "out"),
    )
    assert f"made_by.{next(iter(other))}" in said
    artifacts.write_json(tmp_path / "e.json", {"extractor": "known", "reference": "test", "kid": False})
    statistics = tmp_path / "s.safetensors"
    assert run("stage", "statistics", "--data", truth.path, *digit_classifier, "--output", statistics) == ""
    words = [
        "stage",
        "evaluate",
        "fid",
        "--config",
        tmp_path / "e.json",
        "--images",
        made,
        "--statistics",
        statistics,
    ]
    assert "does not belong to" in run(
        *words, *digit_classifier, "--output", tmp_path / "out", "--corrupted", corrupted
    )


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"split": "train"}, "evaluate.reference is test"),
        ({"source": "sample-photos", "split": "test"}, "the images were made from"),
        ({"size": [8, 8], "split": "test"}, "real images of 8x8 pixels"),
    ],
)
def test_reference_statistics_of_something_else(
    tmp_path: Path, digit_classifier: list[object], about: dict[str, Any], said: str
) -> None:
    truth = images(tmp_path / "digits/test.lmdb", digits.CLASSES)
    made, _ = restored(tmp_path, truth, origin={"name": "digits/test", "source": "digits"})
    network = extractors.load_extractor("classifier", str(digit_classifier[-1]))
    found = fid.statistics(network, truth)
    wrong = fid.Statistics(**{**vars(found), "origin": {"name": "x/test", "source": "digits", **about}})
    wrong.save(tmp_path / "s.safetensors")
    artifacts.write_json(tmp_path / "e.json", {"extractor": "known", "reference": "test", "kid": False})
    words = ["--config", tmp_path / "e.json", "--images", made, "--statistics", tmp_path / "s.safetensors"]
    assert said in run("stage", "evaluate", "fid", *words, *digit_classifier, "--output", tmp_path / "out")


def test_a_class_without_training_pictures_is_named() -> None:
    pixels = np.zeros((4, SIZE, SIZE, 3), np.uint8)
    with pytest.raises(UserError, match="no training images of owl"):
        train_classifier(pixels, [0, 1, 0, 1], steps=1, classes=["cat", "dog", "owl"])
    with pytest.raises(UserError, match="label 1 in a list of 1 classes"):
        train_classifier(pixels, [0, 1, 0, 1], steps=1, classes=["cat"])


class Fails:
    """Features that are not finite for a white image."""

    name, digest, resize = "fails", "0", "none"

    def features(self, batch: Any) -> torch.Tensor:
        x = torch.from_numpy(np.stack(list(batch))).float().mean(dim=(1, 2, 3))[:, None].repeat(1, 2)
        return torch.where(x == 255, torch.nan, x)

    logits = features


@pytest.mark.parametrize("bad", [0, 7, 9])
def test_features_that_are_not_finite_name_the_image(bad: int) -> None:
    pixels = np.zeros((10, 8, 8, 3), np.uint8)
    pixels[bad] = 255
    with pytest.raises(UserError, match=f"not a finite number .*, number {bad}\\)"):
        fid.statistics(Fails(), pixels, batch_size=4)
    with pytest.raises(UserError, match=f"not a finite number .*, number {bad}\\)"):
        features.per_image(Fails().features, pixels, 4, "features")
    with pytest.raises(UserError, match=f"not a finite number .*, number {bad}\\)"):
        classifier_accuracy(Fails(), pixels, [0] * 10, 4)


BOUNDARY = BoundaryMeasures(
    model="m", dataset="d", attribute="dog", extractor="known", classifier="known", seed=0
)


def test_a_boundary_is_judged_by_classes_of_the_same_names(
    tmp_path: Path, digit_classifier: list[object]
) -> None:
    real = images(tmp_path / "real.lmdb", ["cat", "dog"])
    weights = Path(str(digit_classifier[-1]))
    with pytest.raises(UserError, match="the images' classes are cat, dog; the small classifier"):
        judges.load_judge(BOUNDARY, weights, real, Runtime())
    truth = np.arange(12) % 3
    pixels = [real[i] for i in range(12)]
    known = train_classifier(pixels, truth, steps=1, batch_size=4, classes=["owl", "dog", "cat"])
    known.save(tmp_path / "known.safetensors", {})
    found = judges.load_judge(BOUNDARY, tmp_path / "known.safetensors", real, Runtime())
    judge = judges.judge_of(BOUNDARY, real, found, np.arange(12) % 2, 0.5)
    assert isinstance(judge, ByClass)
    assert judge.has.tolist() == [False, True, False]  # in the numbers of the classifier, the owl on no side
    assert judge.lacks.tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("config", "data", "said"),
    [
        ({"attribute": "hat", "against": None}, None, "a judge of the attribute hat"),
        ({"attribute": "dog", "against": "cat"}, None, "a judge of the against cat"),
        ({"attribute": "dog", "against": None}, "0" * 16, "trained on other images"),
    ],
)
def test_a_judge_of_something_else(tmp_path: Path, config: Any, data: str | None, said: str) -> None:
    real = images(tmp_path / "real.lmdb", ["cat", "dog"])
    pixels = [real[i] for i in range(12)]
    known = train_classifier(pixels, np.arange(12) % 2, steps=1, batch_size=4, classes=["without", "with"])
    known.save(tmp_path / "judge.safetensors", {"config": config, "data": data or real.digest})
    settings = BOUNDARY.model_copy(update={"classifier": None})
    with pytest.raises(UserError, match=said):
        judges.load_judge(settings, tmp_path / "judge.safetensors", real, Runtime())


@pytest.mark.parametrize("sides", [["without", "with"], ["with", "without"], ["cat", "dog"]])
def test_a_judge_is_asked_by_the_names_of_its_classes(tmp_path: Path, sides: list[str]) -> None:
    real = images(tmp_path / "real.lmdb", ["cat", "dog"])
    settings = BOUNDARY.model_copy(update={"classifier": None})
    pixels, weights = [real[i] for i in range(12)], tmp_path / "judge.safetensors"
    known = train_classifier(pixels, np.arange(12) % 2, steps=1, batch_size=4, classes=sides)
    known.save(weights, {})
    if "cat" in sides:
        with pytest.raises(UserError, match="a classifier of cat, dog, no judge of an attribute"):
            judges.load_judge(settings, weights, real, Runtime())
        return
    found = judges.load_judge(settings, weights, real, Runtime())
    judge = judges.judge_of_the_edit(settings, real, found, np.arange(12) % 2, 0.5)
    assert isinstance(judge, ByClass)
    assert judge.has.tolist() == [name == "with" for name in sides]
    assert judge.lacks.tolist() == [name == "without" for name in sides]


def test_attributes_of_digits_follow_the_names_of_classes() -> None:
    assert attributes.with_it(["9", "1", "8"], "loop").tolist() == [True, False, True]  # type: ignore[union-attr]
    assert attributes.with_it(["cat", "8"], "loop") is None


class Told:
    def __init__(self, names: list[str] | None) -> None:
        self.class_names = names


def test_a_guide_numbers_the_class_by_its_name() -> None:
    model, guide = Told(["5", "8"]), Told(digits.CLASSES)
    assert guided_class("8", model, guide) == 8  # type: ignore[arg-type]
    assert guided_class(1, model, guide) == 8  # type: ignore[arg-type]
    with pytest.raises(UserError, match="the guide knows 0, not 8"):
        guided_class("8", model, Told(["0"]))  # type: ignore[arg-type]


def test_sources_of_other_pairs(tmp_path: Path) -> None:
    real = images(tmp_path / "train.lmdb", None, made_by={"source": "pairs", "listing": "a"})
    images(tmp_path / "train-source.lmdb", None, made_by={"source": "pairs", "listing": "a"}, seed=1)
    images(tmp_path / "other-source.lmdb", None, made_by={"source": "pairs", "listing": "b"}, seed=2)
    assert open_sources(tmp_path / "train-source.lmdb", real) is not None
    with pytest.raises(UserError, match=r"made_by\.listing differs"):
        open_sources(tmp_path / "other-source.lmdb", real)
