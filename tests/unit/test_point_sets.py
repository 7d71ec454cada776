"""Points as data: the six domains at any number, colours of photographs, and training on both."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from bridgepipe import artifacts
from bridgepipe.config.recipe import Recipe
from bridgepipe.config.runtime import Runtime
from bridgepipe.datasets import colors, points
from bridgepipe.datasets.points import DOMAINS, Points
from bridgepipe.errors import UserError
from bridgepipe.evaluation import transport
from bridgepipe.networks.mlp import PointNet
from bridgepipe.training.loop import train

RINGS = ["concentric_rings", "concentric_squares", "olympic_rings", "olympic_squares"]


def test_the_domains_have_their_published_numbers():
    assert list(DOMAINS) == ["moons", "checkerboard", *RINGS]


@pytest.mark.parametrize("variant", ["published", "exact"])
@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("count", [12, 13, 23, 1001])
def test_any_number_of_points(domain, count, variant):
    p = points.points(domain, count, 0, variant=variant)
    assert p.shape == (count, 2)
    assert p.dtype == np.float32
    assert np.isfinite(p).all()
    assert np.abs(p).max() < 4


@pytest.mark.parametrize("domain", DOMAINS)
def test_published_sets_are_normalised_by_one_number(domain):
    p = points.points(domain, 6000, 0).astype(np.float64)
    assert p.mean() == pytest.approx(0, abs=1e-6)
    assert p.std() == pytest.approx(1, abs=1e-6)
    wide, flat = {"moons": (1.209, 0.692)}.get(domain, (1.35, 0.42) if "olympic" in domain else (1, 1))
    assert p.std(0) == pytest.approx([wide, flat], abs=0.03)


@pytest.mark.parametrize("domain", DOMAINS)
def test_exact_sets_have_unit_axes_and_no_order(domain):
    p = points.points(domain, 6000, 0, variant="exact").astype(np.float64)
    assert p.mean(0) == pytest.approx([0, 0], abs=1e-6)
    assert p.std(0) == pytest.approx([1, 1], abs=1e-6)
    assert np.abs(np.corrcoef(np.arange(6000), p.T)[0, 1:]).max() < 0.05


@pytest.mark.parametrize(("variant", "shares"), [("published", [2, 2, 2]), ("exact", [1, 2, 3])])
@pytest.mark.parametrize("domain", ["concentric_rings", "concentric_squares"])
def test_points_of_rings_are_equal_or_in_proportion_to_length(domain, variant, shares):
    p = points.points(domain, 6000, 0, variant=variant).astype(np.float64)
    radius = np.hypot(*p.T) if "rings" in domain else np.abs(p).max(1)
    # the largest radius is 3.25, the gaps between the three are around 1.5 and 2.5
    which = np.digitize(radius / radius.max() * 3.25, [1.5, 2.5])
    assert np.bincount(which) == pytest.approx([1000 * s for s in shares], abs=10)


def test_parts_of_an_odd_number_differ_by_one():
    assert points._shares(100, np.ones(3)) == [33, 34, 33]
    assert points._shares(13, np.ones(4)) == [3, 3, 4, 3]
    assert points._shares(12, (1, 2, 3)) == [2, 4, 6]


def test_splits_seeds_and_domains_are_independent():
    sets = [
        points.points("moons", 100, 0),
        points.points("moons", 100, 0, "test"),
        points.points("moons", 100, 1),
    ]
    assert all(not np.array_equal(a, b) for i, a in enumerate(sets) for b in sets[:i])
    assert np.array_equal(sets[0], points.points("moons", 100, 0))


@pytest.mark.parametrize("domain", ["moons", "concentric_rings"])
def test_independent_samples_share_nothing_with_the_sets_or_with_one_another(tmp_path, domain):
    points.prepare(tmp_path, domain=domain, count=3000)
    data = Points(tmp_path / "test.safetensors")
    one, two = points.independent(data, 2, 3000)
    again = next(points.independent(data, 1, 3000))
    assert np.array_equal(one, again)
    assert one.dtype == np.float32
    assert one.shape == two.shape == (3000, 2)
    # even angles and equal shares make the sets nearer to each other than samples are
    train = Points(tmp_path / "train.safetensors").points
    floors = [transport.sliced_w2(p, data.points) for p in (one, two)]
    if domain == "moons":
        assert transport.sliced_w2(train, data.points) < 0.5 * min(floors)
    assert transport.sliced_w2(one, two) > 0.5 * min(floors)
    assert max(floors) < 0.15


def test_only_points_of_a_domain_can_be_drawn_again(tmp_path):
    points.save(tmp_path / "p.safetensors", np.zeros((20, 2)), {"source": "colors"})
    with pytest.raises(UserError, match="no known domain"):
        next(points.independent(Points(tmp_path / "p.safetensors"), 1, 20))


def test_prepare_writes_two_files_with_the_same_bytes_twice(tmp_path):
    for folder in ("a", "b"):
        points.prepare(tmp_path / folder, domain="checkerboard", count=50, seed=3, variant="exact")
    names = sorted(p.name for p in (tmp_path / "a").iterdir())
    assert names == ["test.safetensors", "train.safetensors"]
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    one, other = Points(tmp_path / "a/train.safetensors"), Points(tmp_path / "a/test.safetensors")
    assert (len(one), one.dim) == (50, 2)
    assert one.digest != other.digest
    assert one.card["made_by"] == {
        "source": "points",
        "domain": "checkerboard",
        "seed": 3,
        "variant": "exact",
        "split": "train",
    }
    assert np.array_equal(one.points, points.points("checkerboard", 50, 3, "train", "exact"))


def test_a_batch_is_rows_by_index(tmp_path):
    cloud = np.arange(12, dtype=np.float64).reshape(4, 3)
    points.save(tmp_path / "p.safetensors", cloud, {})
    data = Points(tmp_path / "p.safetensors")
    assert data.dim == 3
    batch = data.batch([3, 0, 3])
    assert batch.dtype == torch.float32
    assert torch.equal(batch, torch.tensor(cloud[[3, 0, 3]], dtype=torch.float32))
    assert torch.equal(data.batch(np.array([1])), data.batch(torch.tensor([1])))


def test_the_training_loop_trains_on_points(tmp_path):
    points.prepare(tmp_path, domain="moons", count=64)
    data = Points(tmp_path / "train.safetensors")

    def loss(network, batch):
        noise = batch.rng.normal((2,))
        t = torch.full((len(noise),), 500)
        return ((network(batch.images + noise, t) - noise) ** 2).mean(1)

    network = PointNet(model_channels=64, num_res_blocks=1)
    recipe = Recipe(steps=3, batch_size=8, lr=1e-3, log_every=1)
    weights = train(
        network, loss, data, recipe, Runtime(device="cpu"), tmp_path / "run", {"data": data.digest}
    )
    assert set(weights) == set(network.state_dict())
    assert (tmp_path / "run/train.csv").read_text().count("\n") == 4


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"domain": "moon", "count": 50}, "did you mean moons"),
        ({"domain": "moons", "count": 50, "variant": "other"}, "published, exact"),
        ({"domain": "moons", "count": 11}, "12 or more"),
    ],
)
def test_bad_domains_are_refused(tmp_path, arguments, words):
    with pytest.raises(UserError, match=words):
        points.prepare(tmp_path, **arguments)


def test_other_files_are_refused(tmp_path):
    artifacts.save_tensors(tmp_path / "model.safetensors", {"w": torch.zeros(2)}, {"kind": "model"})
    with pytest.raises(UserError, match="not a file of points"):
        Points(tmp_path / "model.safetensors")
    with pytest.raises(UserError, match="no such file"):
        Points(tmp_path / "none.safetensors")


# colours

# sRGB and its CIE Lab under D65
KNOWN = {
    (255, 255, 255): (100, 0, 0),
    (0, 0, 0): (0, 0, 0),
    (255, 0, 0): (53.24, 80.09, 67.20),
    (0, 255, 0): (87.73, -86.18, 83.18),
    (0, 0, 255): (32.30, 79.19, -107.86),
    (128, 128, 128): (53.59, 0, 0),
    (5, 5, 5): (1.37, 0, 0),
}


@pytest.mark.parametrize(("rgb", "lab"), KNOWN.items())
def test_lab_has_its_known_values(rgb, lab):
    assert colors.rgb_to_lab(np.array(rgb) / 255) == pytest.approx(lab, abs=0.01)


def test_lab_is_undone_and_its_limit_is_met_from_both_sides():
    rgb = np.random.default_rng(0).uniform(-0.002, 1.002, (500, 3))
    assert colors.lab_to_rgb(colors.rgb_to_lab(rgb)) == pytest.approx(rgb, abs=2e-6)
    every = np.arange(256).repeat(3).reshape(-1, 3) / 255
    assert np.diff(colors.rgb_to_lab(every)[:, 0]).min() > 0.2


@pytest.mark.parametrize("space", ["rgb", "lab"])
@pytest.mark.parametrize("image", colors.EMBEDDED)
def test_a_photograph_becomes_points_and_comes_back(tmp_path, image, space):
    colors.prepare(tmp_path, image=image, space=space, size=48, seed=1)
    photo = colors.load(image, 48)
    assert max(photo.shape) == 48
    test, training = (Points(tmp_path / f"{split}.safetensors") for split in ("test", "train"))
    scaling = colors.Scaling.of(test.card)
    assert (len(test), test.dim) == (photo.size // 3, 3)
    assert test.points.mean(0) == pytest.approx([0, 0, 0], abs=1e-4)
    assert test.points.var(0).mean() == pytest.approx(1, abs=1e-4)
    size = tuple(test.card["made_by"]["size"])
    assert np.array_equal(scaling.to_image(test.points, size), photo)
    assert np.abs(scaling.to_image(training.points, size).astype(int) - photo).max() <= 1
    assert not np.array_equal(test.points, training.points)
    assert scaling == colors.Scaling.of(training.card)


def test_a_photograph_may_be_a_file_and_is_never_enlarged(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (10, 20, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "p.png")
    assert np.array_equal(colors.load(tmp_path / "p.png"), pixels)
    assert np.array_equal(colors.load(tmp_path / "p.png", 50), pixels)
    assert colors.load(tmp_path / "p.png", 10).shape == (5, 10, 3)


def test_an_image_of_one_colour_is_all_at_the_origin(tmp_path):
    Image.new("RGB", (9, 8), (10, 20, 30)).save(tmp_path / "flat.png")
    colors.prepare(tmp_path, image=str(tmp_path / "flat.png"))
    assert np.abs(Points(tmp_path / "test.safetensors").points).max() == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"image": "china", "space": "hsv"}, "choose from rgb, lab"),
        ({"image": "chin"}, "china, flower"),
        ({"image": "china", "size": 4}, "8 or more"),
    ],
)
def test_bad_photographs_are_refused(tmp_path, arguments, words):
    with pytest.raises(UserError, match=words):
        colors.prepare(tmp_path, **arguments)


def test_an_image_needs_a_point_for_every_pixel():
    with pytest.raises(UserError, match="every pixel"):
        colors.as_image(np.zeros((5, 3)), "rgb", (2, 3))
