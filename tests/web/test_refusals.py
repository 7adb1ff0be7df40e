"""Section 1 of the contract: what is refused, as what, and in which order."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.web.fields import PATTERN_WORDS
from gateway.web.routes import ROUTES
from tests.web.conftest import LIMITS, Gateway

GOOD = {"lines": [{"sku": "a", "quantity": 1}]}
PATH = "/v1/reservations"
JSON = {"Content-Type": "application/json"}


def line(**fields: Any) -> bytes:
    """A body whose one line has these fields; `raw_...` values stand in it as they are written."""
    written = {"sku": '"a"', "quantity": "1"} | fields
    return ('{"lines":[{' + ",".join(f'"{name}":{value}' for name, value in written.items()) + "}]}").encode()


NOT_JSON = {
    "empty": b"",
    "blank": b"  \n",
    "half": b'{"lines":[',
    "two texts": b"{} {}",
    "trailing comma": b'{"lines":[],}',
    "NaN": line(quantity="NaN"),
    "Infinity": line(quantity="Infinity"),
    "-Infinity": line(quantity="-Infinity"),
    "leading zero": line(quantity="01"),
    "plus": line(quantity="+1"),
    "underscore": line(quantity="1_000"),
    "hex": line(quantity="0x10"),
    "Arabic digit": line(quantity="٣"),
    "single quotes": b"{'lines':[]}",
    "comment": b'{"lines":[] /* none */}',
    "byte order mark": b"\xef\xbb\xbf" + json.dumps(GOOD).encode(),
    "utf-16": json.dumps(GOOD).encode("utf-16"),
    "latin-1": '{"reference":"é"}'.encode("latin-1"),
    "surrogate bytes": b'{"reference":"\xed\xa0\x80"}',
    "raw control": b'{"reference":"a\nb"}',
    "raw NUL": b'{"reference":"a\x00b"}',
    "deep": b"[" * 2_000 + b"]" * 2_000,
    "deep and open": b'{"lines":' * 400,
}


@pytest.mark.parametrize("name", sorted(NOT_JSON))
async def test_body_that_is_not_one_json_text_answers_400(gateway: Gateway, name: str) -> None:
    """400 is for what is no JSON in UTF-8, and nothing reaches the service."""
    reply = await gateway.send(NOT_JSON[name])

    assert (reply.status, reply.body["code"]) == (400, "malformed_json")
    assert reply.body["outcome"] == "not_applied"
    assert gateway.books.seen == []


NUMBERS = [
    "0",
    "-1",
    "-0",
    "1.0",
    "1e2",
    "1E400",
    "-1e400",
    "0.5",
    "true",
    "false",
    '"5"',
    "null",
    "[1]",
    "{}",
    "1000000001",
]
NUMBERS += [str(2**53), str(2**63), str(2**64), str(10**30), "1" * 1000]


@pytest.mark.parametrize("number", NUMBERS)
async def test_quantity_that_is_no_integer_in_bounds_answers_422_naming_it(gateway: Gateway, number: str) -> None:
    """Floats, booleans, strings and numbers of any size are refused by the field's path."""
    reply = await gateway.send(line(quantity=number))

    assert (reply.status, reply.fields) == (422, ["lines[0].quantity"])
    assert gateway.books.seen == []


@pytest.mark.parametrize("number", ["1", "1000000000"])
async def test_quantity_at_its_bounds_is_accepted(gateway: Gateway, number: str) -> None:
    """1 and 1,000,000,000 are quantities."""
    reply = await gateway.send(line(quantity=number))

    assert reply.status in (201, 409)


BAD_TEXTS = ["", " ", " a", "a ", "a\n", "\ta", "a\x00b", "a\x1fb", "a\x7fb", "a\x85b", "\u00a0a", "a\u2028", "a" * 129]
BAD_TEXTS += ["\ud800", "a\udc00b"]


@pytest.mark.parametrize("text", BAD_TEXTS)
async def test_text_with_a_control_character_or_a_space_at_an_end_answers_422(gateway: Gateway, text: str) -> None:
    """Sku, reference and customer are judged alike, and all at once; half a surrogate pair is no text either."""
    body = json.dumps({"lines": [{"sku": text, "quantity": 1}], "reference": text, "customer": text}).encode()

    reply = await gateway.send(body)

    assert (reply.status, reply.fields) == (422, ["customer", "lines[0].sku", "reference"])


