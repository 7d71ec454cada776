"""Transport between sets of points: cases whose answer is known."""

from __future__ import annotations

import numpy as np
import ot
import pytest
from scipy.optimize import linear_sum_assignment

from bridgepipe.errors import UserError
from bridgepipe.evaluation import plans, transport

CLOUD = np.random.default_rng(0).normal(size=(400, 3))
SHIFT = np.array([1.0, -2.0, 2.0])


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(1)


def test_a_translation_costs_its_length_squared():
    found = transport.distances(CLOUD, CLOUD + SHIFT)
    assert found.exact_cost == pytest.approx(9.0, abs=1e-9)
    # the mean square of a unit direction's component is 1/3 of the length
    assert found.sliced_w2**2 == pytest.approx(3.0, rel=0.2)
    assert found.entropic_cost >= found.exact_cost
    assert found.n == 400


def test_a_plan_that_is_not_optimal_is_refused(monkeypatch, rng):
    x, y = rng.normal(size=(200, 2)), rng.normal(size=(200, 2)) + 1
    known = transport.exact_cost(x, y)
    rows, columns = linear_sum_assignment(ot.dist(x, y))
    assert known == pytest.approx(ot.dist(x, y)[rows, columns].mean())
    monkeypatch.setattr(plans, "ITERATIONS", 50)
    for measure in (transport.exact_cost, plans.coupling, transport.distances, plans.ot_color_map):
        with pytest.raises(
            UserError, match=r"200 x 200 points is not optimal.*fewer points, or more than 50"
        ):
            measure(x, y)


def test_a_known_optimum_of_many_points_is_found_whatever_their_order(rng):
    """More iterations than POT takes by itself: the gradient of a convex function, its images permuted."""
    x = rng.normal(size=(1500, 2))
    y = (x @ [[2.0, 0.5], [0.5, 1.0]])[rng.permutation(1500)]
    known = ((x @ [[1.0, 0.5], [0.5, 0.0]]) ** 2).sum(1).mean()
    assert transport.exact_cost(x, y) == pytest.approx(known)
    assert plans.coupling(x, y).excess == pytest.approx(((x - y) ** 2).sum(1).mean() / known - 1)


def test_an_entropic_plan_that_has_not_converged_is_refused(monkeypatch, rng):
    x, y = rng.normal(size=(100, 2)), rng.normal(size=(100, 2)) + 1
    monkeypatch.setattr(plans, "SCALINGS", 3)
    with pytest.raises(UserError, match=r"has not converged in 3 steps.*take a larger one"):
        transport.entropic_cost(x, y, regularisation=0.01)
    with pytest.raises(UserError, match="has not converged"):
        transport.entropic_cost(x, y, regularisation=1e-5)


def test_sorted_numbers_are_coupled_in_order(rng):
    x, y = rng.normal(size=(300, 1)), rng.exponential(size=(300, 1)) ** 2
    known = float(((np.sort(x, 0) - np.sort(y, 0)) ** 2).mean())
    assert transport.exact_cost(x, y) == pytest.approx(known)
    assert transport.sliced_w2(x, y) == pytest.approx(known**0.5)
    assert plans.coupling(np.sort(x, 0), np.sort(y, 0)).excess == pytest.approx(0, abs=1e-9)
    backwards = plans.coupling(np.sort(x, 0), np.sort(y, 0)[::-1])
    assert backwards.optimal == pytest.approx(known)
    assert backwards.excess > 0.5


def test_gaussians_cost_what_their_moments_say(rng):
    x, y = rng.normal(size=(1500, 2)), 3 * rng.normal(size=(1500, 2)) + [2, 0]
    # W2^2 of N(m, s^2 I) in 2-D: |m - m'|^2 + 2 (s - s')^2
    assert transport.exact_cost(x, y) == pytest.approx(4 + 2 * 4, rel=0.08)


@pytest.mark.parametrize(("n", "m"), [(50, 50), (50, 35), (7, 300), (1, 4)])
def test_sets_of_any_numbers_are_coupled_as_by_pot(n, m, rng):
    x, y = rng.normal(size=(n, 1)), rng.normal(size=(m, 1)) + 1
    assert transport.sliced_w2(x, y) == pytest.approx(float(ot.wasserstein_1d(x, y, p=2)[0]) ** 0.5)
    many = transport.sliced_w2(rng.normal(size=(n, 2)), rng.normal(size=(m, 2)) + 1, projections=8)
    assert 0 < many < 5


def test_a_weak_entropy_approaches_the_exact_cost(rng):
    x, y = rng.normal(size=(200, 2)), rng.normal(size=(200, 2)) + 2
    exact = transport.exact_cost(x, y)
    costs = [transport.entropic_cost(x, y, regularisation=r) for r in (0.5, 0.1, 0.02)]
    assert costs[0] > costs[1] > costs[2] > exact
    assert costs[2] == pytest.approx(exact, rel=0.05)


def test_a_set_is_at_no_distance_from_itself():
    found = transport.distances(CLOUD, CLOUD)
    assert found.sliced_w2 == 0
    assert found.exact_cost == 0
    still = plans.coupling(CLOUD, CLOUD)
    assert (still.cost, still.optimal, still.excess) == (0, 0, 0)
    assert transport.entropic_cost(np.zeros((5, 2)), np.zeros((5, 2))) == 0


