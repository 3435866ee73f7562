"""Student's t for whole degrees of freedom, without SciPy."""

import math
from statistics import NormalDist

NORMAL_FROM = 1000  # from here on the difference to the normal distribution is below 0.2 % of a quantile


def two_sided_quantile(level: float, freedom: int) -> float:
    """The t > 0 with P(|T| ≥ t) = `level`, 0 < level ≤ 1."""
    if freedom >= NORMAL_FROM:
        return NormalDist().inv_cdf(1.0 - level / 2.0)
    low, high = 0.0, math.pi / 2.0  # bisect the angle of the series, which is bounded
    for _ in range(60):
        middle = (low + high) / 2.0
        if _tail(middle, freedom) > level:
            low = middle
        else:
            high = middle
    return math.tan(low) * math.sqrt(freedom)


def widening(level: float, units: int) -> float:
    """√(n/(n−1)) · t(n−1)/z at this level: by what the percentiles of n resampled units are widened."""
    if units < 2:
        return 1.0
    level = min(level, 0.999)  # t/z tends to a limit; 0/0 at level 1
    normal = NormalDist().inv_cdf(1.0 - level / 2.0)
    return two_sided_quantile(level, units - 1) / normal * math.sqrt(units / (units - 1))


def _tail(angle: float, freedom: int) -> float:
    """P(|T| ≥ tan(angle)·√freedom), by the series of Abramowitz & Stegun, 26.7.3 (odd) and 26.7.4 (even)."""
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    term, total = (cosine, 0.0) if odd else (1.0, 0.0)
    for step in range(1 + odd, freedom, 2):  # the last term has cosine to the power freedom − 2
        total += term
        term *= cosine * cosine * step / (step + 1)
    inside = (angle + sine * total) * 2.0 / math.pi if odd else sine * total
    return max(0.0, 1.0 - inside)
