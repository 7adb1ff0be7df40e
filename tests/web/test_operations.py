"""Health, readiness, metrics and administration."""

from __future__ import annotations

import pytest

from gateway.domain.errors import FieldError
from gateway.web.auth import OPS, Principal
from gateway.web.shapes import Conservation, Health, Readiness, Repair, Shards
from tests.web.conftest import Gateway


async def test_healthz_answers_200_and_asks_nobody(gateway: Gateway) -> None:
    """It lives while the process lives, whatever its stores do."""
    gateway.books.is_ready = False

    reply = await gateway.ask("GET", "/healthz?probe=1")

    assert reply.status == 200
    Health.model_validate(reply.body)


async def test_readyz_answers_200_with_checks_and_warnings(gateway: Gateway) -> None:
    """What is unwise but safe stays a warning."""
    reply = await gateway.ask("GET", "/readyz")

    assert (reply.status, reply.body["status"]) == (200, "ready")
    assert reply.body["checks"]["redis"] == {"ok": True, "warnings": ["no replica"]}
    Readiness.model_validate(reply.body)


async def test_readyz_answers_503_when_a_check_fails(gateway: Gateway) -> None:
    """503 with what is wrong."""
    gateway.books.is_ready = False

    reply = await gateway.ask("GET", "/readyz")

    assert (reply.status, reply.body["status"], reply.body["checks"]["redis"]["ok"]) == (503, "not_ready", False)


async def test_readyz_answers_503_while_draining_and_work_goes_on(gateway: Gateway) -> None:
    """Load balancers send no more; what still comes is answered, and its connection closed."""
    gateway.runner.drain()

    ready, work = await gateway.ask("GET", "/readyz"), await gateway.ask("GET", "/v1/stock/a")

    assert (ready.status, ready.body["status"]) == (503, "draining")
    assert (work.status, work.headers["Connection"]) == (200, "close")


async def test_metrics_count_requests_by_route_and_refusals_by_code(gateway: Gateway) -> None:
    """Prometheus text; routes are templates, no name of a client is a label."""
    await gateway.ask("GET", "/v1/stock/some-hostile-name")
    await gateway.ask("GET", "/some-hostile-path")

    reply = await gateway.ask("GET", "/metrics")

    text = reply.raw.decode()
    assert reply.status == 200
    assert reply.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert 'gateway_requests_total{method="GET",route="/v1/stock/{sku}",status="4xx"}' in text
    assert 'gateway_requests_total{method="any",route="unmatched",status="4xx"}' in text
    assert 'gateway_refusals_total{code="sku_not_found"}' in text
    assert "hostile" not in text


async def test_policy_answers_what_is_in_force(gateway: Gateway) -> None:
    """The operations' own words, as JSON."""
    reply = await gateway.ask("GET", "/v1/admin/policy")

    assert (reply.status, reply.body) == (200, gateway.operations.policy())


@pytest.mark.parametrize("body", [None, {}])
async def test_reload_answers_the_new_policy(gateway: Gateway, body: object) -> None:
    """With an empty body or none."""
    reply = await gateway.post("/v1/admin/reload", body)

    assert (reply.status, reply.body["version"]) == (200, 2)


async def test_reload_of_a_wrong_configuration_answers_422_with_its_errors(gateway: Gateway) -> None:
    """Every wrong key is named; the old policy stays."""
    gateway.operations.invalid = [
        FieldError("tiers.cart.ttl_seconds", "must be at least 1"),
        FieldError("hot.x", "unknown"),
    ]

    reply = await gateway.post("/v1/admin/reload")

    assert (reply.status, reply.fields) == (422, ["hot.x", "tiers.cart.ttl_seconds"])


async def test_conservation_answers_what_was_checked(gateway: Gateway) -> None:
    """Counts and violations."""
    reply = await gateway.ask("GET", "/v1/admin/conservation")

    assert reply.status == 200
    assert reply.body["checked"] == {"levels": 2}
    assert reply.body["violations"][0]["law"] == "held"
    Conservation.model_validate(reply.body)


ADMINISTRATION = [("GET", "/v1/admin/policy"), ("POST", "/v1/admin/reload"), ("GET", "/v1/admin/conservation")]


@pytest.mark.parametrize(("method", "path"), ADMINISTRATION)
async def test_administration_refuses_unknown_parameters(gateway: Gateway, method: str, path: str) -> None:
    """Unknown query parameters are named everywhere under /v1."""
    reply = await gateway.ask(method, f"{path}?colour=red")

    assert (reply.status, reply.fields) == (422, ["colour"])


@pytest.mark.parametrize(("method", "path"), ADMINISTRATION)
async def test_administration_takes_a_shop_as_every_call(gateway: Gateway, method: str, path: str) -> None:
    """A client that names its shop everywhere may do so here, too; a name that is none is refused."""
    plain, named = await gateway.ask(method, path), await gateway.ask(method, f"{path}?shop=north")
    wrong, twice = await gateway.ask(method, f"{path}?shop=a%20b"), await gateway.ask(method, f"{path}?shop=a&shop=a")

    assert (named.status, named.body) == (200, plain.body)
    assert (wrong.status, wrong.fields) == (422, ["shop"])
    assert (twice.status, twice.fields) == (422, ["shop"])


