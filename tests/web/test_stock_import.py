"""`/v1/stock/import`: good rows in, bad rows told, whatever the file looks like."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.domain import errors as e
from gateway.domain.answer import ImportRow
from gateway.web.shapes import ImportResult
from tests.web.conftest import IMPATIENT, LIMITS, Gateway, Reply, Start

CSV = {"Content-Type": "text/csv"}
NDJSON = {"Content-Type": "application/x-ndjson"}
PATH = "/v1/stock/import?source=erp&sequence=7"


def rows_of(gateway: Gateway) -> list[ImportRow]:
    """The rows that reached the service."""
    return [command for command, _ in gateway.books.seen if isinstance(command, ImportRow)]


async def load(gateway: Gateway, raw: Any, headers: Any = CSV, path: str = PATH) -> Reply:
    """The answer to this file."""
    return await gateway.ask("POST", path, data=raw, headers=headers)


def rejected(reply: Reply) -> list[int]:
    """The numbers of the rejected rows."""
    assert reply.status == 200, reply.raw
    ImportResult.model_validate(reply.body)
    return [entry["row"] for entry in reply.body["rejected"]]


async def test_csv_rows_are_applied(gateway: Gateway) -> None:
    """Columns in any order, optional ones empty or missing, a row's own sequence before the query's."""
    raw = "sequence,location,sku,on_hand,safety_stock\n,main,x,5,\n9,north,ü,0,-2\r\n"

    reply = await load(gateway, raw.encode())

    assert rows_of(gateway) == [ImportRow(1, "x", "main", 5, None, 7), ImportRow(2, "ü", "north", 0, -2, 9)]
    assert (reply.status, reply.body) == (
        200,
        {"applied": 2, "unchanged": 0, "stale": 0, "rejected": [], "rejected_count": 0},
    )


async def test_ndjson_rows_are_applied(gateway: Gateway) -> None:
    """One object per line, blank lines between them, the last without its line end."""
    raw = b'{"sku":"x","location":"main","on_hand":5}\n\n{"sku":"y","location":"main","on_hand":6,"sequence":8,"safety_stock":null}'

    reply = await load(gateway, raw, NDJSON)

    assert rejected(reply) == []
    assert rows_of(gateway) == [ImportRow(1, "x", "main", 5, None, 7), ImportRow(3, "y", "main", 6, None, 8)]


async def test_repeated_and_older_rows_are_counted(gateway: Gateway) -> None:
    """The same file again is unchanged; an older sequence is stale."""
    raw = b"sku,location,on_hand\nx,main,5\ny,main,6\n"
    await load(gateway, raw)

    again = await load(gateway, raw)
    older = await load(gateway, raw, path="/v1/stock/import?source=erp&sequence=6")

    assert (again.body["unchanged"], older.body["stale"]) == (2, 2)


BAD_CSV = {
    "x,main": "has 2 fields",
    "x,main,1,2": "has 4 fields",
    " x,main,1": "sku must be",
    "x,ma in,1": "location must be",
    "x,main,": "on_hand is required",
    "x,main,1.0": "on_hand must be an integer",
    "x,main,1_0": "on_hand must be an integer",
    "x,main,٣": "on_hand must be an integer",
    "x,main,-1": "on_hand must be at least 0",
    "x,main,1000000001": "on_hand must be at most",
    "x,main,99999999999999999999999": "on_hand must be an integer",
    '"x\ny",main,1': "sku must be",
    "x\ry,main,1": "new-line character",
    "x" * 600 + ",main,1": "is longer than 512 bytes",
    ",,": "sku must be",
    "x,main,\x00": "on_hand must be",
}


@pytest.mark.parametrize("row", sorted(BAD_CSV))
async def test_bad_csv_row_is_told_and_the_others_stand(gateway: Gateway, row: str) -> None:
    """A row that is wrong in any way costs itself alone."""
    reply = await load(gateway, f"sku,location,on_hand\ng1,main,1\n{row}\ng2,main,2\n".encode())

    assert rejected(reply) == [2]
    assert BAD_CSV[row] in reply.body["rejected"][0]["error"]
    assert [(row.row, row.sku) for row in rows_of(gateway)] == [(1, "g1"), (3, "g2")]


BAD_NDJSON = {
    b"{": "not one JSON text",
    b"[]": "must be an object",
    b"5": "must be an object",
    b'{"sku":"x","location":"main","on_hand":NaN}': "not one JSON text",
    b'{"sku":"x","location":"main","on_hand":"5"}': "on_hand must be an integer",
    b'{"sku":"x","location":"main","on_hand":5.0}': "on_hand must be an integer",
    b'{"sku":"x","location":"main","on_hand":true}': "on_hand must be an integer",
    b'{"sku":"x","location":"main","on_hand":5,"on_hand":5}': "on_hand is given twice",
    b'{"sku":"x","location":"main","on_hand":5,"colour":1}': "colour is not a known field",
    b'{"sku":"x","location":"main","on_hand":5,"sequence":0}': "sequence must be at least 1",
    b'{"sku":"\xff","location":"main","on_hand":5}': "not one JSON text",
    b'{"sku":"' + b"x" * 600 + b'"}': "is longer than 512 bytes",
}


@pytest.mark.parametrize("row", sorted(BAD_NDJSON))
async def test_bad_ndjson_row_is_told_and_the_others_stand(gateway: Gateway, row: bytes) -> None:
    """The same for lines of JSON."""
    good = b'{"sku":"g%d","location":"main","on_hand":1}\n'

    reply = await load(gateway, good % 1 + row + b"\n" + good % 2, NDJSON)

    assert rejected(reply) == [2]
    assert BAD_NDJSON[row] in reply.body["rejected"][0]["error"]
    assert [row.sku for row in rows_of(gateway)] == ["g1", "g2"]


async def test_csv_row_that_is_not_utf8_is_rejected(gateway: Gateway) -> None:
    """A row in another encoding is told; the file goes on."""
    reply = await load(gateway, b"sku,location,on_hand\n\xfcber,main,1\nx,main,2\n")

    assert rejected(reply) == [1]
    assert len(rows_of(gateway)) == 1


async def test_csv_quotes_and_byte_order_mark_are_read(gateway: Gateway) -> None:
    """What spreadsheets write: a mark in front, quoted fields with commas, quotes and line ends in them."""
    raw = '\ufeff"sku",location,"on_hand"\r\n"a,b",main,1\r\n"say ""hi""",main,2\r\n"two\r\nlines",main,3\r\nx,main,"4"\r\n'

    reply = await load(gateway, raw.encode())

    assert rejected(reply) == [3]
    assert [(row.row, row.sku, row.on_hand) for row in rows_of(gateway)] == [
        (1, "a,b", 1),
        (2, 'say "hi"', 2),
        (4, "x", 4),
    ]


