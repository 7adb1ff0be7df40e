"""Errors over HTTP: every code has its status, its outcome and its page, and nothing inner shows."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
import structlog

from gateway.domain import errors as e
from gateway.domain.answer import Shortage
from gateway.domain.errors import FieldError, GatewayError, all_errors
from gateway.domain.identifier import Position, ReservationId
from gateway.web.problems import STATUS_OF_CODE, Problems, retry_after_seconds
from gateway.web.shapes import Problem
from tests.web.conftest import Gateway

#: Section 1 of the contract, and `malformed_request`, which is ours.
CONTRACT = {
    400: ["malformed_request", "malformed_json", "idempotency_key_required"],
    401: ["unauthenticated"],
    403: ["forbidden"],
    404: ["reservation_not_found", "sku_not_found", "not_found"],
    405: ["method_not_allowed"],
    408: ["request_timeout"],
    409: [
        "out_of_stock",
        "reservation_confirmed",
        "reservation_expired",
        "reservation_released",
        "reservation_fulfilled",
        "reservation_not_confirmed",
        "extension_limit",
        "stale_sequence",
        "insufficient_on_hand",
        "version_conflict",
    ],
    410: ["reservation_lost"],
    413: ["body_too_large"],
    415: ["unsupported_media_type"],
    422: ["invalid_request", "unknown_sku", "idempotency_key_reused"],
    429: ["rate_limited"],
    431: ["headers_too_large"],
    500: ["internal_error"],
    503: [
        "overloaded",
        "hot_store_unavailable",
        "shard_recovering",
        "shard_halted",
        "durability_unknown",
        "durable_store_unavailable",
    ],
}


def example(error: type[GatewayError]) -> GatewayError:
    """An error of this class with what it needs."""
    return error(allow=["GET"]) if error is e.MethodNotAllowed else error()


def test_table_of_statuses_is_that_of_the_contract() -> None:
    """Every code has the status that the contract gives it."""
    assert {code: status for status, codes in CONTRACT.items() for code in codes} == STATUS_OF_CODE


def test_table_of_statuses_covers_the_error_tree_exactly() -> None:
    """No error without a status, no status without an error."""
    assert {error.code for error in all_errors()} == set(STATUS_OF_CODE)


@pytest.mark.parametrize("error", all_errors(), ids=lambda error: error.__name__)
async def test_every_error_of_a_service_is_answered_as_its_problem(gateway: Gateway, error: type[GatewayError]) -> None:
    """Status, media type and fields of RFC 9457, with code, outcome and request id."""
    gateway.books.failures.append(example(error))

    reply = await gateway.ask("GET", "/v1/stock/a", headers={"X-Request-Id": "r-1"})

    assert reply.status == STATUS_OF_CODE[error.code]
    assert reply.headers["Content-Type"] == "application/problem+json"
    told = Problem.model_validate(reply.body)
    assert told.type == f"/docs/errors#{error.code}"
    assert (told.title, told.status, told.code) == (error.title(), reply.status, error.code)
    assert (told.outcome, told.request_id) == (error.outcome, "r-1")
    assert ("Retry-After" in reply.headers) == (reply.status in (429, 503))


async def test_extras_of_an_error_stand_in_the_problem(gateway: Gateway) -> None:
    """Plain values as they are, domain values in their shapes of the contract."""
    gateway.books.failures.append(
        e.OutOfStock(
            "Two are left",
            shortages=[Shortage("a", None, 3, 2, "held", 1_795_255_200_001)],
            errors=[FieldError("a", "b")],
            position=Position(0, 1, 2),
            id=ReservationId(0, 1, 2, "AAAAAAAAAAAAAAAA"),
            skus={"b", "a"},
            current_version=3,
        )
    )

    body = (await gateway.ask("GET", "/v1/stock/a")).body

    assert body["detail"] == "Two are left"
    assert body["shortages"][0]["next_release_at"] == "2026-11-21T10:00:00.001Z"
    assert body["errors"] == [{"field": "a", "message": "b"}]
    assert (body["position"], body["id"]) == ("0-1-2", "rsv_0-1-2-AAAAAAAAAAAAAAAA")
    assert (body["skus"], body["current_version"]) == (["a", "b"], 3)


class Bug(RuntimeError):
    """A fault of ours with an inner life that nobody should see."""


async def test_fault_of_ours_answers_500_without_its_inner_life(gateway: Gateway) -> None:
    """Outcome unknown, no trace, no message; the log has both under the request's id."""
    gateway.books.failures.append(Bug("redis://:hunter2@10.0.0.7:6379 /srv/gateway"))

    with structlog.testing.capture_logs() as lines:
        reply = await gateway.post("/v1/reservations", {"lines": [{"sku": "a", "quantity": 1}]}, X_Request_Id="r-7")

    assert (reply.status, reply.body["code"], reply.body["outcome"]) == (500, "internal_error", "unknown")
    for secret in (b"hunter2", b"10.0.0.7", b"Bug", b"Traceback", b".py", b"/srv"):
        assert secret not in reply.raw
    [line] = lines
    assert line["event"] == "handler_failed"
    assert line["exc_info"] is True


