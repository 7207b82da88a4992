"""The logistic map, x -> rate * x * (1 - x), for many starts at once. It knows nothing of the workflow that calls it."""
import numpy as np


class Escaped(Exception):
    """A point has left the interval from 0 to 1 and never comes back."""


def simulate(rate, starts, steps):
    """Where the points are after so many steps, and how fast neighbours parted from each on the way, per step."""
    x = np.array(starts)
    parted = np.zeros_like(x)
    for step in range(1, steps + 1):
        parted += np.log(np.abs(rate * (1 - 2 * x)))
        x = rate * x * (1 - x)
        if x.min() < 0 or x.max() > 1:
            raise Escaped(step, int(np.count_nonzero((x < 0) | (x > 1))))
    return {"points": x.tolist(), "exponents": (parted / steps).tolist()}


def analyse(points, exponents):
    """A numpy.float64 is a float, and so is JSON."""
    return {"mean": np.mean(points), "spread": np.std(points), "exponent": np.mean(exponents)}


def onset(rates, exponents):
    """The first rate at which neighbours part for ever, between those that were tried; None when they never do."""
    for i in np.flatnonzero(np.array(exponents) > 0)[:1]:
        i = max(i, 1)
        return np.interp(0, exponents[i - 1:i + 1], rates[i - 1:i + 1])