async def test_quote_that_never_closes_costs_its_own_row_alone(gateway: Gateway) -> None:
    """The lines that an open quote swallowed are read again as rows of their own."""
    raw = 'sku,location,on_hand\n"x,main,1\ny,main,2\nz,main,3\n'

    reply = await load(gateway, raw.encode())

    assert rejected(reply) == [1]
    assert reply.body["rejected"][0]["error"] == "row has a quote that is not closed"
    assert [(row.row, row.sku) for row in rows_of(gateway)] == [(2, "y"), (3, "z")]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
async def test_pieces_of_any_size_give_the_same_rows(gateway: Gateway, size: int) -> None:
    """Where the network cuts a file does not matter, not even within its byte order mark."""
    raw = '\ufeffsku,location,on_hand\n"a\nb",main,1\nü,main,2\n"c""d",main,3'.encode()

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(raw), size):
            yield raw[at : at + size]
            await asyncio.sleep(0)

    reply = await load(gateway, pieces())

    assert rejected(reply) == [1]
    assert [row.sku for row in rows_of(gateway)] == ["ü", 'c"d']


@pytest.mark.parametrize(
    "header",
    ["", "sku,location", "sku,location,on_hand,colour", "sku,sku,location,on_hand", "SKU,location,on_hand", "x,main,5",
     '"sku,location,on_hand', ",".join(["sku"] * 200)],
)  # fmt: skip
async def test_wrong_csv_header_answers_422(gateway: Gateway, header: str) -> None:
    """Without the right columns no row means anything, so nothing is applied."""
    reply = await load(gateway, f"{header}\nx,main,5\n".encode() if header else b"")

    assert (reply.status, set(reply.fields)) == (422, {"header"})
    assert gateway.books.seen == []