async def test_fault_of_ours_is_logged_under_the_request_id(gateway: Gateway) -> None:
    """The id of the request is bound before any handler runs."""
    seen: list[Any] = []

    class Watched(Exception):
        def __init__(self) -> None:
            super().__init__()

    def remember(_logger: Any, _method: str, event: Any) -> Any:
        seen.append(dict(event))
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(processors=[structlog.contextvars.merge_contextvars, remember], cache_logger_on_first_use=False)
    try:
        gateway.books.failures.append(Watched())
        await gateway.ask("GET", "/v1/stock/a", headers={"X-Request-Id": "r-9"})
    finally:
        structlog.configure(**before)

    assert [event["request_id"] for event in seen] == ["r-9"]


async def test_cancellation_below_is_answered_like_a_fault(gateway: Gateway) -> None:
    """A future that somebody else cancelled must not cost the client its answer."""
    cancelled = asyncio.CancelledError()
    gateway.books.failures.append(cancelled)

    reply = await gateway.ask("GET", "/v1/stock/a")

    assert (reply.status, reply.body["outcome"]) == (500, "unknown")


async def test_connection_serves_on_after_a_fault_of_ours(gateway: Gateway) -> None:
    """One bad request is one bad request."""
    gateway.books.failures.append(Bug())

    first, second = await gateway.ask("GET", "/v1/stock/a"), await gateway.ask("GET", "/v1/stock/a")

    assert (first.status, second.status) == (500, 200)
    assert gateway.site.requests_in_flight == 0


def test_type_is_absolute_where_the_public_url_is_known() -> None:
    """`type` points at the page of errors of this gateway."""
    body = Problems("https://stock.example/").body(e.OutOfStock(), "r")

    assert body["type"] == "https://stock.example/docs/errors#out_of_stock"


def test_retry_after_is_spread_and_never_before_the_errors_own() -> None:
    """Clients do not come back all at once, and not too early."""
    error = e.Overloaded()
    error.retry_after_seconds = 4
    random.seed(7)

    seconds = {retry_after_seconds(error) for _ in range(200)}

    assert min(seconds) == 4
    assert max(seconds) <= 8
    assert len(seconds) > 2


async def test_more_requests_at_once_than_allowed_answer_503(gateway: Gateway) -> None:
    """One more is `overloaded`, and health checks still get through."""
    gateway.site.requests_in_flight = gateway.site.limits.requests_max

    work, health = await gateway.ask("GET", "/v1/stock/a"), await gateway.ask("GET", "/healthz")

    assert (work.status, work.body["code"], work.body["outcome"]) == (503, "overloaded", "not_applied")
    assert health.status == 200