GOOD_TEXTS = [
    "é",
    "e\u0301",
    "日本語",
    "👩\u200d👩\u200d👧",
    "\u202eabc",
    "a\u200bb",
    "a b",
    "{x}",
    "a'b\"c\\d",
    "a/b",
    "%41",
    "x" * 128,
]
GOOD_TEXTS += ["$(id)", "../etc", "a:b", 'sku": 1, "sku', "\U0001f600" * 128]


@pytest.mark.parametrize("text", GOOD_TEXTS)
async def test_any_other_unicode_is_kept_as_it_is(gateway: Gateway, text: str) -> None:
    """No normalisation, no escaping: what came in goes on and comes back."""
    gateway.books.put(text, on_hand=5)

    reply = await gateway.post(PATH, {"lines": [{"sku": text, "quantity": 1}], "reference": text})

    assert reply.status == 201
    assert (reply.body["reference"], reply.body["lines"][0]["sku"]) == (text, text)


@pytest.mark.parametrize("name", ["", "-a", ".a", "a b", "a/b", "é", "a" * 65, "a\n"])
@pytest.mark.parametrize("field", ["shop", "channel", "tier"])
async def test_name_of_another_form_answers_422(gateway: Gateway, field: str, name: str) -> None:
    """Shop, channel and tier are names of 64 plain characters."""
    reply = await gateway.post(PATH, GOOD | {field: name})

    assert (reply.status, reply.fields) == (422, [field])


WRONG_BODIES: list[tuple[Any, list[str]]] = [
    ([], ["body"]),
    ("text", ["body"]),
    (7, ["body"]),
    (None, ["body"]),
    ({}, ["lines"]),
    ({"lines": []}, ["lines"]),
    ({"lines": {}}, ["lines"]),
    ({"lines": None}, ["lines"]),
    ({"lines": [{"sku": "a", "quantity": 1}] * 1001}, ["lines"]),
    ({"lines": [3]}, ["lines[0]"]),
    ({"lines": [{}]}, ["lines[0].quantity", "lines[0].sku"]),
    (GOOD | {"colour": 1, "Tier": "cart"}, ["Tier", "colour"]),
    (GOOD | {"allow_partial": 1}, ["allow_partial"]),
    (GOOD | {"allow_partial": "true"}, ["allow_partial"]),
    (GOOD | {"locations": []}, ["locations"]),
    (GOOD | {"locations": ["a", "b c"]}, ["locations[1]"]),
    (GOOD | {"tier": "gold"}, ["tier"]),
    (GOOD | {"tier": 5}, ["tier"]),
    (GOOD | {"tier": ["cart"]}, ["tier"]),
    (GOOD | {"ttl_seconds": 0}, ["ttl_seconds"]),
    (GOOD | {"ttl_seconds": 901}, ["ttl_seconds"]),
    (GOOD | {"tier": "checkout", "ttl_seconds": 3601}, ["ttl_seconds"]),
    (GOOD | {"ttl_seconds": 10**12}, ["ttl_seconds"]),
    (GOOD | {"ttl_seconds": 10.0}, ["ttl_seconds"]),
    (GOOD | {"ttl_seconds": True}, ["ttl_seconds"]),
    ({"lines": [{"sku": "a", "quantity": 1, "x": 1}, {"sku": 5, "quantity": "2"}]},
     ["lines[0].x", "lines[1].quantity", "lines[1].sku"]),
]  # fmt: skip


@pytest.mark.parametrize(("body", "fields"), WRONG_BODIES)
async def test_body_of_the_wrong_form_answers_422_naming_every_field(
    gateway: Gateway, body: Any, fields: list[str]
) -> None:
    """422 is for everything that is JSON but not ours; every wrong field is named at once."""
    reply = await gateway.send(json.dumps(body).encode())

    assert (reply.status, reply.fields) == (422, fields)
    assert gateway.books.seen == []


async def test_body_headers_and_query_are_refused_together(gateway: Gateway) -> None:
    """All errors of a request at once: form, policy, headers and query."""
    body = {"lines": [{"sku": " a", "quantity": 0}], "tier": "gold", "colour": "red"}

    reply = await gateway.post(
        f"{PATH}?ack=never&size=9&shop=a%20b", body, Idempotency_Key="a b", Request_Deadline_Ms="60001"
    )

    assert reply.status == 422
    assert reply.fields == sorted(
        [
            "lines[0].sku",
            "lines[0].quantity",
            "tier",
            "colour",
            "ack",
            "size",
            "shop",
            "Idempotency-Key",
            "Request-Deadline-Ms",
        ]
    )


