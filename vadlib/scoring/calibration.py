"""What is measured of a cube, held against what is normal: standardised as the paper does, or as a tail probability.

Errors, speeds and distances have units of their own and heavy tails. Before they can be added up each is turned into
"how unusual is this", by what the same measurement gives on normal footage that nothing was trained on.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from vadlib.scoring.thresholds import Threshold
from vadlib.settings import BRANCHES, Branch, Configuration, EvidenceName, ScoreSettings

TAIL = 0.9
"""The quantile at which the tail begins: beyond it a few hundred measurements say too little one by one."""
LEVELS = np.linspace(0, TAIL, 46)
USUAL: Mapping[str, float] = {"dwell": 2.0}
"""-log p up to which nothing is strange; of all that is not named 1, one object in e. In a sum of many kinds of
evidence, what each says of ordinary objects is noise. To wait for a while is ordinary; it takes one object in e^2 to be
strange."""
LEAST: Mapping[str, float] = {"dwell": 0.2}
"""The smallest spread of logarithms that is believed of a measurement: where everybody keeps walking, all waiting is as
short, and half a second is not yet loitering."""


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation of one branch's errors on the training cubes, without perturbation (III-E)."""

    mean: float
    std: float
    cubes: int


@dataclass(frozen=True)
class Normal:
    """How one measurement is distributed on held-out normal footage."""

    mean: float
    std: float
    log_mean: float  # of log(value + offset)
    log_std: float
    offset: float  # a thousandth of the median: a value of 0 has a logarithm
    quantiles: tuple[float, ...]  # of log(value + offset), at LEVELS
    excess: float  # mean of how far logarithms in the tail are beyond its beginning
    cubes: int


def fit_statistics(errors: Iterable[np.ndarray]) -> Statistics:
    """Mean and (population) standard deviation of errors that come in batches, in float64 and constant memory.

    Batches are merged by their means and sums of squares (Chan, Golub & LeVeque 1979). Raises ValueError for no
    errors, and where all are equal: nothing could be standardised by them.
    """
    count, mean, squares = 0, 0.0, 0.0
    for batch in errors:
        values = np.asarray(batch, dtype=np.float64)
        if not len(values):
            continue
        difference = values.mean() - mean
        total = count + len(values)
        squares += ((values - values.mean()) ** 2).sum() + difference**2 * count * len(values) / total
        mean += difference * len(values) / total
        count = total
    if not count or not squares > 0:
        raise ValueError(f"{count} training errors without spread: no standard deviation to score by")
    return Statistics(float(mean), math.sqrt(squares / count), count)


def fit_normal(values: np.ndarray, least: float = 0.0) -> Normal:
    """What is normal of a measurement, from its values (N,) >= 0 on normal footage.

    `least` is the smallest spread of logarithms that is believed. Raises ValueError for no values, and where all are
    equal and `least` is 0.
    """
    values = np.asarray(values, np.float64)
    if not len(values) or (values.min() == values.max() and not least):
        raise ValueError(f"{len(values)} values without spread: nothing to calibrate by")
    offset = float(max(np.median(values), values.mean()) / 1000)
    logs = np.log(values + offset)
    quantiles = np.quantile(logs, LEVELS)
    beyond = logs[logs > quantiles[-1]] - quantiles[-1]
    # Hill's estimator of a Pareto tail: the logarithms beyond a high quantile are exponential, and their mean is its
    # only parameter.
    excess = float(beyond.mean()) if len(beyond) else 0.0
    return Normal(
        float(values.mean()), max(float(values.std()), least * float(values.mean())),
        float(logs.mean()), max(float(logs.std()), least), offset,
        tuple(quantiles.tolist()), max(excess, 1e-3 * float(logs.std()), least), len(values),
    )  # fmt: skip


def surprise(values: np.ndarray, normal: Normal) -> np.ndarray:
    """-log p: of p the share of normal measurements that are as large or larger. float64 (N,), 0 and more.

    Empirical up to the quantile TAIL; beyond it the tail is a power law, so that -log p grows with the logarithm of the
    value: an error of ten times the usual counts, and does not drown all else.
    """
    logs = np.log(np.maximum(np.asarray(values, np.float64), 0) + normal.offset)
    start = normal.quantiles[-1]
    # From above: of equal quantiles (a fifth of all stands still) the lowest level, for p counts what is as large.
    levels = np.interp(-logs, -np.array(normal.quantiles[::-1]), LEVELS[::-1])
    within = -np.log1p(-levels)
    return np.where(logs > start, -math.log1p(-TAIL) + (logs - start) / normal.excess, within)


def usual(name: str) -> float:
    """-log p up to which an evidence says nothing."""
    return USUAL.get(name, 1.0)


def strangeness(name: EvidenceName, values: np.ndarray, normal: Normal) -> np.ndarray:
    """What a measurement adds to a score: -log p beyond USUAL, and 0 below; float64 (N,)."""
    return np.maximum(surprise(values, normal) - usual(name), 0)


def rarity(name: EvidenceName, strangeness: float) -> float:
    """One normal object in how many is as strange; 1 where it is as good as all."""
    return math.exp(min(strangeness + usual(name), 50.0)) if strangeness > 0 else 1.0


@dataclass(frozen=True)
class Calibration:
    """What is normal of each of `Values`, by eta, and the threshold of each configuration."""

    normal: Mapping[float, Mapping[str, Normal]]
    thresholds: Mapping[Configuration, Threshold]

    def objects(self, eta: float) -> int:
        """How many objects what is normal was learned from."""
        return next(iter(self.normal[eta].values())).cubes


UNCALIBRATED = Calibration({}, {})


def value_of(name: EvidenceName, how: ScoreSettings) -> str:
    """Which of `Values` an evidence is."""
    return f"{name}_median" if name in BRANCHES and how.error == "median" else name


def standardised(
    name: EvidenceName,
    values: np.ndarray,
    how: ScoreSettings,
    normal: Normal | None,
    statistics: Mapping[Branch, Statistics],
) -> np.ndarray:
    """One evidence's part of the scores, float64 (N,), by `how.calibration`, unweighted.

    `z` of the paper's errors is by their mean and standard deviation on the training cubes (III-E); of all else, and
    `log_z`, `tail`, by held-out footage. Raises ValueError where that is needed and None.
    """
    values = np.asarray(values, np.float64)
    if how.calibration == "z" and how.error == "norm" and name in ("raw", "flow") and name in statistics:
        return (values - statistics[name].mean) / statistics[name].std
    if normal is None:
        raise ValueError(f"nothing says what is normal of {name}")
    if how.calibration == "tail":
        return strangeness(name, values, normal)
    if how.calibration == "log_z":
        return (np.log(np.maximum(values, 0) + normal.offset) - normal.log_mean) / normal.log_std
    return (values - normal.mean) / normal.std
