"""Student's t for any number of degrees of freedom, whole or not: its tail and its quantile. inf: the normal one."""

import math
from statistics import NormalDist

NEARLY_NORMAL = 1e6
"""From so many degrees on the normal distribution stands for t: up to t = 2 p is off by a hundred-thousandth of it."""
TINY = 1e-300


def tail(t: float, degrees: float) -> float:
    """Two-sided p: the part of the distribution that is at least as far from 0 as t. degrees: above 0."""
    if degrees >= NEARLY_NORMAL:
        return math.erfc(abs(t) / math.sqrt(2))
    square = t * t
    return _incomplete_beta(degrees / 2, degrees / (degrees + square), square / (degrees + square))


def quantile(degrees: float, level: float = 0.95) -> float:
    """Between minus this and this lies the part `level` of the distribution."""
    if degrees >= NEARLY_NORMAL:
        return NormalDist().inv_cdf((1 + level) / 2)
    low, high = 0.0, 1.0
    while tail(high, degrees) > 1 - level:
        low, high = high, 2 * high
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if tail(middle, degrees) > 1 - level else (low, middle)
    return high


def _incomplete_beta(a: float, x: float, rest: float) -> float:
    """The regularised incomplete beta function of x for a and 1/2; rest: 1 - x, given since it may be tiny."""
    b = 0.5
    if x <= 0 or rest <= 0:
        return 0.0 if x <= 0 else 1.0
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log(rest))
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(a, b, x) / a
    return 1 - front * _fraction(b, a, rest) / b


def _fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of the incomplete beta function, by Lentz's way. Source: NIST DLMF 8.17.22."""
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1))
    value, step, change = d, 0, 0.0
    while abs(change - 1) > 1e-15 and step < 10_000:
        step += 1
        for top in (
            step * (b - step) * x / ((a + 2 * step - 1) * (a + 2 * step)),
            -(a + step) * (a + b + step) * x / ((a + 2 * step) * (a + 2 * step + 1)),
        ):
            d = 1 / (1 + top * d or TINY)
            c = 1 + top / c or TINY
            change = c * d
            value *= change
    return value