DUPLICATES = {
    '{"lines":[{"sku":"a","quantity":1}],"lines":[{"sku":"a","quantity":1}]}': ["lines"],
    '{"lines":[{"sku":"a","quantity":1,"quantity":1}]}': ["lines[0].quantity"],
    '{"lines":[{"sku":"a","quantity":1,"\\u0073ku":"a"}]}': ["lines[0].sku"],
    '{"lines":[{"sku":"a","quantity":1}],"reference":"a:b","tier":"cart","tier" :"cart"}': ["tier"],
    '{"lines":[{"sku":"a","quantity":1}],"reference":"\\":","tier":"cart","tier":"cart"}': ["tier"],
    '{"x":1,"x":1,"lines":[{"sku":"a","quantity":0}]}': ["lines[0].quantity", "x", "x"],
}


@pytest.mark.parametrize("body", sorted(DUPLICATES))
async def test_key_given_twice_answers_422_naming_it(gateway: Gateway, body: str) -> None:
    """A key that stands twice is refused even with the same value, however it is written."""
    reply = await gateway.send(body.encode())

    assert (reply.status, reply.fields) == (422, DUPLICATES[body])
    assert gateway.books.seen == []


@pytest.mark.parametrize("reference", ["a:b", '":', '" :', '\\":', "::::", '{"a":1,"a":1}'])
async def test_colons_within_strings_are_no_keys(gateway: Gateway, reference: str) -> None:
    """What looks like a key inside a string is none."""
    assert (await gateway.reserve(reference=reference))["reference"] == reference


async def test_hundreds_of_errors_are_listed_up_to_a_bound(gateway: Gateway) -> None:
    """The list of errors is bounded; its last entry says how many are missing."""
    reply = await gateway.send(b'{"lines":[' + b",".join([b"1"] * 500) + b"]}")

    errors = reply.body["errors"]
    assert len(errors) == 101
    assert errors[-1] == {"field": "body", "message": "has 400 more errors, not listed here"}


async def test_object_of_very_many_fields_is_refused_as_a_whole(gateway: Gateway) -> None:
    """A body of nothing but unknown fields costs no more than a refusal."""
    reply = await gateway.send(json.dumps({f"f{n}": n for n in range(300)}).encode())

    assert (reply.status, reply.fields) == (422, ["body"])


async def test_long_unknown_field_is_told_back_cut(gateway: Gateway) -> None:
    """A hostile name does not come back at its full length."""
    reply = await gateway.send(json.dumps(GOOD | {"x" * 3_000: 1}).encode())

    assert reply.fields == ["x" * 100 + "…"]


@pytest.mark.parametrize("key", ["", "a b", "é", "a" * 256, "a\tb", "\x7f"])
async def test_idempotency_key_of_another_form_answers_422(gateway: Gateway, key: str) -> None:
    """A key is 1..255 visible ASCII characters."""
    raw = json.dumps(GOOD).encode()
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
    head += f"Content-Length: {len(raw)}\r\nIdempotency-Key: {key}\r\n\r\n"

    answer = await gateway.raw(head.encode("latin-1") + raw)

    assert b" 422 " in answer.partition(b"\r\n")[0] or b" 400 " in answer.partition(b"\r\n")[0], answer
    assert gateway.books.seen == []


@pytest.mark.parametrize("key", ["a", "~" * 255, '"quoted"', "!#$%&'()*+,-./:;<=>?@[]^_`{|}"])
async def test_idempotency_key_of_visible_ascii_is_accepted(gateway: Gateway, key: str) -> None:
    """Any 1..255 visible ASCII characters are a key."""
    reply = await gateway.post(PATH, GOOD, Idempotency_Key=key)

    assert reply.status == 201
    assert gateway.books.seen[-1][0].idempotency_key == key


async def test_idempotency_key_given_twice_answers_422(gateway: Gateway) -> None:
    """Two keys name no request."""
    headers = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]

    reply = await gateway.ask("POST", PATH, json=GOOD, headers=headers)

    assert (reply.status, reply.fields) == (422, ["Idempotency-Key"])


@pytest.mark.parametrize("deadline", ["0", "60001", "-1", "1.5", "ten", "", "1_0", "٣"])
async def test_deadline_of_another_form_answers_422(gateway: Gateway, deadline: str) -> None:
    """A deadline is 1..60000."""
    reply = await gateway.post(PATH, GOOD, Request_Deadline_Ms=deadline)

    assert (reply.status, reply.fields) == (422, ["Request-Deadline-Ms"])


