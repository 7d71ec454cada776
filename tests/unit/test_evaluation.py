"""Metrics on problems with a known answer, their errors, and their repeatability."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.linalg import sqrtm
from scipy.ndimage import gaussian_filter

from bridgepipe.artifacts import digest_file
from bridgepipe.errors import UserError
from bridgepipe.evaluation import extractors, features, protocol, vision
from bridgepipe.evaluation.accuracy import Share, classifier_accuracy, wilson
from bridgepipe.evaluation.classifier import SmallClassifier, train_classifier
from bridgepipe.evaluation.fid import (
    Statistics,
    distances,
    fid,
    fid_error,
    fid_estimate,
    held,
    kernel_distance,
    statistics,
)
from bridgepipe.evaluation.frechet import frechet_distance
from bridgepipe.evaluation.kid import kid
from bridgepipe.evaluation.moments import Moments
from bridgepipe.evaluation.protocol import Estimate, students_t
from bridgepipe.evaluation.restoration import PSNR_OF_EQUAL_IMAGES, quality, restoration
from bridgepipe.networks.convnet import ConvNet
from bridgepipe.training.optimizer import AdamW


def random_images(n: int, height: int = 16, width: int = 16, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, height, width, 3), dtype=np.uint8)


def covariance(d: int, rank: int, seed: int) -> np.ndarray:
    a = np.random.default_rng(seed).standard_normal((d, rank))
    return a @ a.T


def as_statistics(x: np.ndarray) -> Statistics:
    """Of feature vectors that no image belongs to."""
    sample = torch.from_numpy(x)
    moments = sample.mean(0), torch.cov(sample.T)
    return Statistics(*moments, len(x), sample, {}, "", torch.arange(len(x)))


class Corners:
    """Extractor that needs no network: the four corner pixels."""

    name, digest, resize = "corners", "0", "none"

    def features(self, images: extractors.Batch) -> torch.Tensor:
        return torch.from_numpy(np.stack([np.ravel(i[::15, ::15]) / 255 for i in images])).float()


# --- torchvision ---------------------------------------------------------------------------------


def test_torchvision_schemas_are_added_only_where_missing() -> None:
    compiled = vision.torchvision.extension._has_ops()
    assert len(vision._libraries) == (0 if compiled else 1)
    assert torch.ops.torchvision.nms.default is not None


# --- moments and distances -----------------------------------------------------------------------


def test_moments_in_parts_equal_the_whole_far_from_the_origin() -> None:
    x = np.random.default_rng(0).standard_normal((500, 6)) + 1e6
    parts = []
    for rows in np.array_split(x, [3, 4, 300]):
        part = Moments(6)
        part.update(rows)
        parts.append(part)
    merged = Moments(6)
    for part in parts:
        merged.merge(part)
    assert merged.n == 500
    np.testing.assert_allclose(merged.mu, x.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(merged.sigma, np.cov(x, rowvar=False), atol=1e-9)


def test_merging_nothing_changes_nothing() -> None:
    moments = Moments(2)
    moments.merge(Moments(2))
    assert moments.n == 0
    moments.update(np.eye(2))
    moments.merge(Moments(2))
    assert moments.n == 2
    np.testing.assert_array_equal(moments.mu, [0.5, 0.5])


@pytest.mark.parametrize("seed", range(3))
def test_frechet_distance_equals_the_matrix_square_root(seed: int) -> None:
    s1, s2 = covariance(8, 20, seed), covariance(8, 20, seed + 100)
    m1, m2 = np.random.default_rng(seed).standard_normal((2, 8))
    expected = ((m1 - m2) ** 2).sum() + np.trace(s1 + s2 - 2 * sqrtm(s1 @ s2).real)
    assert frechet_distance(m1, s1, m2, s2) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("decay", [0, 8, 30])
def test_frechet_distance_of_any_condition(decay: int) -> None:
    """Covariances with the same eigenvectors; the last ones are singular but for rounding."""
    turn, _ = torch.linalg.qr(torch.randn(100, 100, dtype=torch.float64))
    one, other = (torch.logspace(0, -end, 100, dtype=torch.float64) for end in (decay, 0.8 * decay + 1))
    s1, s2 = ((turn * values) @ turn.T for values in (one, other))
    exact = float((one.sqrt() - other.sqrt()).square().sum())
    zero = torch.zeros(100)
    assert frechet_distance(zero, s1, zero, s2) == pytest.approx(exact, rel=1e-9)
    assert frechet_distance(zero, s1, zero, s1) < 1e-9


def test_frechet_distance_of_fewer_images_than_features() -> None:
    """Of centred features X and Y the trace of the root is the nuclear norm of X Y^T."""
    x, y = (torch.randn(n, 64, dtype=torch.float64) for n in (20, 40))
    s1, s2 = torch.cov(x.T), torch.cov(y.T)
    x, y = ((z - z.mean(0)) / (len(z) - 1) ** 0.5 for z in (x, y))
    exact = float(s1.trace() + s2.trace() - 2 * torch.linalg.svdvals(x @ y.T).sum())
    assert frechet_distance(torch.zeros(64), s1, torch.zeros(64), s2) == pytest.approx(exact, rel=1e-12)


def test_frechet_distance_of_commuting_singular_covariances() -> None:
    a, b = np.array([4.0, 0.0, 1.0]), np.array([9.0, 2.0, 0.0])
    expected = ((np.sqrt(a) - np.sqrt(b)) ** 2).sum() + 3.0
    assert frechet_distance(np.ones(3), np.diag(a), np.zeros(3), np.diag(b)) == pytest.approx(
        expected, rel=1e-12
    )
    low_rank = covariance(30, 4, 0)
    assert frechet_distance(np.ones(30), low_rank, np.ones(30), low_rank) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("kind", "rel"), [(torch.float32, 5e-7), (torch.float16, 5e-3)])
@pytest.mark.parametrize("n", [20, 200])
def test_frechet_distance_of_rounded_covariances(n: int, kind: torch.dtype, rel: float) -> None:
    """Published files are rounded: eigenvalues that were zero, or nearly, come out on both sides of it."""
    fall, generator = torch.logspace(0, -5, 64, dtype=torch.float64), torch.Generator().manual_seed(0)
    turn = torch.linalg.qr(torch.randn(64, 64, dtype=torch.float64, generator=generator))[0]
    x, y = (torch.randn(n, 64, dtype=torch.float64, generator=generator) * fall @ turn for _ in range(2))
    whole = [torch.cov(x.T), torch.cov(y.T)]
    rounded = [s.to(kind).double() for s in whole]
    assert torch.linalg.eigvalsh(rounded[0])[0] < 0
    zero = torch.zeros(64)
    expected = frechet_distance(zero, whole[0], zero, whole[1])
    assert frechet_distance(zero, rounded[0], zero, rounded[1]) == pytest.approx(expected, rel=rel)


def test_frechet_distance_refuses_what_has_no_answer() -> None:
    for wrong in (-np.eye(2), np.diag([1, -0.1]), np.array([[0, 1], [1, 0]])):
        with pytest.raises(ValueError, match="no covariance: it has a negative eigenvalue"):
            frechet_distance(np.zeros(2), wrong, np.zeros(2), np.eye(2))
    with pytest.raises(ValueError, match="shapes"):
        frechet_distance(np.zeros(2), np.eye(2), np.zeros(3), np.eye(3))
    with pytest.raises(ValueError, match="finite"):
        frechet_distance(np.zeros(2), np.full((2, 2), np.nan), np.zeros(2), np.eye(2))


def test_kid_is_unbiased_and_its_error_is_the_spread_over_draws() -> None:
    rng = np.random.default_rng(0)
    reference = rng.standard_normal((600, 4))
    for shift in (0.0, 0.4):
        found = [kid(rng.standard_normal((100, 4)) + shift, reference) for _ in range(60)]
        values = np.array([f.value for f in found])
        error = np.mean([f.error for f in found])
        assert 0.8 < error / values.std() < 2.0
        inside = [f.values("kid")["kid_low"] < values.mean() < f.values("kid")["kid_high"] for f in found]
        assert np.mean(inside) > 0.85
        if shift == 0:
            assert abs(values.mean()) < 3 * values.std() / np.sqrt(60) + kid(reference[:300], reference).error
    assert kid(reference[:100] + 1, reference).value > 1
    assert kid(reference[:2], reference).values("kid").keys() == {"kid"}
    with pytest.raises(UserError, match="at least 2"):
        kid(reference[:1], reference)


def test_kid_of_images_that_are_their_own_reference_is_zero() -> None:
    """Each image beside itself is no independent pair: with these pairs the distance is far below zero."""
    x = np.random.default_rng(0).standard_normal((60, 16))
    shown = torch.arange(60)
    with_pairs, without = kid(x, x), kid(x, x, (shown, shown))
    assert without.value == pytest.approx(0, abs=1e-12)
    assert with_pairs.value < -10 * (without.error or 0) / 60
    perfect = x[:30] + 1e-9  # of 30 of the 60 reference images
    assert abs(kid(perfect, x, (shown[:30], shown)).value) < 2 * (kid(perfect, x).error or 0)
    with pytest.raises(UserError, match="show the same"):
        kid(x, x, (shown * 0, shown * 0))


@pytest.mark.parametrize(("d", "shift", "scale"), [(6, 0.5, 1.3), (6, 0.0, 1.0)])
def test_the_error_of_the_frechet_distance_is_the_spread_over_draws(
    d: int, shift: float, scale: float
) -> None:
    rng = np.random.default_rng(0)
    reference = as_statistics(rng.standard_normal((2000, d)))
    found = [as_statistics(rng.standard_normal((300, d)) * scale + shift) for _ in range(60)]
    values = np.array([fid(f, reference) for f in found])
    errors = np.array([fid_error(f, reference) for f in found])
    assert 0.85 < errors.mean() / values.std() < 1.7
    assert np.mean(np.abs(values - values.mean()) < 1.96 * errors) > 0.9
    closed = d * (shift**2 + (scale - 1) ** 2)
    assert values.mean() == pytest.approx(closed, abs=0.15)


def patches(rng: np.random.Generator, pictures: int, each: int = 20, d: int = 3) -> np.ndarray:
    """Features of patches, most of whose spread is that of the pictures."""
    of_pictures = rng.standard_normal((pictures, d)) * 0.9
    return np.repeat(of_pictures, each, axis=0) + rng.standard_normal((pictures * each, d)) * np.sqrt(0.19)


def test_errors_of_distances_of_patches_are_the_spread_over_draws_of_pictures() -> None:
    rng = np.random.default_rng(0)
    reference, sources = as_statistics(rng.standard_normal((1000, 3))), [str(i // 20) for i in range(600)]
    drawn = [as_statistics(patches(rng, 30) + 0.7) for _ in range(60)]
    for measured in (fid_estimate, kernel_distance):
        apart = [measured(x, reference) for x in drawn]
        together = [measured(replace(x, sources=sources), reference) for x in drawn]
        values, errors = np.array([e.value for e in together]), np.array([e.error for e in together])
        assert [e.value for e in apart] == values.tolist()
        assert 0.8 < errors.mean() / values.std() < 1.7
        assert np.mean(np.abs(values - values.mean()) < together[0].reach * errors) > 0.85
        assert np.mean([e.error for e in apart]) < errors.mean() / 2


def test_images_that_are_a_source_each_are_independent() -> None:
    rng = np.random.default_rng(0)
    found, reference = (as_statistics(rng.standard_normal((n, 3)) + n / 50) for n in (50, 100))
    alone = replace(found, sources=[str(i) for i in range(50)])
    for measured in (fid_estimate, kernel_distance):
        expected, clustered = measured(found, reference), measured(alone, reference)
        assert (clustered.value, clustered.error) == (expected.value, pytest.approx(expected.error))
    one = replace(found, sources=["china"] * 50)
    assert distances(one, reference, kernel=True).keys() == {"fid", "kid"}
    assert one.part(torch.arange(3)).sampled_sources == ["china"] * 3


def test_the_interval_of_a_share_of_patches_is_over_the_pictures() -> None:
    rng = np.random.default_rng(0)
    sources, held = np.repeat(np.arange(20), 15).astype(str), {"together": 0, "apart": 0}
    for _ in range(300):
        chances = rng.beta(1.4, 0.6, 20)  # of the pictures, 0.7 on average
        cases = rng.random(300) < np.repeat(chances, 15)
        for how, share in (("together", Share.of(cases, sources)), ("apart", Share.of(cases))):
            held[how] += share.low <= 0.7 <= share.high
    assert held["together"] > 0.92 * 300
    assert held["apart"] < 0.7 * 300
    assert Share.of(cases, sources).share == Share.of(cases).share


def test_the_interval_of_a_share_stays_within_its_range() -> None:
    everything = Share.of(np.ones(40, bool), ["a"] * 20 + ["b"] * 20)
    assert (everything.low, everything.high) == (pytest.approx(wilson(2, 2)[0]), pytest.approx(1))
    assert Share.of(np.array([True, False, False] * 2), ["a"] * 3 + ["b"] * 3).independent == 2  # not 6
    single = Share.of(np.array([True, False]), ["a", "a"])
    assert [*single.values("accuracy").values()] == [0.5, None, None, 2]
    cases = np.arange(30) % 3 > 0
    apart, each = Share.of(cases), Share.of(cases, [str(i) for i in range(30)])
    assert (each.low, each.high) == (pytest.approx(apart.low, abs=0.02), pytest.approx(apart.high, abs=0.02))


def test_the_error_of_fewer_images_than_dimensions() -> None:
    rng = np.random.default_rng(0)
    few, reference = (as_statistics(rng.standard_normal((n, 20))) for n in (8, 100))
    assert 0 < fid_error(few, reference) < fid(few, reference)


def test_a_reference_tells_how_many_of_the_images_it_holds() -> None:
    images = random_images(30)
    whole, half = statistics(Corners(), images), statistics(Corners(), images[:15])
    assert (held(half, whole), held(whole, half)) == (15, 15)
    assert held(statistics(Corners(), random_images(30, seed=1)), whole) == 0
    values = distances(half, whole, kernel=True, suffix="_real")
    assert set(values) == {f"{d}_real{end}" for d in ("fid", "kid") for end in ("", "_low", "_high")}
    assert values["fid_real_low"] <= values["fid_real"] <= values["fid_real_high"]
    assert abs(values["kid_real"]) < values["kid_real_high"] - values["kid_real_low"]


# --- statistics of images ------------------------------------------------------------------------


def test_statistics_do_not_depend_on_the_batch(tmp_path: Path) -> None:
    images = random_images(50)
    whole, parts = (statistics(Corners(), images, batch_size=b) for b in (50, 7))
    torch.testing.assert_close(whole.sigma, parts.sigma, rtol=1e-13, atol=1e-15)
    assert torch.equal(whole.sample, parts.sample)
    assert whole.sample.shape == (50, 12)
    assert whole.n == 50
    assert fid(whole, parts) == pytest.approx(0, abs=1e-12)
    np.testing.assert_allclose(whole.sigma, np.cov(whole.sample.double(), rowvar=False), rtol=1e-12)


def test_statistics_keep_a_bounded_sample() -> None:
    images = random_images(30)
    all_rows = statistics(Corners(), images).sample
    some = statistics(Corners(), list(images), batch_size=4, sample_size=10).sample
    assert some.shape == (10, 12)
    found = [(all_rows == row).all(dim=1).nonzero().item() for row in some]
    assert found == sorted(found)
    assert found != list(range(10))


def test_statistics_survive_a_file_byte_for_byte(tmp_path: Path) -> None:
    made = statistics(Corners(), random_images(20))
    for name in ("a", "b"):
        made.save(tmp_path / name)
    assert digest_file(tmp_path / "a") == digest_file(tmp_path / "b")
    read = Statistics.load(tmp_path / "a", {"extractor": extractors.describe(Corners())})
    assert torch.equal(read.sigma, made.sigma)
    assert (read.n, read.data, read.extractor) == (made.n, made.data, made.extractor)
    assert kernel_distance(made, read) == kernel_distance(read, read)
    with pytest.raises(UserError, match="its data is"):
        Statistics.load(tmp_path / "a", {"data": "another"})


def test_statistics_refuse_one_image_wrong_arrays_and_mixed_extractors() -> None:
    with pytest.raises(UserError, match="at least 2 images, there are 1"):
        statistics(Corners(), random_images(1))
    with pytest.raises(UserError, match="number 0"):
        statistics(Corners(), [np.zeros((16, 16, 3), np.float32)] * 2)
    a = statistics(Corners(), random_images(5))
    other = Corners()
    other.digest = "1"
    with pytest.raises(UserError, match="different extractors"):
        fid(a, statistics(other, random_images(5)))


def test_data_digest_is_the_stores_own_or_of_the_bytes() -> None:
    class Store(list):
        digest = "abc"

    images = random_images(3)
    assert features.data_digest(Store(images)) == "abc"
    assert features.data_digest(images) == features.data_digest(list(images))
    assert features.data_digest(images) != features.data_digest(images[::-1])


# --- small classifier ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    from PIL import Image
    from sklearn.datasets import load_digits

    data = load_digits()
    pixels = (data.images / 16 * 255).astype(np.uint8)
    large = [np.asarray(Image.fromarray(p).resize((32, 32), Image.Resampling.BICUBIC)) for p in pixels]
    order = np.random.default_rng(0).permutation(len(large))
    return np.repeat(np.stack(large)[order][..., None], 3, axis=3), data.target[order]


@pytest.fixture(scope="module")
def classifier(digits: tuple[np.ndarray, np.ndarray]) -> SmallClassifier:
    images, labels = digits
    return train_classifier(images[:1257], labels[:1257], steps=250)


def test_classifier_recognises_held_out_digits(digits, classifier: SmallClassifier) -> None:
    images, labels = digits
    found = classifier_accuracy(classifier, images[1257:], labels[1257:])
    assert found.accuracy >= 0.98
    assert found.low < found.accuracy < found.high
    assert found.n == 540


def test_classifier_features_tell_noise_from_digits(digits, classifier: SmallClassifier) -> None:
    images = digits[0]
    noisy = np.clip(images[500:1000] + np.random.default_rng(0).normal(0, 60, images[500:1000].shape), 0, 255)
    real, same, worse = (
        statistics(classifier, x) for x in (images[:500], images[500:1000], noisy.astype(np.uint8))
    )
    assert real.mu.shape == (64,)
    assert fid(real, same) < fid(real, worse) / 10
    assert kernel_distance(real, same).value < kernel_distance(real, worse).value / 10


def test_classifier_survives_a_file(classifier: SmallClassifier, digits, tmp_path: Path) -> None:
    classifier.save(tmp_path / "c.safetensors", {"data": "digits"})
    read = extractors.load_extractor("classifier", tmp_path / "c.safetensors")
    assert extractors.describe(read) == extractors.describe(classifier)
    assert torch.equal(read.features(digits[0][:5]), classifier.features(digits[0][:5]))
    assert "classifier" in read.name
    assert "nception" not in read.name


def test_training_repeats_to_the_byte_and_follows_its_seed() -> None:
    images, labels = random_images(20, 8, 12), np.arange(20) % 3
    threads = torch.get_num_threads()
    runs = [train_classifier(images, labels, steps=5, batch_size=8, seed=s, flip=True) for s in (0, 0, 1)]
    assert runs[0].digest == runs[1].digest != runs[2].digest
    assert torch.get_num_threads() == threads
    assert runs[0].logits(images).shape == (20, 3)


def test_a_classifier_that_diverges_is_never_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    def bad_update(optimizer: AdamW) -> None:
        for parameter in optimizer.param_groups[0]["params"]:
            parameter.data.fill_(torch.inf)

    monkeypatch.setattr(AdamW, "step", bad_update)
    monkeypatch.setattr(torch.optim.lr_scheduler.OneCycleLR, "__init__", lambda *_, **__: None)
    monkeypatch.setattr(torch.optim.lr_scheduler.OneCycleLR, "step", lambda _: None)
    images, labels = random_images(8), [0, 1] * 4
    with pytest.raises(UserError, match="weights are not finite after step 1"):
        train_classifier(images, labels, steps=1, batch_size=4)
    with pytest.raises(UserError, match="the loss is nan at step 2"):
        train_classifier(images, labels, steps=3, batch_size=4)


def test_classifier_refuses_other_sizes_and_missing_labels(
    classifier: SmallClassifier, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"trained on \(32, 32\) pixels"):
        classifier.features(random_images(2))
    with pytest.raises(UserError, match="no labels"):
        train_classifier(random_images(4), None)
    with pytest.raises(UserError, match="3,"):
        train_classifier(random_images(4), [0, 1, 0])
    with pytest.raises(UserError, match="one size"):
        train_classifier([*random_images(2), *random_images(2, 20)], [0, 1, 0, 1], steps=1, batch_size=4)
    statistics(Corners(), random_images(4)).save(tmp_path / "s")
    with pytest.raises(UserError, match="kind"):
        SmallClassifier.load(tmp_path / "s")


# --- published networks --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def resnet_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "resnet50.pth"
    torch.save(vision.torchvision.models.resnet50(weights=None).state_dict(), path)
    return path


def test_weights_of_an_unknown_digest_are_not_called_published(resnet_file: Path) -> None:
    extractor = extractors.ResNet50(resnet_file)
    assert extractor.name == "resnet50 network, unknown weights"
    assert extractors.describe(extractor)["sha256"] == digest_file(resnet_file)


def test_resnet50_sees_images_as_in_i2sb(resnet_file: Path) -> None:
    extractor = extractors.load_extractor("resnet50", resnet_file, sha256=digest_file(resnet_file)[:8])
    images = random_images(2, 40, 56)
    x = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    x = torch.nn.functional.interpolate(x, (224, 224), mode="bicubic")
    x = vision.torchvision.transforms.functional.normalize(x, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    network = vision.torchvision.models.resnet50(weights=None)
    network.load_state_dict(torch.load(resnet_file))
    with torch.no_grad():
        expected = network.eval()(x)
    torch.testing.assert_close(extractor.logits(images), expected, rtol=0, atol=1e-5)
    assert extractor.features([images[0], random_images(1, 32, 20)[0]]).shape == (2, 2048)


def test_published_weights_are_refused_unless_they_are_the_right_file(
    resnet_file: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="no such weights"):
        extractors.Inception(tmp_path / "absent.pth")
    with pytest.raises(UserError, match="expected 6726825d"):
        extractors.Inception(resnet_file, sha256="6726825d")
    with pytest.raises(UserError, match="another network"):
        extractors.Inception(resnet_file)
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(UserError, match="cannot be read as weights"):
        extractors.ResNet50(tmp_path / "text.pth")


# --- accuracy ------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(6, 6, 1), (32, 32, 3), (33, 47, 3), (256, 200, 3)])
def test_ssim_is_that_of_torchmetrics_to_the_last_bit(shape: tuple[int, ...]) -> None:
    from torchmetrics.functional.image import structural_similarity_index_measure

    rng = np.random.default_rng(0)
    first = rng.integers(0, 256, shape).astype(np.uint8)
    for second in (first, first // 2, rng.integers(0, 256, shape).astype(np.uint8), np.full_like(first, 9)):
        x, y = (torch.from_numpy(v).permute(2, 0, 1)[None].double() for v in (first, second))
        known = structural_similarity_index_measure(x, y, data_range=255.0)
        assert quality([first], [second]).ssim == [float(known)]


def test_intervals_are_those_of_scipy_to_the_last_bit() -> None:
    for n in (1, 2, 7, 12, 359, 1797):
        for hits in {0, 1, n // 3, n}:
            found = stats.binomtest(hits, n).proportion_ci(0.95, method="wilson")
            assert wilson(hits, n) == (found.low, found.high)
    assert all(students_t(freedom) == stats.t.ppf(0.975, freedom) for freedom in range(1, 100))


def test_wilson_interval_of_textbook_counts() -> None:
    assert wilson(10, 10) == pytest.approx((0.72247, 1.0), abs=1e-5)
    assert wilson(0, 10) == pytest.approx((0.0, 0.27753), abs=1e-5)
    assert wilson(50, 100) == pytest.approx((0.40383, 0.59617), abs=1e-5)
    assert wilson(199, 200) == pytest.approx((0.97223, 0.99912), abs=1e-5)
    assert wilson(200, 200) == pytest.approx((0.98115, 1.0), abs=1e-5)


def test_a_share_is_told_with_its_interval_and_number() -> None:
    told = Share.of(np.arange(37) < 34).values("accuracy")
    assert list(told) == ["accuracy", "accuracy_low", "accuracy_high", "accuracy_n"]
    assert list(told.values()) == pytest.approx([34 / 37, 0.78699, 0.97204, 37], abs=1e-5)
    assert Share(0, 0).values("x") == {"x": None, "x_low": None, "x_high": None, "x_n": 0}


def test_every_measure_computes_exactly_whatever_the_precision_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    rounded: list[bool] = []

    class Watching:
        name = digest = resize = "watching"

        def features(self, images: extractors.Batch) -> torch.Tensor:
            rounded.append(torch.backends.cudnn.allow_tf32)
            return torch.zeros(len(images), 2)

        logits = features

    images = np.zeros((4, 8, 8, 3), np.uint8)
    statistics(Watching(), images, 2)
    classifier_accuracy(Watching(), images, np.zeros(4, int), 2)
    features.per_image(Watching().features, images, 2, "features")
    assert rounded == [False] * 6
    assert torch.backends.cudnn.allow_tf32


def test_accuracy_counts_over_batches() -> None:
    network = ConvNet(4, 8)
    classifier = SmallClassifier(network, (16, 16))
    images = random_images(10)
    labels = classifier.logits(images).argmax(dim=1).numpy()
    wrong = np.where(np.arange(10) < 3, (labels + 1) % 4, labels)
    assert classifier_accuracy(classifier, images, wrong, batch_size=4).accuracy == 0.7


@pytest.mark.parametrize(("labels", "message"), [(None, "no labels"), ([1], "1 labels for 2 images")])
def test_accuracy_needs_one_label_per_image(labels, message: str) -> None:
    with pytest.raises(UserError, match=message):
        classifier_accuracy(SmallClassifier(ConvNet(4, 8), (16, 16)), random_images(2), labels)


def test_accuracy_needs_classes() -> None:
    with pytest.raises(UserError, match="corners knows no classes"):
        classifier_accuracy(Corners(), random_images(2), [0, 1])


# --- restoration ---------------------------------------------------------------------------------


def ssim_by_definition(x: np.ndarray, y: np.ndarray) -> float:
    """Wang et al. 2004, eq. 13, mean over all pixels, borders mirrored."""
    x, y = x.astype(float), y.astype(float)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2

    def local(v: np.ndarray) -> np.ndarray:
        return gaussian_filter(v, sigma=(1.5, 1.5, 0), mode="mirror", radius=(5, 5, 0))

    mx, my = local(x), local(y)
    vx, vy, cov = local(x * x) - mx * mx, local(y * y) - my * my, local(x * y) - mx * my
    return float((((2 * mx * my + c1) * (2 * cov + c2)) / ((mx**2 + my**2 + c1) * (vx + vy + c2))).mean())


@pytest.mark.parametrize("size", [(32, 32), (24, 40), (8, 8)])
def test_psnr_and_ssim_by_definition(size: tuple[int, int]) -> None:
    originals = random_images(3, *size)
    noise = np.random.default_rng(1).normal(0, 12, originals.shape)
    images = np.clip(originals + noise, 0, 255).astype(np.uint8)
    found = quality(images, originals)
    mse = ((images.astype(float) - originals) ** 2).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(found.psnr, 10 * np.log10(255**2 / mse), rtol=1e-6)
    expected = [ssim_by_definition(x, y) for x, y in zip(images, originals, strict=True)]
    np.testing.assert_allclose(found.ssim, expected, rtol=1e-5)
    values = found.values("_x")
    assert values["psnr_x"] == pytest.approx(np.mean(found.psnr))
    error = np.std(found.psnr, ddof=1) / 3**0.5
    assert values["psnr_x_high"] - values["psnr_x"] == pytest.approx(1.959964 * error)


def test_restoration_says_what_was_gained() -> None:
    originals = [random_images(1, 16, 16)[0], random_images(1, 20, 12)[0]]
    corrupted = [i // 2 for i in originals]
    found = restoration(originals, corrupted, originals)
    assert found.restored.psnr == [PSNR_OF_EQUAL_IMAGES] * 2
    means = found.means()
    assert means["ssim"] == pytest.approx(1)
    assert means["psnr_gain"] == pytest.approx(means["psnr"] - means["psnr_corrupted"])
    assert means["ssim_gain"] > 0
    # image by image: the interval of a gain is that of the differences
    gains = np.subtract(found.restored.psnr, found.corrupted.psnr)
    assert means["psnr_gain_low"] == pytest.approx(gains.mean() - 1.959964 * abs(gains[1] - gains[0]) / 2)


def test_patches_of_one_photograph_are_no_independent_images() -> None:
    values = np.array([1.0, 2.0, 4.0, 8.0])
    alone = Estimate.of(values, list("abcd"))
    assert alone.error == pytest.approx(Estimate.of(values).error)
    assert alone.reach == pytest.approx(3.182446, rel=1e-6)  # Student's t, 3 degrees of freedom
    again = Estimate.of(values.repeat(9), [name for name in "abcd" for _ in range(9)])
    assert (again.value, again.error) == (pytest.approx(alone.value), pytest.approx(alone.error))
    assert Estimate.of(values, list("aaaa")).values("psnr") == {"psnr": 3.75}


def test_the_interval_over_photographs_holds_the_mean_as_often_as_it_says() -> None:
    """Photographs differ here as much as their patches, which are no independent images."""
    rng, photographs = np.random.default_rng(0), np.repeat(list("abcdef"), 30)
    over = {"photographs": 0, "patches": 0}
    for _ in range(2000):
        values = rng.normal(size=6).repeat(30) + rng.normal(size=180)
        for name, sources in (("photographs", photographs), ("patches", None)):
            found = Estimate.of(values, sources).values("mean")
            over[name] += found["mean_low"] < 0 < found["mean_high"]
    assert 0.93 < over["photographs"] / 2000 < 0.97
    assert over["patches"] / 2000 < 0.5


@pytest.mark.parametrize(
    ("images", "originals", "message"),
    [
        (random_images(2), random_images(3), "2 images against 3 originals"),
        ([], [], "0 images"),
        (random_images(1, 16, 16), random_images(1, 16, 20), "number 0"),
        (random_images(1, 4, 4), random_images(1, 4, 4), "too small"),
    ],
)
def test_quality_refuses_what_cannot_be_compared(images, originals, message: str) -> None:
    with pytest.raises(UserError, match=message):
        quality(images, originals)


# --- protocol ------------------------------------------------------------------------------------


def a_protocol() -> dict:
    return protocol.protocol(
        "fid",
        n=360,
        settings={"kid": True},
        inputs={"reference": "ab", "extractor": Corners()},
        extractor=extractors.describe(Corners()),
    )


def test_hash_covers_the_protocol_and_not_what_the_value_was_made_with() -> None:
    a = protocol.metric({"fid": 1.5}, a_protocol(), {"nfe": 10, "seed": 0, "checkpoint": "x"})
    b = protocol.metric({"fid": 2.5}, a_protocol(), {"nfe": 100, "seed": 1, "checkpoint": "y"})
    assert a["protocol_hash"] == b["protocol_hash"]
    assert protocol.comparable(a, b) == []
    assert a["made_with"] != b["made_with"]


def test_differing_protocol_entries_are_named() -> None:
    a = protocol.metric({"fid": 1.5}, a_protocol())
    changed = copy.deepcopy(a_protocol())
    changed["extractor"]["digest"] = "other"
    changed["n"] = 10_000
    b = protocol.metric({"fid": 1.5}, {**changed, "crop": "adm"})
    assert a["protocol_hash"] != b["protocol_hash"]
    assert protocol.comparable(a, b) == ["crop", "extractor.digest", "n"]
    no_extractor = protocol.metric({"psnr": 1.5}, protocol.protocol("psnr", n=360, settings={}, inputs={}))
    assert "extractor" in protocol.comparable(a, no_extractor)


def test_metric_files_repeat_to_the_byte(tmp_path: Path) -> None:
    for name, value in (("a", 0.1 + 0.2), ("b", 0.3)):
        protocol.write_metric(tmp_path / name, {"fid": value, "n": 3, "kid": None}, a_protocol())
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert json.loads((tmp_path / "a").read_text())["values"] == {"fid": 0.3, "n": 3, "kid": None}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_value_that_is_no_number_is_refused(value: float) -> None:
    with pytest.raises(UserError, match="fid is"):
        protocol.metric({"fid": value}, a_protocol())
