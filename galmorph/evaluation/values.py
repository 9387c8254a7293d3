"""How far shares and numbers are from what was counted or measured."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from galmorph.quantities import Array

DRAWS = 1000


@dataclass(frozen=True)
class ValueResult:
    """What one protocol found of one question or number."""

    protocol: str
    name: str
    count: int
    rmse: float
    interval: tuple[float, float]  # of the rms error, 95 %, over these rows
    agreement: float  # part of rows whose largest share is right; of a number, the correlation

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values = dataclasses.asdict(self)
        values["rmse_interval_95"] = values.pop("interval")
        return values

    def summarize(self) -> str:
        """One line for people."""
        low, high = self.interval
        return (
            f"{self.name}, {self.protocol}: rms error {self.rmse:.4g} (95 % interval {low:.4g} to "
            f"{high:.4g}, n = {self.count}), agreement {self.agreement:.3f}"
        )


def compare_shares(
    protocol: str, name: str, votes: Array, shares: Array, *, seed: int = 0
) -> ValueResult:
    """Expected shares (n, k) against counts; rows that nobody answered are left out."""
    people = np.nan_to_num(votes).sum(axis=1)
    some = people > 0
    counted, shares = np.nan_to_num(votes)[some] / people[some, None], shares[some]
    right = float((counted.argmax(axis=1) == shares.argmax(axis=1)).mean())
    return _summarize(protocol, name, ((shares - counted) ** 2).mean(axis=1), right, seed)


def compare_numbers(
    protocol: str, name: str, values: Array, told: Array, *, seed: int = 0
) -> ValueResult:
    """Numbers (n,) against what was measured; rows where that is NaN are left out."""
    some = np.isfinite(values)
    values, told = values[some], told[some]
    r = float(np.corrcoef(values, told)[0, 1]) if np.ptp(values) and np.ptp(told) else float("nan")
    return _summarize(protocol, name, (told - values) ** 2, r, seed)


def _summarize(protocol: str, name: str, square: Array, agreement: float, seed: int) -> ValueResult:
    rng, n = np.random.default_rng(seed), len(square)
    drawn = [np.sqrt(square[rng.integers(0, n, n)].mean()) for _ in range(DRAWS)]
    low, high = (float(v) for v in np.quantile(drawn, [0.025, 0.975]))
    return ValueResult(protocol, name, n, float(np.sqrt(square.mean())), (low, high), agreement)