async def test_empty_ndjson_is_no_rows(gateway: Gateway) -> None:
    """Nothing to do is done."""
    reply = await load(gateway, b"", NDJSON)

    assert (reply.status, reply.body["applied"]) == (200, 0)


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("", ["source"]),
        ("source=e%20r", ["source"]),
        ("source=erp&sequence=0", ["sequence"]),
        ("source=erp&sequence=9007199254740992&size=3&ack=x", ["ack", "sequence", "size"]),
    ],
)
async def test_wrong_query_answers_422(gateway: Gateway, query: str, fields: list[str]) -> None:
    """The source is required, the rest bounded."""
    reply = await load(gateway, b"sku,location,on_hand\n", path=f"/v1/stock/import?{query}")

    assert (reply.status, reply.fields) == (422, fields)


async def test_row_without_any_sequence_is_rejected(gateway: Gateway) -> None:
    """A row brings its own sequence or takes the query's; without either it is not gated."""
    reply = await load(
        gateway, b"sku,location,on_hand,sequence\nx,main,1,\ny,main,2,3\n", path="/v1/stock/import?source=erp"
    )

    assert rejected(reply) == [1]
    assert [row.sku for row in rows_of(gateway)] == ["y"]


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "text/csv; charset=latin-1", ""])
async def test_other_content_type_answers_415(gateway: Gateway, content_type: str) -> None:
    """CSV or NDJSON, in UTF-8."""
    reply = await load(gateway, b"sku,location,on_hand\n", {"Content-Type": content_type})

    assert (reply.status, reply.body["code"]) == (415, "unsupported_media_type")


async def test_compressed_file_answers_415(gateway: Gateway) -> None:
    """No file is unpacked."""
    assert (await load(gateway, b"x", CSV | {"Content-Encoding": "gzip"})).status == 415


async def test_file_larger_than_any_body_is_streamed(gateway: Gateway) -> None:
    """The bound on bodies is not one on files; memory holds a row at a time."""
    count = 5_000
    raw = b"sku,location,on_hand\n" + b"".join(b"sku-%d,main,%d\n" % (number, number) for number in range(count))
    assert len(raw) > LIMITS.body_bytes_max

    reply = await load(gateway, raw)

    assert (reply.status, reply.body["applied"]) == (200, count)


async def test_rejected_rows_are_listed_up_to_a_bound_and_all_counted(gateway: Gateway) -> None:
    """The service's own rejections stand among ours, by row."""
    raw = b"sku,location,on_hand\npoison,main,1\n" + b"x,main\n" * 9 + b"poison,main,1\n"

    reply = await load(gateway, raw)

    assert rejected(reply) == [1, 2, 3, 4, 5]
    assert reply.body["rejected_count"] == 11


async def test_failure_after_some_rows_is_told_as_unknown(gateway: Gateway) -> None:
    """Rows before the failure may be in the books."""
    gateway.books.failures.extend([None, None, e.HotStoreUnavailable()])

    reply = await load(gateway, b"sku,location,on_hand\nx,main,1\ny,main,2\n")

    assert (reply.status, reply.body["code"], reply.body["outcome"]) == (503, "hot_store_unavailable", "unknown")


async def test_failure_before_any_row_is_told_as_not_applied(gateway: Gateway) -> None:
    """Nothing was told, nothing happened."""
    gateway.books.failures.append(e.HotStoreUnavailable())

    reply = await load(gateway, b"sku,location,on_hand\nx,main,1\n")

    assert reply.body["outcome"] == "not_applied"


async def test_file_that_stops_coming_answers_408_unknown(start: Start) -> None:
    """Each piece has its own deadline; what came before may be in the books."""
    gateway: Gateway = await start(limits=IMPATIENT)
    head = b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\nContent-Length: 1000\r\n\r\n" % PATH.encode()

    answer = await gateway.raw(head + b"sku,location,on_hand\nx,main,1\n")

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"outcome":"unknown"' in answer
    assert len(rows_of(gateway)) == 1


async def test_hostile_quotes_cost_time_in_proportion_to_the_file(gateway: Gateway) -> None:
    """Lines that each leave a quote open are not read again for each of them."""
    raw = b"sku,location,on_hand\n" + b'x"y,"z\n' * 40_000

    began = time.process_time()
    reply = await load(gateway, raw)

    assert reply.body["rejected_count"] == 40_000
    assert time.process_time() - began < 10