async def test_shop_in_body_and_query_must_agree(gateway: Gateway) -> None:
    """Two shops in one request are a mistake; the same one twice is not."""
    other = await gateway.post(f"{PATH}?shop=north", GOOD | {"shop": "main"})
    same = await gateway.post(f"{PATH}?shop=main", GOOD | {"shop": "main"})

    assert (other.status, other.fields) == (422, ["shop"])
    assert same.status == 201


@pytest.mark.parametrize(
    "content_type",
    [None, "", "text/plain", "application/x-www-form-urlencoded", "application/json-seq", "application/problem+json",
     "application/json; charset=utf-16", "application/json; charset=latin-1", "text/json"],
)  # fmt: skip
async def test_other_content_type_answers_415(gateway: Gateway, content_type: str | None) -> None:
    """Only application/json in UTF-8 is read."""
    reply = await gateway.send(json.dumps(GOOD).encode(), content_type)

    assert (reply.status, reply.body["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        'application/json;charset="UTF-8"',
        "application/json ; x=y",
    ],
)
async def test_json_content_type_however_it_is_written_is_read(gateway: Gateway, content_type: str) -> None:
    """Case and parameters of the media type do not matter."""
    assert (await gateway.send(json.dumps(GOOD).encode(), content_type)).status == 201


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "x-unknown", "identity, gzip"])
async def test_compressed_body_answers_415(gateway: Gateway, encoding: str) -> None:
    """No body is unpacked."""
    headers = JSON | {"Content-Encoding": encoding}

    reply = await gateway.ask("POST", PATH, data=json.dumps(GOOD).encode(), headers=headers)

    assert (reply.status, reply.body["code"]) == (415, "unsupported_media_type")


async def test_body_over_the_limit_answers_413_and_the_connection_lives(gateway: Gateway) -> None:
    """The rest of a body that is too large is read and dropped, and the connection serves the next request."""
    raw = b"x" * (LIMITS.body_bytes_max * 8)

    reply = await gateway.ask("POST", PATH, data=raw, headers=JSON)
    again = await gateway.post(PATH, GOOD)

    assert (reply.status, reply.body["code"], again.status) == (413, "body_too_large", 201)


@pytest.mark.parametrize("excess", [0, 1])
async def test_body_at_the_limit_is_read_and_one_byte_more_is_not(gateway: Gateway, excess: int) -> None:
    """The limit itself is allowed."""
    raw = json.dumps(GOOD).encode()
    raw += b" " * (LIMITS.body_bytes_max - len(raw) + excess)

    assert (await gateway.send(raw)).status == (413 if excess else 201)


async def chunks(*pieces: bytes) -> AsyncIterator[bytes]:
    """The pieces, each a chunk of its own on the wire."""
    for piece in pieces:
        yield piece


async def test_chunked_body_is_read_like_any_other(gateway: Gateway) -> None:
    """Transfer coding does not change what is asked."""
    raw = json.dumps(GOOD).encode()

    reply = await gateway.ask("POST", PATH, data=chunks(raw[:5], raw[5:]), headers=JSON)

    assert reply.status == 201


async def test_chunked_body_over_the_limit_answers_413(gateway: Gateway) -> None:
    """A length that nobody announced is counted."""
    pieces = [b" " * 1_000] * 100

    reply = await gateway.ask("POST", PATH, data=chunks(*pieces), headers=JSON)

    assert (reply.status, reply.body["code"]) == (413, "body_too_large")


LARGE = b"x" * (LIMITS.body_bytes_max + 1)


