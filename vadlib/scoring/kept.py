"""Statistics and calibration as JSON, and back, with every number looked at."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

from vadlib.errors import VadError
from vadlib.scoring.calibration import LEVELS, Normal, Statistics
from vadlib.scoring.evidence import EVIDENCE
from vadlib.scoring.scorer import Calibration, value_of
from vadlib.scoring.thresholds import Threshold
from vadlib.settings import CONFIGURATIONS, Branch, DatasetSettings, EvidenceName


def statistics_from(content: Any, branches: Iterable[Branch], path: Path, made_by: str) -> dict[Branch, Statistics]:
    """The statistics of some branches. Raises VadError where they are not there, or no numbers to score by."""
    found = {branch: _numbers(Statistics, content, branch, path, made_by) for branch in branches}
    for branch, statistics in found.items():
        if not statistics.std > 0:
            raise VadError(f"{path}: a standard deviation of {statistics.std} ({branch}); make it again with {made_by}")
    return found


def calibration_json(calibration: Calibration) -> dict[str, Any]:
    """A calibration as JSON has it."""
    return {
        "normal": {
            repr(eta): {name: asdict(normal) for name, normal in of_eta.items()}
            for eta, of_eta in calibration.normal.items()
        },
        "thresholds": {name: asdict(threshold) for name, threshold in calibration.thresholds.items()},
    }


def calibration_from(content: Any, path: Path, made_by: str) -> Calibration:
    """Read what `calibration_json` made. Raises VadError where it is damaged."""
    try:
        normal = {
            float(eta): {name: _numbers(Normal, of_eta, name, path, made_by) for name in of_eta}
            for eta, of_eta in content["normal"].items()
        }
        thresholds = {name: _numbers(Threshold, content["thresholds"], name, path, made_by) for name in CONFIGURATIONS}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(path, error, made_by) from None
    for of_eta in normal.values():
        for name, found in of_eta.items():
            whole = isinstance(found.quantiles, tuple) and len(found.quantiles) == len(LEVELS)
            if not whole or min(found.offset, found.excess, found.std, found.log_std) <= 0:
                raise _damaged(path, ValueError(f"normal {name}: not a distribution"), made_by)
    return Calibration(normal, thresholds)


def check_calibrated(
    calibration: Calibration, settings: DatasetSettings, etas: Iterable[float], path: Path, made_by: str
) -> None:
    """Raises VadError where a calibration does not say what is normal of all that is scored with these etas."""
    ways = settings.configurations.values()
    names: tuple[EvidenceName, ...] = (*settings.branches, *EVIDENCE)
    needed = sorted({value_of(name, how) for how in ways for name in names})
    for eta in etas:
        for name in needed:
            if name not in calibration.normal.get(eta, {}):
                raise VadError(f"{path}: does not say what is normal of {name} at eta {eta:g}; make it with {made_by}")


def _numbers(kind: type[Any], content: Any, key: str, path: Path, made_by: str) -> Any:
    """A dataclass of finite numbers (its `quantiles` a rising list of them, its `alarms_per_hour` may be None) from a
    JSON object's entry."""
    try:
        entry: Mapping[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in content[key].items()
        }
        found = kind(**entry)
        for name, value in asdict(found).items():
            numbers = value if name == "quantiles" and isinstance(value, tuple) else (value,)
            if value is None and name == "alarms_per_hour":
                continue
            if not all(type(number) in (int, float) and math.isfinite(number) for number in numbers):
                raise ValueError(f"{name}: not finite numbers")
            if any(after < before for before, after in pairwise(numbers)):
                raise ValueError(f"{name}: not rising")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _damaged(path, error, made_by) from None
    return found


def _damaged(path: Path, error: Exception, made_by: str) -> VadError:
    return VadError(f"{path}: damaged ({' '.join(str(error).split())}); make it again with {made_by}")
