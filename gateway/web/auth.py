"""Who is asking: a bearer key becomes a principal with a shop and scopes."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import Final, Protocol

from gateway.domain.errors import Unauthenticated

RESERVE: Final = "reserve"
STOCK_READ: Final = "stock:read"
STOCK_WRITE: Final = "stock:write"
EVENTS_READ: Final = "events:read"
OPS: Final = "ops"
SCOPES: Final = frozenset({RESERVE, STOCK_READ, STOCK_WRITE, EVENTS_READ, OPS})


@dataclass(frozen=True, slots=True)
class Principal:
    """Whom a key stands for. `actor` is written into the audit trail; `shop` None means every shop."""

    actor: str
    shop: str | None
    scopes: frozenset[str]


class Authenticate(Protocol):
    """Turns the `Authorization` header, None without one, into a principal; raises Unauthenticated."""

    def __call__(self, authorization: str | None, /) -> Principal: ...


#: On routes that are open to everybody nobody is asked for a key.
NOBODY: Final = Principal("nobody", None, frozenset())
ANONYMOUS: Final = Principal("anonymous", None, SCOPES)
BOOTSTRAP: Final = Principal("key:bootstrap", None, SCOPES)


def anyone(_authorization: str | None) -> Principal:
    """Everybody may do everything: right on a loopback address only."""
    return ANONYMOUS


class BootstrapKey:
    """The one key of the configuration, with every scope."""

    def __init__(self, key: str) -> None:
        # Digests have one length, so the time of the comparison tells nothing about the key, not even how long it is.
        self._digest = hashlib.sha256(key.encode()).digest()

    def __call__(self, authorization: str | None) -> Principal:
        """The bootstrap principal.

        Raises:
            Unauthenticated: the header is missing, not `Bearer`, or the key is another one.
        """
        scheme, _, key = (authorization or "").partition(" ")
        given = hashlib.sha256(key.strip().encode("utf-8", "surrogateescape")).digest()
        if not hmac.compare_digest(given, self._digest) or scheme.lower() != "bearer":
            raise Unauthenticated
        return BOOTSTRAP


def authenticator(bootstrap_key: str | None) -> Authenticate:
    """By the bootstrap key when there is one, else everybody."""
    return BootstrapKey(bootstrap_key) if bootstrap_key else anyone
