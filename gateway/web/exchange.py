"""One request on its way through: what its line, headers and query say, and every fault found in them so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import parse_qsl

from aiohttp import web
from multidict import istr

from gateway.domain.command import Ack, Call
from gateway.domain.errors import FieldError, Forbidden, IdempotencyKeyRequired, InvalidRequest
from gateway.web.auth import Principal
from gateway.web.fields import (
    NAME_PATTERN,
    PATTERN_WORDS,
    SEQUENCE_MAX,
    TEXT_PATTERN,
    integer,
    is_idempotency_key,
    is_name,
    is_percent_broken,
    is_text,
    shown,
    unquoted,
)

if TYPE_CHECKING:
    from gateway.web.route import Route

DEFAULT_SHOP: Final = "main"
DEADLINE_MS_MAX: Final = 60_000
QUERY_FIELDS_MAX: Final = 32
QUERIES_KEPT: Final = 256
QUERY_CHARS_KEPT: Final = 64

# Header names as multidict keeps them: a plain string would be folded at each lookup.
IDEMPOTENCY_KEY: Final = istr("Idempotency-Key")
IF_MATCH: Final = istr("If-Match")
REQUEST_DEADLINE: Final = istr("Request-Deadline-Ms")


class Exchange:
    """A request that has found its route and its principal. `errors` gathers, so that all faults are told at once."""

    __slots__ = ("errors", "path", "principal", "query", "request", "request_id", "route", "started_s")

    def __init__(
        self,
        request: web.BaseRequest,
        request_id: str,
        started_s: float,
        route: Route,
        path: tuple[str, ...],
        principal: Principal,
    ) -> None:
        self.request = request
        self.request_id = request_id
        self.started_s = started_s
        self.route = route
        self.path = path
        self.principal = principal
        self.errors: list[FieldError] = []
        self.query: Mapping[str, str] = {}

    def wrong(self, field: str, message: str) -> None:
        """One more fault; the request will be refused."""
        self.errors.append(FieldError(field, message))

    def refusal(self) -> InvalidRequest:
        """The refusal that names every fault found."""
        return InvalidRequest(errors=self.errors)

    def read_query(self, text: str) -> None:
        """`query` holds the parameters that the route knows; others, repeated and broken ones are faults."""
        parse = _parsed_before if len(text) <= QUERY_CHARS_KEPT else _parsed
        self.query, faults = parse(text, self.route.query_names)
        for field, message in faults:
            self.wrong(field, message)

    def text_in_path(self, index: int, field: str) -> str:
        """The sku that stands in the path, decoded."""
        text = unquoted(self.path[index])
        if text is None:
            self.wrong(field, "must be percent-encoded UTF-8 in the path")
        elif not is_text(text):
            self.wrong(field, PATTERN_WORDS[TEXT_PATTERN])
        else:
            return text
        return ""

    def name_in_path(self, index: int, field: str) -> str:
        """The location that stands in the path, decoded."""
        text = unquoted(self.path[index])
        if text is None or not is_name(text):
            self.wrong(field, PATTERN_WORDS[NAME_PATTERN])
            return ""
        return text

    def id_in_path(self) -> str:
        """The reservation id that stands in the path, decoded. Whether it is one of ours, the service knows."""
        text = unquoted(self.path[0])
        if text is None:
            self.wrong("id", "must be percent-encoded UTF-8 in the path")
            return ""
        return text

    def number_in_query(self, name: str, default: int, high: int) -> int:
        """The number 1..high of a query parameter."""
        text = self.query.get(name)
        if text is None:
            return default
        number = integer(text, 1, high)
        if number is None:
            self.wrong(name, f"must be an integer from 1 to {high}")
            return default
        return number

    def idempotency_key(self, *, is_required: bool = False) -> str | None:
        """The key of the header, or None without one.

        Raises:
            IdempotencyKeyRequired: there is none and the call needs one.
        """
        keys = self.request.headers.getall(IDEMPOTENCY_KEY, ())
        if not keys:
            if is_required:
                raise IdempotencyKeyRequired
            return None
        if len(keys) > 1 or not is_idempotency_key(keys[0]):
            self.wrong("Idempotency-Key", "must be one text of 1 to 255 visible ASCII characters")
        return keys[0]

    def version_seen(self) -> int | None:
        """The version of `If-Match`, bare or in quotes as an entity tag is written; None without one."""
        text = self.request.headers.get(IF_MATCH)
        if text is None:
            return None
        if len(text) > 1 and text[0] == text[-1] == '"':
            text = text[1:-1]
        version = integer(text, 0, SEQUENCE_MAX)
        if version is None:
            self.wrong("If-Match", "must be a version of the level, an integer")
        return version

    def call(self, parsed: Mapping[str, Any], *, has_ack: bool = True) -> Call:
        """The circumstances for the service: shop (of the body, the query or the key), actor, ack and deadline.

        Raises:
            Forbidden: the principal is bound to another shop.
        """
        deadline_ms = 0
        text = self.request.headers.get(REQUEST_DEADLINE)
        if text is not None:
            deadline_ms = integer(text, 1, DEADLINE_MS_MAX) or 0
            if not deadline_ms:
                self.wrong("Request-Deadline-Ms", f"must be an integer from 1 to {DEADLINE_MS_MAX}")
        ack: str | None = None
        if has_ack and self.query:
            ack = self.query.get("ack")
            if ack is not None and ack not in ("memory", "durable"):
                self.wrong("ack", "must be 'memory' or 'durable'")
        shop = self._shop(parsed.get("shop"))
        return Call(shop, self.principal.actor, cast("Ack | None", ack), deadline_ms, self.started_s)

    def _shop(self, in_body: object) -> str:
        in_query = self.query.get("shop") if self.query else None
        if in_query is not None:
            if not is_name(in_query):
                self.wrong("shop", PATTERN_WORDS[NAME_PATTERN])
            elif isinstance(in_body, str) and in_body != in_query:
                self.wrong("shop", "is another one in the query than in the body")
        asked = in_body if isinstance(in_body, str) else in_query
        own = self.principal.shop
        if own is not None and asked is not None and asked != own:
            raise Forbidden("The API key is for another shop")
        return asked or own or DEFAULT_SHOP


def _parsed(text: str, known: frozenset[str]) -> tuple[Mapping[str, str], Sequence[tuple[str, str]]]:
    """The known parameters of a query, and what is wrong with it."""
    found: dict[str, str] = {}
    faults: list[tuple[str, str]] = []
    try:
        if is_percent_broken(text):
            raise ValueError("a percent sign that encodes nothing")
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=QUERY_FIELDS_MAX)
    except ValueError:
        # Too many and bytes that are no UTF-8 are ValueErrors, too.
        return {}, [("query", f"must be at most {QUERY_FIELDS_MAX} parameters, percent-encoded in UTF-8")]
    for name, value in pairs:
        if name not in known:
            faults.append((shown(name), "is not a known query parameter"))
        elif name in found:
            faults.append((name, "is given twice in the query"))
        else:
            found[name] = value
    return MappingProxyType(found), faults


#: Most requests repeat a few short queries (`ack=memory`), and to take one apart costs a tenth of a reserve.
_parsed_before: Final = lru_cache(QUERIES_KEPT)(_parsed)