@pytest.mark.parametrize(("method", "path"), ADMINISTRATION)
async def test_administration_is_forbidden_for_the_shop_of_another_key(
    gateway: Gateway, method: str, path: str
) -> None:
    """403, as with every call."""
    gateway.site.authenticate = lambda _header: Principal("key:north", "north", frozenset({OPS}))

    own, other = await gateway.ask(method, f"{path}?shop=north"), await gateway.ask(method, f"{path}?shop=main")

    assert own.status == 200
    assert (other.status, other.body["code"]) == (403, "forbidden")


async def test_reload_takes_a_shop_in_its_body(gateway: Gateway) -> None:
    """In the body or in the query, but not two of them."""
    named = await gateway.post("/v1/admin/reload", {"shop": "north"})
    wrong = await gateway.post("/v1/admin/reload", {"shop": 7})
    two = await gateway.post("/v1/admin/reload?shop=main", {"shop": "north"})

    assert named.status == 200
    assert (wrong.status, wrong.fields) == (422, ["shop"])
    assert (two.status, two.fields) == (422, ["shop"])


async def test_document_says_what_a_shop_means_to_the_conservation_check(gateway: Gateway) -> None:
    """It is accepted, and the whole shard is checked all the same."""
    check = (await gateway.ask("GET", "/openapi.json")).body["paths"]["/v1/admin/conservation"]["get"]

    assert "shop" in [parameter["name"] for parameter in check["parameters"]]
    assert "whole shard" in check["description"]


async def test_reload_refuses_unknown_fields(gateway: Gateway) -> None:
    """A typo does not pass silently."""
    reply = await gateway.post("/v1/admin/reload", {"dry_run": True})

    assert (reply.status, reply.fields) == (422, ["dry_run"])


async def test_shards_tell_state_and_reason(gateway: Gateway) -> None:
    """An operator sees which shard waits for a decision, and why."""
    reply = await gateway.ask("GET", "/v1/admin/shards")

    assert (reply.status, reply.body["shards"][0]["state"]) == (200, "halted")
    assert reply.body["shards"][0]["halted_reason"] == "for a test"
    Shards.model_validate(reply.body)


async def test_repair_plans_by_default_and_with_a_choice(gateway: Gateway) -> None:
    """Without a body nothing is done; the plan has its steps in order and what only a human can do."""
    reply = await gateway.ask("POST", "/v1/admin/repair")
    chosen = await gateway.ask("POST", "/v1/admin/repair", json={"repair": "plan", "adopt": "database"})

    assert (reply.status, reply.body["applied"], reply.body["adopt"]) == (200, False, None)
    assert reply.body["steps"][0]["change"] == "held 3 → held 2"
    assert reply.body["for_human"][0]["where"] == "seq 4"
    assert chosen.body["adopt"] == "database"
    assert chosen.body["plan_id"] != reply.body["plan_id"]
    Repair.model_validate(reply.body)


async def test_repair_applies_the_plan_that_was_shown(gateway: Gateway) -> None:
    """The plan's id and the reason go down with who asked; another plan is not applied."""
    shown = (await gateway.ask("POST", "/v1/admin/repair")).body["plan_id"]

    done = await gateway.ask(
        "POST", "/v1/admin/repair", json={"repair": "apply", "plan_id": shown, "reason": "ticket 7"}
    )
    other = await gateway.ask("POST", "/v1/admin/repair", json={"repair": "apply", "plan_id": "0" * 16, "reason": "x"})

    assert (done.status, done.body["applied"]) == (200, True)
    assert (other.status, other.body["applied"]) == (200, False)
    assert gateway.operations.repairs[0][:3] == (shown, None, "ticket 7")


async def test_repair_without_plan_or_reason_is_refused(gateway: Gateway) -> None:
    """What was not shown is not done, and what is done says why."""
    reply = await gateway.ask("POST", "/v1/admin/repair", json={"repair": "apply"})

    assert (reply.status, reply.body["code"]) == (422, "invalid_request")
    assert [error["field"] for error in reply.body["errors"]] == ["plan_id", "reason"]
    assert gateway.operations.repairs == []


@pytest.mark.parametrize("plan_id", ["", "x", "0" * 17, "G" * 16])
async def test_repair_of_what_is_no_plan_is_refused(gateway: Gateway, plan_id: str) -> None:
    """An id of another form than a plan's is the caller's mistake, told as one."""
    reply = await gateway.ask(
        "POST", "/v1/admin/repair", json={"repair": "apply", "plan_id": plan_id, "reason": "ticket 7"}
    )

    assert (reply.status, reply.body["code"], reply.body["outcome"]) == (422, "invalid_request", "not_applied")
    assert reply.body["errors"] == [{"field": "plan_id", "message": "must be the id of a plan that was shown"}]
    assert gateway.operations.repairs == []
