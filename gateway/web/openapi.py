"""The OpenAPI 3.1 document, made from the route table and the models that the handlers themselves use."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from gateway.domain import errors as e
from gateway.domain.errors import GatewayError
from gateway.web.parameters import PATH, REQUEST_ID
from gateway.web.problems import STATUS_OF_CODE
from gateway.web.route import Parameter, Route
from gateway.web.shapes import Problem
from gateway.web.wire import JSON, PROBLEM

_REF: Final = "#/components/schemas/{model}"
_Errors = tuple[type[GatewayError], ...]
#: What any call may answer, by what it has.
_ANY: Final[_Errors] = (e.MalformedRequest, e.MethodNotAllowed, e.HeadersTooLarge, e.RequestTimeout, e.GatewayError)
_WITH_SCOPE: Final[_Errors] = (e.Unauthenticated, e.Forbidden, e.RateLimited, e.Overloaded)
_WITH_FIELDS: Final[_Errors] = (e.InvalidRequest,)
_WITH_BODY: Final[_Errors] = (e.MalformedJson, e.BodyTooLarge, e.UnsupportedMediaType)


def document(routes: Iterable[Route], version: str) -> dict[str, Any]:
    """The document, as plain values. Every route of the table is in it, and nothing else."""
    table = tuple(routes)
    schemas = _Schemas(table)
    paths: dict[str, dict[str, Any]] = {}
    for route in table:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Reservation Gateway",
            "version": version,
            "summary": "Units of stock, promised once, with a deadline.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas.definitions,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


class _Schemas:
    """The schemas of all models in the table, and how to refer to each."""

    def __init__(self, table: tuple[Route, ...]) -> None:
        read: dict[type[BaseModel], None] = {}
        told: dict[type[BaseModel], None] = {Problem: None}
        for route in table:
            read |= dict.fromkeys([*([route.body] if route.body else []), *route.rows.values()])
            told |= dict.fromkeys(content for content in route.answers.values() if not isinstance(content, str))
        # A field with a default is optional in a request and always there in an answer.
        references, schema = models_json_schema(
            [(model, "validation") for model in read] + [(model, "validation") for model in told],
            ref_template=_REF,
        )
        self.definitions: dict[str, Any] = schema["$defs"]
        self._references = {model: reference for (model, _), reference in references.items()}

    def of(self, model: type[BaseModel]) -> dict[str, Any]:
        """A reference to the model's schema."""
        return dict(self._references[model])


def _operation(route: Route, schemas: _Schemas) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.operation,
        "summary": route.summary,
        "description": (route.handler.__doc__ or "").strip(),
        "tags": [route.noun],
        "responses": {str(status): _answer(content, schemas) for status, content in route.answers.items()},
    }
    operation["responses"] |= _problems(route, schemas)
    parameters = [_parameter("path", PATH.get(name, (name, {"type": "string"}, "", True))) for name in route.path_names]
    parameters += [_parameter("query", each) for each in route.query or ()]
    parameters += [_parameter("header", each) for each in (*route.headers, REQUEST_ID)]
    operation["parameters"] = parameters
    if route.scope:
        operation["security"] = [{"key": []}]
        operation["description"] += f"\n\nNeeds the scope `{route.scope}`."
    if route.body:
        operation["requestBody"] = {
            "required": not route.is_body_optional,
            "content": {JSON: {"schema": schemas.of(route.body)}},
        }
    elif route.rows:
        rows = {
            media: {"schema": {"type": "string", "description": "One row per line."}, "x-row": schemas.of(model)}
            for media, model in route.rows.items()
        }
        operation["requestBody"] = {"required": True, "content": rows}
    return operation


def _parameter(place: str, parameter: Parameter) -> dict[str, Any]:
    name, schema, description, is_required = parameter
    return {
        "name": name,
        "in": place,
        "required": is_required,
        "description": description,
        "schema": dict(schema),
    }


def _answer(content: type[BaseModel] | str, schemas: _Schemas) -> dict[str, Any]:
    if isinstance(content, str):
        return {"description": "As described.", "content": {content.partition(";")[0]: {}}}
    description = (content.__doc__ or "").strip().splitlines()[0]
    return {"description": description, "content": {JSON: {"schema": schemas.of(content)}}}


def refusals(route: Route) -> list[type[GatewayError]]:
    """Every error that the route may answer: its own, and those of any route like it."""
    found: list[type[GatewayError]] = [*_ANY, *route.errors]
    if route.scope:
        found += _WITH_SCOPE
    if route.query is not None:
        found += _WITH_FIELDS
    if route.body:
        found += _WITH_BODY
    return list(dict.fromkeys(found))


def _problems(route: Route, schemas: _Schemas) -> dict[str, Any]:
    by_status: dict[int, list[type[GatewayError]]] = {}
    for error in refusals(route):
        by_status.setdefault(STATUS_OF_CODE[error.code], []).append(error)
    return {
        str(status): {
            "description": "\n".join(f"- `{error.code}`: {error.title()}" for error in errors),
            "content": {PROBLEM: {"schema": schemas.of(Problem)}},
        }
        for status, errors in sorted(by_status.items())
        # The 503 of /readyz is an answer of its own.
        if status not in route.answers
    }
