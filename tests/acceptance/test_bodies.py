"""Bodies: what is not one JSON text is 400, what is no valid request is 422, and neither changes anything."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.acceptance.client import Client

# What the edge refuses does not depend on the stores behind it.
pytestmark = pytest.mark.parametrize("gateway", ["embedded"], indirect=True, scope="session")

RESERVE = "/v1/reservations"
LINE = b'{"lines":[{"sku":"A","quantity":%s}]}'
DEEP = 100_000

NOT_JSON = {
    "cut": b'{"lines":',
    "empty": b"",
    "blank": b" \n\t ",
    "two texts": b'{"lines":[{"sku":"A","quantity":1}]} {}',
    "trailing": b'{"lines":[{"sku":"A","quantity":1}]}x',
    "trailing comma": b'{"lines":[{"sku":"A","quantity":1},]}',
    "single quotes": b"{'lines':[]}",
    "comment": b'{"lines":[{"sku":"A","quantity":1}]}//',
    "bare word": b"lines",
    "nan": LINE % b"NaN",
    "infinity": LINE % b"Infinity",
    "minus infinity": LINE % b"-Infinity",
    "leading zero": LINE % b"01",
    "plus": LINE % b"+1",
    "hex": LINE % b"0x1",
    "point": LINE % b"1.",
    "True": LINE % b"True",
    "raw control character": b'{"lines":[{"sku":"A\n","quantity":1}]}',
    "nul": b'{"lines":[{"sku":"A","quantity":1}]}\x00',
    "not utf-8": b'{"lines":[{"sku":"\xff","quantity":1}]}',
    "utf-8 surrogate": b'{"lines":[{"sku":"\xed\xa0\x80","quantity":1}]}',
    "overlong utf-8": b'{"lines":[{"sku":"\xc0\xaf","quantity":1}]}',
    "latin-1": '{"lines":[{"sku":"é","quantity":1}]}'.encode("latin-1"),
    "utf-16": '{"lines":[{"sku":"A","quantity":1}]}'.encode("utf-16"),
    "bad escape": b'{"lines":[{"sku":"\\x41","quantity":1}]}',
    "too deep arrays": b"[" * DEEP + b"]" * DEEP,
    "too deep objects": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "too deep and cut": b"[" * DEEP,
    "unknown field with nan": b'{"x":NaN}',
}
NOT_VALID = {
    "null": b"null",
    "array": b'[{"sku":"A","quantity":1}]',
    "string": b'"lines"',
    "number": b"1",
    "true": b"true",
    "empty object": b"{}",
    "unknown field": b'{"lines":[{"sku":"A","quantity":1}],"line":1}',
    "unknown field of a line": b'{"lines":[{"sku":"A","quantity":1,"qty":1}]}',
    "empty name": b'{"lines":[{"sku":"A","quantity":1}],"":1}',
    "name in capitals": b'{"Lines":[{"sku":"A","quantity":1}]}',
    "duplicate key": b'{"lines":[{"sku":"A","quantity":1}],"lines":[{"sku":"A","quantity":1}]}',
    "duplicate key, equal values": b'{"lines":[{"sku":"A","quantity":1}],"tier":"cart","tier":"cart"}',
    "duplicate key of a line": b'{"lines":[{"sku":"A","quantity":1,"quantity":2}]}',
    "duplicate key by escape": b'{"lines":[{"sku":"A","quantity":1,"quantit\\u0079":2}]}',
    "lines null": b'{"lines":null}',
    "lines object": b'{"lines":{"sku":"A","quantity":1}}',
    "lines string": b'{"lines":"A"}',
    "no lines": b'{"lines":[]}',
    "line null": b'{"lines":[null]}',
    "line array": b'{"lines":[["A",1]]}',
    "line without sku": b'{"lines":[{"quantity":1}]}',
    "line without quantity": b'{"lines":[{"sku":"A"}]}',
    "sku number": b'{"lines":[{"sku":1,"quantity":1}]}',
    "sku null": b'{"lines":[{"sku":null,"quantity":1}]}',
    "float": LINE % b"1.0",
    "fraction": LINE % b"1.5",
    "exponent": LINE % b"1e0",
    "capital exponent": LINE % b"1E2",
    "small exponent": LINE % b"1e-400",
    "boolean": LINE % b"true",
    "text": LINE % b'"1"',
    "quantity null": LINE % b"null",
    "quantity array": LINE % b"[1]",
    "zero": LINE % b"0",
    "minus zero": LINE % b"-0",
    "negative": LINE % b"-1",
    "just too many": LINE % b"1000000001",
    "2^31": LINE % str(2**31).encode(),
    "2^32 + 1": LINE % str(2**32 + 1).encode(),
    "2^53 + 1": LINE % str(2**53 + 1).encode(),
    "2^63": LINE % str(2**63).encode(),
    "2^64 + 1": LINE % str(2**64 + 1).encode(),
    "-2^64 + 1": LINE % str(-(2**64) + 1).encode(),
    "400 digits": LINE % (b"1" + b"0" * 400),
    "5000 digits": LINE % (b"9" * 5000),
    "ttl text": b'{"lines":[{"sku":"A","quantity":1}],"ttl_seconds":"60"}',
    "ttl float": b'{"lines":[{"sku":"A","quantity":1}],"ttl_seconds":60.0}',
    "ttl boolean": b'{"lines":[{"sku":"A","quantity":1}],"ttl_seconds":true}',
    "allow_partial text": b'{"lines":[{"sku":"A","quantity":1}],"allow_partial":"true"}',
    "allow_partial number": b'{"lines":[{"sku":"A","quantity":1}],"allow_partial":1}',
    "locations text": b'{"lines":[{"sku":"A","quantity":1}],"locations":"main"}',
    "locations with a number": b'{"lines":[{"sku":"A","quantity":1}],"locations":[1]}',
    "unknown tier": b'{"lines":[{"sku":"A","quantity":1}],"tier":"gold"}',
    "deadline from the client": b'{"lines":[{"sku":"A","quantity":1}],"expires_at":"2030-01-01T00:00:00.000Z"}',
}
# JSON by its grammar, but nothing that a gateway could keep or pass on: refused, with whichever of the two.
UNKEEPABLE = {
    "number beyond any float": LINE % b"1e400",
    "lone surrogate": b'{"lines":[{"sku":"\\ud800","quantity":1}]}',
    "reversed surrogates": b'{"lines":[{"sku":"\\udc00\\ud800","quantity":1}]}',
    "lone surrogate in a name": b'{"lines":[{"sku":"A","quantity":1}],"\\udfff":1}',
    "lone surrogate in a reference": b'{"lines":[{"sku":"A","quantity":1}],"reference":"a\\ud83d"}',
}
# Every call that reads JSON, with whether all its fields are optional.
CALLS = {
    "reserve": ("POST", RESERVE, False),
    "extend": ("POST", RESERVE + "/{id}/extend", True),
    "confirm": ("POST", RESERVE + "/{id}/confirm", True),
    "fulfil": ("POST", RESERVE + "/{id}/fulfil", True),
    "release": ("POST", RESERVE + "/{id}/release", True),
    "delete": ("DELETE", RESERVE + "/{id}", True),
    "batch": ("POST", "/v1/batch", False),
    "put": ("PUT", "/v1/stock/A/main", False),
    "adjust": ("POST", "/v1/stock/A/main/adjust", False),
    "pause": ("POST", "/v1/stock/A/pause", True),
    "resume": ("POST", "/v1/stock/A/resume", True),
    "query": ("POST", "/v1/stock/query", False),
}


async def untouched(api: Client, before: dict[str, Any]) -> None:
    """The level has not moved, not even its version."""
    assert await api.level("A") == before


@pytest.mark.parametrize("raw", NOT_JSON.values(), ids=NOT_JSON)
async def test_body_that_is_not_one_json_text_is_malformed(api: Client, raw: bytes) -> None:
    """400 `malformed_json`, nothing changed."""
    await api.stock_up("A", 9)
    before = await api.level("A")

    answer = await api.post(RESERVE, raw=raw)

    assert answer.outcome == (400, "malformed_json"), answer.text[:300]
    await untouched(api, before)


@pytest.mark.parametrize("raw", NOT_VALID.values(), ids=NOT_VALID)
async def test_body_that_is_json_but_no_request_is_invalid(api: Client, raw: bytes) -> None:
    """422 `invalid_request` with the fields, nothing changed."""
    await api.stock_up("A", 9)
    before = await api.level("A")

    answer = await api.post(RESERVE, raw=raw)

    assert answer.outcome == (422, "invalid_request"), answer.text[:300]
    await untouched(api, before)


@pytest.mark.parametrize("raw", UNKEEPABLE.values(), ids=UNKEEPABLE)
async def test_body_that_nobody_could_keep_is_refused(api: Client, raw: bytes) -> None:
    """400 or 422, never a failure of ours, nothing changed."""
    await api.stock_up("A", 9)
    before = await api.level("A")

    answer = await api.post(RESERVE, raw=raw)

    assert answer.outcome in {(400, "malformed_json"), (422, "invalid_request")}, answer.text[:300]
    await untouched(api, before)


@pytest.mark.parametrize(("method", "path", "is_optional"), CALLS.values(), ids=CALLS)
async def test_every_call_keeps_the_rules_of_bodies(api: Client, method: str, path: str, is_optional: bool) -> None:
    """The same refusals on every call; an empty body only where all fields are optional."""
    await api.stock_up("A", 9)
    held = await api.hold("A", ack="durable")
    before = await api.level("A")
    url = path.format(id=held["id"])

    async def outcome(raw: bytes | None, content_type: str | None = "application/json") -> tuple[int, str | None]:
        answer = await api.call(method, url, raw=raw, content_type=content_type, key="k")
        return answer.outcome

    malformed, invalid, unsupported = (
        (400, "malformed_json"),
        (422, "invalid_request"),
        (415, "unsupported_media_type"),
    )
    assert [await outcome(raw) for raw in (b"{", b'{"x":NaN}', b"\xff", b"{}{}")] == [malformed] * 4
    assert [await outcome(raw) for raw in (b"[]", b"null", b'"x"', b'{"nonsense":1}')] == [invalid] * 4
    assert await outcome(b'{"reason":"a","reason":"b"}') == invalid
    assert [await outcome(b"{}", kind) for kind in (None, "text/plain", "application/x-www-form-urlencoded")] == [
        unsupported
    ] * 3
    await untouched(api, before)
    assert await api.reservation(held["id"]) == held
    if is_optional:
        assert (await outcome(None))[0] in {200, 409}
    else:
        assert await outcome(b"") == malformed


async def test_all_errors_of_a_body_are_told_at_once(api: Client) -> None:
    """Each wrong field is named by its path, the right ones are not."""
    body = {
        "lines": [
            {"sku": "A", "quantity": 0},
            {"sku": "", "quantity": 1},
            {"sku": "A", "quantity": 1, "location": "no good"},
            {"quantity": 1},
            {"sku": "A", "quantity": "1", "colour": "red"},
            {"sku": "A", "quantity": 1},
        ],
        "tier": "gold",
        "reference": " padded",
        "customer": "x" * 129,
        "channel": "a b",
        "locations": ["main", "-bad"],
        "allow_partial": "no",
        "shop": "",
        "typo": 1,
    }

    answer = await api.for_shop(None).post(RESERVE, body)

    assert answer.outcome == (422, "invalid_request")
    assert set(answer.fields) == {
        "lines[0].quantity",
        "lines[1].sku",
        "lines[2].location",
        "lines[3].sku",
        "lines[4].quantity",
        "lines[4].colour",
        "tier",
        "reference",
        "customer",
        "channel",
        "locations[1]",
        "allow_partial",
        "shop",
        "typo",
    }


async def test_all_errors_of_a_level_are_told_at_once(api: Client) -> None:
    """The same for PUT of a level, with the limits of each number."""
    body = {
        "source": 7,
        "sequence": 2**53,
        "on_hand": -1,
        "deduction": 1.5,
        "safety_stock": -1_000_000_001,
        "reflects": ["", 3],
        "onhand": 1,
    }

    answer = await api.call("PUT", "/v1/stock/A/main", body)

    assert answer.outcome == (422, "invalid_request")
    assert {"source", "sequence", "on_hand", "deduction", "safety_stock", "onhand"} <= set(answer.fields)
    assert any(field.startswith("reflects[1]") for field in answer.fields)
    assert (await api.get("/v1/stock/A")).outcome == (404, "sku_not_found")


@pytest.mark.parametrize(
    ("field", "low", "high"),
    [
        ("on_hand", 0, 1_000_000_000),
        ("deduction", 0, 1_000_000_000),
        ("safety_stock", -1_000_000_000, 1_000_000_000),
        ("sequence", 1, 2**53 - 1),
    ],
)
async def test_numbers_of_a_level_are_taken_up_to_their_limits(api: Client, field: str, low: int, high: int) -> None:
    """Both limits are taken exactly and answered exactly; one beyond is refused and named."""
    base = {"source": "erp", "sequence": 1, "on_hand": 1}
    for sequence, value in enumerate((low, high), 1):
        taken = await api.call("PUT", "/v1/stock/A/main", base | {"sequence": sequence} | {field: value})
        assert taken.status == 200, taken.text
    level = await api.level("A")

    refused = [
        await api.call("PUT", "/v1/stock/A/main", base | {"sequence": 9} | {field: value})
        for value in (low - 1, high + 1)
    ]

    found = {"deduction": level["deductions"].get("erp"), "sequence": level["sequences"]["erp"]}.get(
        field, level.get(field)
    )
    assert found == high
    assert [(answer.outcome, answer.fields) for answer in refused] == [((422, "invalid_request"), [field])] * 2
    await untouched(api, level)


async def test_numbers_that_a_double_cannot_tell_apart_are_told_apart(api: Client) -> None:
    """Sequences just below 2^53 differ by one and are judged so."""
    path = "/v1/stock/A/main"
    top = 2**53 - 1

    first = await api.call("PUT", path, {"source": "erp", "sequence": top - 1, "on_hand": 1})
    second = await api.call("PUT", path, {"source": "erp", "sequence": top, "on_hand": 2})
    late = await api.call("PUT", path, {"source": "erp", "sequence": top - 1, "on_hand": 3})

    assert (first.body["applied"], second.body["applied"]) == (True, True)
    assert late.outcome == (409, "stale_sequence")
    assert late.body["current_sequence"] == top
    assert f'"erp":{top}' in (await api.get("/v1/stock/A")).text.replace(" ", "")


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/json; charset=utf-8", "application/json;charset=UTF-8", "Application/JSON"],
)
async def test_content_type_of_json_is_taken_in_any_spelling(api: Client, content_type: str) -> None:
    """Media types do not know case, and UTF-8 may be named."""
    await api.stock_up("A", 9)
    body = json.dumps({"lines": [{"sku": "A", "quantity": 1}]}).encode()

    answer = await api.post(RESERVE, raw=body, content_type=content_type)

    assert answer.status == 201


@pytest.mark.parametrize(
    "content_type",
    [None, "", "text/json", "text/plain", "application/xml", "application/jsonx", "application/x-ndjson"],
)
async def test_other_content_type_is_unsupported(api: Client, content_type: str | None) -> None:
    """415, nothing changed."""
    await api.stock_up("A", 9)
    body = json.dumps({"lines": [{"sku": "A", "quantity": 1}]}).encode()

    answer = await api.post(RESERVE, raw=body, content_type=content_type)

    assert answer.outcome == (415, "unsupported_media_type")
    assert (await api.stock("A"))["held"] == 0


async def test_empty_object_is_as_good_as_no_body(api: Client) -> None:
    """Calls whose fields are all optional take `{}` too."""
    await api.stock_up("A", 9)
    held = await api.hold("A")

    for operation in ("extend", "confirm", "fulfil"):
        assert (await api.act(operation, held["id"], {})).status == 200
    assert (await api.post("/v1/stock/A/pause", {})).status == 200
    assert (await api.post("/v1/stock/A/resume", {})).status == 200
