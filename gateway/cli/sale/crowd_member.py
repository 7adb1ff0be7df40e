"""What one of the crowd does: decided by seed and number alone, so equal in every run and whatever the gateway answers."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

from gateway.cli.sale.plan import Plan

_FIELDS = struct.Struct(">7Q")
_WHOLE = float(2**64)


@dataclass(frozen=True, slots=True)
class CrowdMember:
    """Buyer `number` (0-based). `is_bot`: tries again and again and never pays. The two duplicate fields say which of its requests
    are sent twice with one key; `is_concurrent`: both at once, else one after the other.
    """

    number: int
    sku: int
    is_bot: bool
    is_abandoning: bool
    pay_seconds: float
    has_duplicate_reserve: bool
    has_duplicate_confirm: bool
    is_concurrent: bool


def member(plan: Plan, number: int) -> CrowdMember:
    """Buyer `number` of the sale; skus are chosen evenly."""
    hashed = hashlib.blake2b(f"{plan.seed}:{number}".encode(), digest_size=_FIELDS.size).digest()
    chances = [value / _WHOLE for value in _FIELDS.unpack(hashed)]
    return CrowdMember(
        number,
        min(int(chances[0] * plan.skus), plan.skus - 1),
        chances[1] < plan.bots,
        chances[2] < plan.abandon,
        # Below 1: the quotient of the greatest 64-bit number rounds up to it.
        plan.pay_delay.seconds(min(chances[3], 1 - 2**-53)),
        chances[4] < plan.duplicates,
        chances[5] < plan.duplicates,
        chances[6] < 0.5,
    )
