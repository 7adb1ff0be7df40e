"""Errors as RFC 9457 problems. The one place that knows which HTTP status goes with which error."""

from __future__ import annotations

import random
from typing import Any, Final

from gateway.domain.errors import GatewayError
from gateway.metrics import REFUSALS
from gateway.web.rendering import to_json
from gateway.web.wire import PROBLEM, Answer

STATUS_OF_CODE: Final[dict[str, int]] = {
    "malformed_request": 400,
    "malformed_json": 400,
    "idempotency_key_required": 400,
    "unauthenticated": 401,
    "forbidden": 403,
    "reservation_not_found": 404,
    "sku_not_found": 404,
    "not_found": 404,
    "method_not_allowed": 405,
    "request_timeout": 408,
    "out_of_stock": 409,
    "stale_sequence": 409,
    "insufficient_on_hand": 409,
    "version_conflict": 409,
    "extension_limit": 409,
    "reservation_confirmed": 409,
    "reservation_expired": 409,
    "reservation_released": 409,
    "reservation_fulfilled": 409,
    "reservation_not_confirmed": 409,
    "reservation_lost": 410,
    "body_too_large": 413,
    "unsupported_media_type": 415,
    "invalid_request": 422,
    "unknown_sku": 422,
    "idempotency_key_reused": 422,
    "rate_limited": 429,
    "headers_too_large": 431,
    "internal_error": 500,
    "overloaded": 503,
    "hot_store_unavailable": 503,
    "shard_recovering": 503,
    "shard_halted": 503,
    "durability_unknown": 503,
    "durable_store_unavailable": 503,
}

#: Statuses that say "later", and so how much later.
_LATER: Final = frozenset({429, 503})
#: The page that explains every code, `#code` on it.
ERRORS_PATH: Final = "/docs/errors"


class Problems:
    """Makes problems whose `type` points at this gateway's own page of errors."""

    def __init__(self, public_url: str = "") -> None:
        """`public_url` is where clients reach the gateway; without one `type` is relative to the request."""
        self._page = f"{public_url.rstrip('/')}{ERRORS_PATH}#"

    def body(self, error: GatewayError, request_id: str) -> dict[str, Any]:
        """The problem's fields: those of the RFC, ours, and the error's own."""
        REFUSALS[error.code].inc()
        return {
            "type": self._page + error.code,
            "title": error.title(),
            "status": STATUS_OF_CODE[error.code],
            "detail": error.detail,
            "code": error.code,
            "outcome": error.outcome,
            "request_id": request_id,
            **error.extras,
        }

    def result(self, error: GatewayError, request_id: str) -> dict[str, Any]:
        """The problem's fields as a result of a batch, which has no header: `retry_after_seconds` is what `Retry-After` would say."""
        body = self.body(error, request_id)
        if body["status"] in _LATER:
            body["retry_after_seconds"] = retry_after_seconds(error)
        return body

    def answer(self, error: GatewayError, request_id: str) -> Answer:
        """The problem as an answer."""
        body = self.body(error, request_id)
        sent: int = body["status"]
        headers = b""
        if sent in _LATER:
            headers = b"Retry-After: %d\r\n" % retry_after_seconds(error)
        elif sent == 401:
            headers = b'WWW-Authenticate: Bearer realm="gateway"\r\n'
        elif sent == 405:
            headers = f"Allow: {', '.join(error.extras['allow'])}\r\n".encode()
        answer = Answer(sent, to_json(body), media=PROBLEM, headers=headers)
        answer.request_id = request_id
        return answer


def retry_after_seconds(error: GatewayError) -> int:
    """When to come back: not before the error says, and not all at the same moment."""
    least: int = getattr(error, "retry_after_seconds", 1)
    # Spreading clients out is all that this number is for.
    return least + random.randint(0, max(1, least))  # noqa: S311
