"""Health, readiness, metrics and the administration of a running gateway."""

from __future__ import annotations

from gateway.metrics import CONTENT_TYPE
from gateway.web.bodies import EmptyBody, RepairBody
from gateway.web.exchange import Exchange
from gateway.web.reading import read_form
from gateway.web.rendering import to_json
from gateway.web.site import Site
from gateway.web.wire import Answer

NO_STORE = b"Cache-Control: no-store\r\n"


async def healthz(_site: Site, _exchange: Exchange) -> Answer:
    """200 while the process lives. It asks nothing of any store: a restart would not mend them."""
    return Answer(200, b'{"status":"ok"}', headers=NO_STORE)


async def readyz(site: Site, _exchange: Exchange) -> Answer:
    """200 while the gateway can do its work, 503 otherwise and from the moment it was told to stop."""
    readiness = await site.services.operations.readiness()
    status = "ready" if readiness.is_ready else "not_ready"
    if site.is_draining:
        status = "draining"
    body = to_json({"status": status, "checks": readiness.checks})
    if status == "ready":
        return Answer(200, body, headers=NO_STORE)
    return Answer(503, body, headers=NO_STORE + b"Retry-After: 1\r\n")


async def metrics_text(site: Site, _exchange: Exchange) -> Answer:
    """All metrics in Prometheus' text format."""
    return Answer(200, await site.services.operations.metrics(), media=CONTENT_TYPE, headers=NO_STORE)


async def policy(site: Site, exchange: Exchange) -> Answer:
    """The tiers, limits and thresholds in force, for every shop the same."""
    exchange.call({}, has_ack=False)
    if exchange.errors:
        raise exchange.refusal()
    return Answer(200, to_json(site.services.operations.policy()), headers=NO_STORE)


async def reload(site: Site, exchange: Exchange) -> Answer:
    """The configuration as it is now on disk is in force for new holds; or it is not valid and nothing has changed.

    There is one configuration for all shops, whichever is named.
    """
    parsed, body = await read_form(exchange, EmptyBody, site.limits, is_optional=True)
    exchange.call(parsed, has_ack=False)
    if body is None or exchange.errors:
        raise exchange.refusal()
    return Answer(200, to_json(site.services.operations.reload()), headers=NO_STORE)


async def conservation(site: Site, exchange: Exchange) -> Answer:
    """Redis, the durable levels, the open reservations and the event log have been compared.

    A `shop` is accepted, as by every call. The whole shard is checked all the same, with the levels of every shop: the log is
    one chain for all of them, and units can only be said to be conserved where nothing is left out.
    """
    exchange.call({}, has_ack=False)
    if exchange.errors:
        raise exchange.refusal()
    told = await site.services.operations.conservation()
    return Answer(200, to_json({"checked": told.checked, "violations": told.violations}), headers=NO_STORE)


async def shards(site: Site, exchange: Exchange) -> Answer:
    """Each shard's state, and why it halted, for every shop the same."""
    exchange.call({}, has_ack=False)
    if exchange.errors:
        raise exchange.refusal()
    return Answer(200, to_json({"shards": await site.services.operations.shards()}), headers=NO_STORE)


async def repair(site: Site, exchange: Exchange) -> Answer:
    """What a repair would do, or that the plan which was shown has been carried out. It concerns the shard, and so every shop."""
    parsed, body = await read_form(exchange, RepairBody, site.limits, is_optional=True)
    call = exchange.call(parsed, has_ack=False)
    operations = site.services.operations
    if body is not None and body.repair == "apply":
        if body.plan_id is None:
            exchange.wrong("plan_id", "is required to apply a plan: the id of the one that was shown")
        if body.reason is None:
            exchange.wrong("reason", "is required to apply a plan: it is told in the log")
        if not exchange.errors and body.plan_id is not None and body.reason is not None:
            done = await operations.repair(body.plan_id, body.adopt, body.reason, call.actor)
            return Answer(200, to_json({"applied": done.is_applied, **done.plan.described()}), headers=NO_STORE)
    if body is None or exchange.errors:
        raise exchange.refusal()
    plan = await operations.plan_repair(body.adopt)
    return Answer(200, to_json({"applied": False, **plan.described()}), headers=NO_STORE)


async def openapi(site: Site, _exchange: Exchange) -> Answer:
    """The OpenAPI document of this gateway."""
    return Answer(200, site.document)
