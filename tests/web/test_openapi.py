"""The OpenAPI document: valid, and equal to what the gateway does."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from gateway.web.openapi import document, refusals
from gateway.web.problems import STATUS_OF_CODE
from gateway.web.route import Route
from gateway.web.routes import ROUTES
from tests.web.conftest import Gateway
from tests.web.test_auth import path_of

METHODS = ["GET", "PUT", "POST", "DELETE", "PATCH", "OPTIONS"]


@pytest.fixture(scope="module")
def told() -> Any:
    """The document as a client reads it."""
    return json.loads(json.dumps(document(ROUTES, "1.2.3")))


def test_document_is_valid_openapi_3_1(told: Any) -> None:
    """By an independent judge."""
    assert told["openapi"] == "3.1.0"
    assert list(OpenAPIV31SpecValidator(told).iter_errors()) == []


async def test_document_is_served(gateway: Gateway) -> None:
    """At its place, as JSON, with the version of the package."""
    reply = await gateway.ask("GET", "/openapi.json")

    assert reply.status == 200
    assert reply.headers["Content-Type"] == "application/json"
    assert set(reply.body["paths"]) == {route.path for route in ROUTES}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("path", sorted({route.path for route in ROUTES}))
async def test_document_and_router_agree_on_every_method_of_every_path(
    gateway: Gateway, told: Any, path: str, method: str
) -> None:
    """What is in the document is answered, what is not is 405. A literal path may also be one with a sku in its place."""
    place = path_of(path)
    documented = {
        word.upper()
        for template, operations in told["paths"].items()
        if re.fullmatch(re.sub(r"\\{[a-z]+\\}", "[^/]+", re.escape(template)), place)
        for word in operations
    }

    reply = await gateway.ask(method, place)

    assert (reply.status != 405) == (method in documented)
    assert reply.status != 404 or reply.body["code"] != "not_found"


def test_every_error_code_is_listed_somewhere(told: Any) -> None:
    """Each code stands at a call that can answer it, and in the schema of problems."""
    listed = {error.code for route in ROUTES for error in refusals(route)}

    assert listed | {"not_found"} == set(STATUS_OF_CODE)
    assert told["components"]["schemas"]["Problem"]["properties"]["code"]["enum"] == list(STATUS_OF_CODE)


def test_operation_ids_are_unique_words(told: Any) -> None:
    """Client generators make function names of them."""
    ids = [operation["operationId"] for path in told["paths"].values() for operation in path.values()]

    assert len(ids) == len(set(ids))
    assert all(name.isidentifier() for name in ids)


def test_request_schemas_are_closed_and_bounded(told: Any) -> None:
    """What the document says of bodies is what the gateway checks."""
    schemas = told["components"]["schemas"]

    assert schemas["ReserveBody"]["additionalProperties"] is False
    assert schemas["ReserveBody"]["properties"]["lines"]["maxItems"] == 1000
    assert schemas["LineBody"]["properties"]["quantity"]["maximum"] == 1_000_000_000


def test_parameters_of_a_path_are_declared(told: Any) -> None:
    """Each place in a path is a required parameter."""
    for path, operations in told["paths"].items():
        for operation in operations.values():
            names = {each["name"] for each in operation["parameters"] if each["in"] == "path"}
            assert names == {word[1:-1] for word in path.split("/") if word.startswith("{")}


def test_protected_calls_name_the_key_and_its_scope(told: Any) -> None:
    """Security stands at every call with a scope and at no other."""
    for route in ROUTES:
        operation = told["paths"][route.path][route.method.lower()]
        assert ("security" in operation) == bool(route.scope)
        assert ("401" in operation["responses"]) == bool(route.scope)


WITH_REQUIRED = [route for route in ROUTES if route.body and route.body.model_json_schema().get("required")]


@pytest.mark.parametrize("route", WITH_REQUIRED, ids=lambda route: route.operation)
async def test_document_example_of_a_body_can_be_sent_as_it_is(gateway: Gateway, told: Any, route: Route) -> None:
    """Whoever tries a call on the page sends its example: it is of the sample catalogue, and is answered as done."""
    gateway.books.put("LANTERN-WHITE", on_hand=50)
    assert route.body is not None
    (example,) = told["components"]["schemas"][route.body.__name__]["examples"]

    path = route.path.replace("{sku}", "LANTERN-WHITE").replace("{location}", "main")
    reply = await gateway.ask(route.method, path, json=example, headers={"Idempotency-Key": "example"})

    assert reply.status in (200, 201), reply.body
    assert [one for one in reply.body.get("results", []) if one["status"] >= 300] == []
    assert reply.body.get("not_found", []) == []