@pytest.mark.parametrize(
    ("status", "method", "path", "key", "content_type", "raw"),
    [
        (404, "POST", "/v1/nowhere", None, "text/plain", LARGE),
        (405, "PATCH", PATH, None, "text/plain", LARGE),
        (401, "POST", PATH, None, "text/plain", LARGE),
        (413, "POST", PATH, "secret", "text/plain", LARGE),
        (415, "POST", PATH, "secret", "text/plain", b"{"),
        (400, "POST", f"{PATH}?colour=red", "secret", "application/json", b"{"),
        (422, "POST", f"{PATH}?colour=red", "secret", "application/json", b"{}"),
        (
            409,
            "POST",
            PATH,
            "secret",
            "application/json",
            json.dumps({"lines": [{"sku": "a", "quantity": 99}]}).encode(),
        ),
    ],
)
async def test_refusals_are_judged_in_the_order_of_the_contract(
    start: Any, status: int, method: str, path: str, key: str | None, content_type: str, raw: bytes
) -> None:
    """Each request has all the later faults, too; the first in the order is told."""
    gateway: Gateway = await start(bootstrap_key="secret")
    gateway.books.put("a", on_hand=1)
    headers = {"Content-Type": content_type} | ({"Authorization": f"Bearer {key}"} if key else {})

    reply = await gateway.ask(method, path, data=raw, headers=headers)

    assert reply.status == status
    assert reply.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(
    "path",
    ["/", "/v1", "/v1/", "/v2/stock", "/v1/reservations/", "/v1//reservations", "/V1/stock", "/v1/stock/a/b/c", "/v1/stock//adjust",
     "/v1/reservations/x/nothing", "//", "/v1/stock/a/main/adjust/", "/docs/nothing.js", "/docs/../routes.py", "/healthz/"],
)  # fmt: skip
async def test_unknown_path_answers_404_as_a_problem(gateway: Gateway, path: str) -> None:
    """404 is a problem like any other."""
    reply = await gateway.ask("GET", path)

    assert (reply.status, reply.body["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", PATH, "GET, HEAD, POST"),
        ("OPTIONS", PATH, "GET, HEAD, POST"),
        ("GET", "/v1/batch", "POST"),
        ("POST", "/v1/reservations/x", "DELETE, GET, HEAD"),
        ("GET", "/v1/stock/a/main", "PUT"),
        ("DELETE", "/v1/stock/import", "GET, HEAD, POST"),
        ("POST", "/healthz", "GET, HEAD"),
        ("BREW", "/healthz", None),
    ],
)
async def test_other_method_answers_405_with_allow(gateway: Gateway, method: str, path: str, allow: str | None) -> None:
    """405 names the methods there are; a word that is no HTTP method is no HTTP."""
    reply = await gateway.ask(method, path)

    if allow is None:
        assert reply.status == 400
    else:
        assert (reply.status, reply.body["code"], reply.headers["Allow"]) == (405, "method_not_allowed", allow)


async def test_literal_paths_do_not_hide_skus_of_the_same_name(gateway: Gateway) -> None:
    """A sku may be called `query` or `import`; the method tells."""
    gateway.books.put("query", on_hand=3)

    reply = await gateway.ask("GET", "/v1/stock/query")

    assert (reply.status, reply.body["sku"]) == (200, "query")


async def test_head_answers_like_get_without_a_body(gateway: Gateway) -> None:
    """HEAD has GET's status and length."""
    head, get = await gateway.ask("HEAD", "/v1/stock/a"), await gateway.ask("GET", "/v1/stock/a")

    assert (head.status, head.raw) == (200, b"")
    assert head.headers["Content-Length"] == str(len(get.raw))


@pytest.mark.parametrize("given", ["a", "~" * 128, "0af7651916cd43dd8448eb211c80319c"])
async def test_request_id_is_echoed(gateway: Gateway, given: str) -> None:
    """The client's request id comes back, in problems too."""
    reply = await gateway.ask("GET", "/v1/stock/nothing", headers={"X-Request-Id": given})

    assert reply.headers["X-Request-Id"] == reply.body["request_id"] == given


@pytest.mark.parametrize("given", [None, "", "a b", "é", "a" * 129])
async def test_request_id_is_made_where_none_can_be_used(gateway: Gateway, given: str | None) -> None:
    """Another request id is neither echoed nor refused: a new one stands in."""
    headers = {} if given is None else {"X-Request-Id": given}

    replies = [await gateway.ask("GET", "/v1/stock/nothing", headers=headers) for _ in range(2)]

    ids = {reply.headers["X-Request-Id"] for reply in replies}
    assert len(ids) == 2
    assert given not in ids


async def test_answers_say_nothing_of_the_software(gateway: Gateway) -> None:
    """No Server header; nosniff everywhere."""
    reply = await gateway.ask("GET", "/healthz")

    assert "Server" not in reply.headers
    assert reply.headers["X-Content-Type-Options"] == "nosniff"


def test_every_pattern_of_a_body_has_words() -> None:
    """A value of another form is told in words, wherever a model asks for a form."""
    models = [route.body for route in ROUTES if route.body] + [rows for route in ROUTES for rows in route.rows.values()]
    schemas = json.dumps([model.model_json_schema() for model in models])
    patterns = {json.loads(found) for found in re.findall(r'"pattern": ("(?:[^"\\]|\\.)*")', schemas)}

    assert len(patterns) >= 4
    assert patterns - set(PATTERN_WORDS) == set()
