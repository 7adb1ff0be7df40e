"""How long a buyer takes to pay."""

from __future__ import annotations

import math
from dataclasses import dataclass

#: The longest that a buyer is waited for; also where the tail of the exponential distribution is cut.
PAY_SECONDS_MAX = 3_600.0


@dataclass(frozen=True, slots=True)
class PayDelay:
    """A distribution of seconds: `fixed` (low), `uniform` (low to high) or `exp` (low is the mean)."""

    kind: str
    low_seconds: float
    high_seconds: float = 0.0

    def seconds(self, chance: float) -> float:
        """The delay of a buyer whose chance in [0, 1) is given: the inverse of the distribution."""
        if self.kind == "uniform":
            return self.low_seconds + chance * (self.high_seconds - self.low_seconds)
        if self.kind == "exp":
            return min(-math.log1p(-chance) * self.low_seconds, PAY_SECONDS_MAX)
        return self.low_seconds


def parse_pay_delay(text: str) -> PayDelay:
    """The distribution of `2`, `1..5` or `exp:2`.

    Raises:
        ValueError: it is none of these, or outside 0..3600 s.
    """
    try:
        if text.startswith("exp:"):
            delay = PayDelay("exp", float(text[4:]))
        elif ".." in text:
            low, _, high = text.partition("..")
            delay = PayDelay("uniform", float(low), float(high))
        else:
            delay = PayDelay("fixed", float(text))
    except ValueError as exc:
        raise ValueError(f"must be seconds like 2, 1..5 or exp:2, not {text!r}") from exc
    highest = delay.high_seconds if delay.kind == "uniform" else delay.low_seconds
    if not 0 <= delay.low_seconds <= highest <= PAY_SECONDS_MAX:
        raise ValueError(f"must lie in 0..{PAY_SECONDS_MAX:.0f} seconds, low before high, not {text!r}")
    return delay
