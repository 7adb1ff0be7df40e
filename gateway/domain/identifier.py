"""Identifiers: positions, reservation ids and their random parts, request fingerprints.

A reservation's public id is `rsv_<shard>-<epoch>-<seq>-<random part>`: where it was made, and 96 random bits. Redis
knows it by the
random part alone, which is minted before the script runs and so can be declared in KEYS; the position is added by the
script.
"""

from __future__ import annotations

import binascii
import hashlib
import os
import re
from typing import NamedTuple

RANDOM_BYTES = 12
_POOL_BYTES = RANDOM_BYTES * 256
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_RESERVATION_ID = re.compile(
    r"rsv_(0|[1-9][0-9]{0,4})-([1-9][0-9]{0,14})-([1-9][0-9]{0,14})-([A-Za-z0-9_-]{16})", re.ASCII
)


class Position(NamedTuple):
    """Where in a shard's history a change stands; comparable within a shard as (epoch, seq)."""

    shard: int
    epoch: int
    seq: int

    def __str__(self) -> str:
        return f"{self.shard}-{self.epoch}-{self.seq}"


class ReservationId(NamedTuple):
    """A public reservation id, taken apart."""

    shard: int
    epoch: int
    seq: int
    random_part: str

    def __str__(self) -> str:
        return f"rsv_{self.shard}-{self.epoch}-{self.seq}-{self.random_part}"


def parse_reservation_id(text: str) -> ReservationId | None:
    """The parts of a public id, or None when the text is not one of ours."""
    found = _RESERVATION_ID.fullmatch(text)
    if found is None:
        return None
    return ReservationId(int(found[1]), int(found[2]), int(found[3]), found[4])


class _RandomParts:
    """Random parts cut from one large read of the system's generator: a read per id costs more than the id."""

    def __init__(self) -> None:
        self._pool = b""
        self._at = 0
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        self._pool, self._at = b"", 0

    def mint(self) -> str:
        at = self._at
        if at >= len(self._pool):
            self._pool, at = os.urandom(_POOL_BYTES), 0
        self._at = at + RANDOM_BYTES
        part = binascii.b2a_base64(self._pool[at : at + RANDOM_BYTES], newline=False)
        return part.translate(_URL_SAFE).decode("ascii")


mint_random_part = _RandomParts().mint


def request_record(shop: str, operation: str, key: str) -> str:
    """The name of a request's idempotency record: 22 characters out of hash(shop, operation, key)."""
    hashed = hashlib.blake2b(f"{shop}\t{operation}\t{key}".encode(), digest_size=16).digest()
    return binascii.b2a_base64(hashed, newline=False).translate(_URL_SAFE).decode("ascii")[:22]


def fingerprint(canonical: bytes) -> str:
    """What tells one request body from another: 16 hex digits of a hash over its canonical form."""
    return hashlib.blake2b(canonical, digest_size=8).hexdigest()
