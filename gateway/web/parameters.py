"""Query parameters, path parameters and headers: what they are called, how they look, what they mean."""

from __future__ import annotations

from typing import Final

from gateway.domain.reservation import LEGAL_MOVES
from gateway.web.exchange import DEADLINE_MS_MAX
from gateway.web.fields import NAME_PATTERN, SEQUENCE_MAX, TEXT_CHARS_MAX, TEXT_PATTERN
from gateway.web.reservations import PAGE_DEFAULT, PAGE_MAX
from gateway.web.route import Parameter

_NAME: Final = {"type": "string", "pattern": NAME_PATTERN}
_TEXT: Final = {"type": "string", "minLength": 1, "maxLength": TEXT_CHARS_MAX, "pattern": TEXT_PATTERN}
_SEQUENCE: Final = {"type": "integer", "minimum": 1, "maximum": SEQUENCE_MAX}
_KEY: Final = {"type": "string", "pattern": "^[!-~]{1,255}$"}

SHOP: Final[Parameter] = ("shop", _NAME, "Default: the key's shop, else `main`.", False)
ACK: Final[Parameter] = (
    "ack",
    {"type": "string", "enum": ["memory", "durable"]},
    "What the answer waits for: applied in Redis, or committed in the durable store. Default: by the configuration.",
    False,
)
LIMIT: Final[Parameter] = (
    "limit",
    {"type": "integer", "minimum": 1, "maximum": PAGE_MAX, "default": PAGE_DEFAULT},
    "The most that the page holds.",
    False,
)
CURSOR: Final[Parameter] = ("cursor", {"type": "string"}, "The `next_cursor` of the page before.", False)

READS: Final = (SHOP,)
WRITES: Final = (SHOP, ACK)
PAGES: Final = (SHOP, LIMIT, CURSOR)
SEARCH: Final = (
    SHOP,
    ("reference", _TEXT, "Exactly this reference.", False),
    ("customer", _TEXT, "Exactly this customer.", False),
    ("sku", _TEXT, "With a line of this sku.", False),
    ("state", {"type": "string", "enum": list(LEGAL_MOVES)}, "In this state.", False),
    LIMIT,
    CURSOR,
)
IMPORT: Final = (
    ("source", _NAME, "Who tells these rows.", True),
    ("sequence", _SEQUENCE, "The source's sequence of rows that bring none.", False),
    *WRITES,
)

REQUEST_ID: Final[Parameter] = (
    "X-Request-Id",
    {"type": "string", "pattern": "^[!-~]{1,128}$"},
    "Comes back in the answer, in problems and in log lines; made where it is missing.",
    False,
)
DEADLINE: Final[Parameter] = (
    "Request-Deadline-Ms",
    {"type": "integer", "minimum": 1, "maximum": DEADLINE_MS_MAX},
    "A request that has waited longer than this is not applied.",
    False,
)
KEY: Final[Parameter] = ("Idempotency-Key", _KEY, "The same key with the same body is the same request.", False)
KEY_NEEDED: Final[Parameter] = (*KEY[:3], True)
IF_MATCH: Final[Parameter] = (
    "If-Match",
    {"type": "string", "pattern": '^("[0-9]{1,16}"|[0-9]{1,16})$'},
    "The level's version that the caller saw.",
    False,
)

PATH: Final[dict[str, Parameter]] = {
    "id": ("id", {"type": "string"}, "The id of a reservation.", True),
    "sku": ("sku", _TEXT, "Percent-encoded.", True),
    "location": ("location", _NAME, "Percent-encoded.", True),
}
