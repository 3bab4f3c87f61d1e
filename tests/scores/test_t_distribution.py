"""Student's t against scipy, for degrees of freedom that are not whole as well."""

import math

import pytest
import scipy.stats

from fer_dist.scores.t_distribution import quantile, tail

DEGREES = [0.5, 1, 1.5, 2, 2.7, 3, 9, 28.4, 1234.5, 9e5, 2e6, math.inf]


@pytest.mark.parametrize("degrees", DEGREES)
def test_the_tail_is_that_of_scipy(degrees):
    for t in (0, 1e-9, 0.1, 1, 1.96, 3, 10, 30):
        expected = 2 * scipy.stats.t.sf(t, degrees)
        # Above a million degrees the normal distribution stands in.
        assert tail(t, degrees) == pytest.approx(expected, rel=5e-3 if degrees == 2e6 else 1e-7)
        assert tail(-t, degrees) == tail(t, degrees)


@pytest.mark.parametrize("degrees", DEGREES)
def test_the_quantile_is_that_of_scipy(degrees):
    for level in (0.5, 0.95, 0.9997):
        assert quantile(degrees, level) == pytest.approx(scipy.stats.t.ppf((1 + level) / 2, degrees), rel=1e-5)
