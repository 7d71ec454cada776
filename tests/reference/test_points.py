"""The six domains against recorded runs of DDIB's generator: the same points from the same random numbers."""

import numpy as np
import pytest
from scipy.stats import ks_2samp
from vectors import assert_close, case, names

from bridgepipe.datasets.points import DOMAINS, draw, points

EDGES = np.linspace(-3, 3, 61)
LEVELS = np.linspace(0, 1, 101)


def histogram(p: np.ndarray) -> np.ndarray:
    return np.histogram2d(p[:, 0], p[:, 1], [EDGES, EDGES])[0] / len(p)


@pytest.mark.parametrize("name", names("06_synthetic2d"))
def test_published_points(name):
    c = case(name)
    domain, n, seed = list(DOMAINS)[c.config["index"]], c.config["N"], c.config["numpy_seed"]
    assert domain == name.partition("/")[2]
    p = draw(domain, n, np.random.RandomState(seed))
    x, share, quantiles = p.astype(np.float64), histogram(p), np.quantile(p, LEVELS, axis=0)
    assert_close(c, "first_points", p[:20])
    assert_close(c, "points", p[np.random.RandomState(seed + 2000).permutation(n)[:2000]])
    assert_close(c, "mean", x.mean(0))
    assert_close(c, "std", x.std(0))
    assert_close(c, "mean_all", x.mean())
    assert_close(c, "std_all", x.std())
    assert_close(c, "cov", np.cov(x.T))
    assert_close(c, "hist", share)
    assert_close(c, "outside", 1 - share.sum())
    assert_close(c, "quantiles", quantiles)
    assert_close(c, "minmax", np.stack([p.min(0), p.max(0)]))
    assert_close(c, "order_corr", np.corrcoef(x[:, 0], np.arange(n))[0, 1])
    other = draw(domain, n, np.random.RandomState(seed + 1000))
    assert_close(c, "hist_l1_self", np.abs(share - histogram(other)).sum())
    other_quantiles = np.quantile(other, LEVELS, axis=0)
    assert_close(c, "quantile_diff_self", np.abs(quantiles - other_quantiles).max())


@pytest.mark.parametrize("name", names("06_synthetic2d"))
def test_our_streams_have_the_published_distribution(name):
    c = case(name)
    p = points(name.partition("/")[2], c.config["N"], seed=0)
    assert np.abs(histogram(p) - c.arrays["out.hist"]).sum() < 1.3 * c.arrays["out.hist_l1_self"]
    assert min(ks_2samp(p[:, d], c.arrays["out.points"][:, d]).pvalue for d in (0, 1)) > 1e-3