def test_the_gradient_of_a_convex_function_is_an_optimal_map():
    stretched = CLOUD @ np.diag([2.0, 0.5, 1.0]) + SHIFT
    optimal = plans.coupling(CLOUD, stretched)
    assert optimal.excess == pytest.approx(0, abs=1e-9)
    turned = CLOUD[:, :2] @ np.array([[0.0, 1.0], [-1.0, 0.0]])
    assert plans.coupling(CLOUD[:, :2], turned).excess > 1


def test_pairs_are_subsampled_together(rng):
    x = rng.normal(size=(3000, 2))
    part = plans.coupling(x, x + 1, n=200)
    assert part.n == 200
    assert part.cost == pytest.approx(2.0)
    assert part.excess == pytest.approx(0, abs=1e-9)


def test_distances_stand_beside_their_noise_floor(rng):
    draws = [rng.normal(size=(600, 2)) for _ in range(4)]
    same = transport.compare(draws[0], draws[1], draws[2:], n=300)
    assert same.found.exact_cost < 1.5 * same.floor.exact_cost
    alone = [transport.distances(draw, draws[1], n=300).exact_cost for draw in draws[2:]]
    assert same.floor.exact_cost == pytest.approx(np.mean(alone))
    assert same.spread.exact_cost == pytest.approx(np.std(alone, ddof=1))
    far = transport.compare(draws[0] + 1, draws[1], draws[2:], n=300).values()
    assert 0 < far["sliced_w2_floor_spread"] < far["sliced_w2_floor"]
    assert far["exact_cost"] > 10 * far["exact_cost_floor"]
    assert far["sliced_w2"] > 3 * far["sliced_w2_floor"]
    assert far["n"] == 300
    # the floor belongs to sets of the size that is judged
    few = transport.compare(draws[0][:100], draws[1], [draw[:100] for draw in draws[2:]], n=300)
    assert few.floor.n == 100
    assert few.floor.sliced_w2 > same.floor.sliced_w2


def test_normal_latents_are_told_from_others(rng):
    z = rng.normal(size=(3000, 2))
    normal = transport.normality(z)
    assert max(normal.mean, normal.covariance) < 0.1
    assert min(normal.ks_p) > 0.001
    assert normal.sliced_w2 < 3 * normal.sliced_w2_floor
    other = transport.normality(np.stack([z[:, 0] + 0.5, rng.uniform(-1, 1, 3000)], 1))
    assert other.mean == pytest.approx(0.5, abs=0.1)
    assert other.covariance == pytest.approx(2 / 3, abs=0.1)
    assert max(other.ks_p) < 1e-6
    assert other.sliced_w2 > 5 * other.sliced_w2_floor


def test_colours_move_as_their_nearest_fitted_ones(rng):
    moved = plans.ot_color_map(CLOUD, CLOUD + SHIFT, n=400)
    assert moved == pytest.approx(CLOUD + SHIFT, abs=1e-9)
    source, target = rng.uniform(0, 100, (2000, 3)), rng.uniform(80, 180, (1500, 3))
    exact = plans.ot_color_map(source, target, n=300)
    entropic = plans.ot_color_map(source, target, n=300, regularisation=0.05)
    # means of many partners shrink the cloud, the more the stronger the entropy
    for result, share in ((exact, 0.1), (entropic, 0.2)):
        assert result.shape == source.shape
        assert transport.sliced_w2(result, target) < share * transport.sliced_w2(source, target)
    assert transport.mean_squared_error(exact, entropic) < 0.2 * transport.mean_squared_error(exact, source)


def test_the_map_of_fitted_colours_is_the_barycentre_of_their_partners(rng):
    x, y = rng.normal(size=(80, 3)), rng.normal(size=(120, 3)) + 1
    known = ot.da.EMDTransport().fit(Xs=x, Xt=y).transform(Xs=x)
    assert plans.ot_color_map(x, y) == pytest.approx(known)


@pytest.mark.parametrize(
    "measure",
    [
        lambda x, y: transport.distances(x, y, n=50),
        lambda x, y: transport.compare(x, y, [y, y], n=50),
        lambda x, y: plans.coupling(x, y, n=50),
        lambda x, y: transport.normality(x),
        lambda x, y: plans.ot_color_map(x, y, n=50).tobytes(),
    ],
)
def test_measured_twice_is_the_same_and_single_precision_will_do(measure):
    x, y = CLOUD.astype(np.float32), (CLOUD + 1).astype(np.float32)
    assert measure(x, y) == measure(x, y)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: transport.distances(CLOUD, CLOUD[:, :2]), "one dimension"),
        (lambda: transport.sliced_w2(CLOUD, CLOUD[:0]), "shapes"),
        (lambda: plans.coupling(CLOUD, CLOUD[:5]), "every point its image"),
        (lambda: transport.compare(CLOUD, CLOUD, [CLOUD[:5]] * 2), "noise floor"),
        (lambda: transport.compare(CLOUD, CLOUD, [CLOUD]), "two or more"),
        (lambda: transport.normality(CLOUD[:1]), "covariance"),
    ],
)
def test_what_cannot_be_compared_is_refused(call, words):
    with pytest.raises(UserError, match=words):
        call()
