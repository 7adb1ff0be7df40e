"""POST /v1/stock/import: CSV and NDJSON, streamed; bad rows are told and left out, the others stand."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.acceptance.answers import Answer
from tests.acceptance.client import Client

CSV, NDJSON = "text/csv", "application/x-ndjson"


async def sent(api: Client, text: str | bytes, kind: str = CSV, **query: Any) -> Answer:
    """The answer to an import from the source `erp`, by default of sequence 1."""
    raw = text.encode() if isinstance(text, str) else text
    return await api.post("/v1/stock/import", raw=raw, content_type=kind, **{"source": "erp", "sequence": 1} | query)


async def tally(api: Client, text: str | bytes, kind: str = CSV, **query: Any) -> tuple[int, int, int, int]:
    """applied, unchanged, stale and the number of rejected rows."""
    answer = await sent(api, text, kind, **query)
    assert answer.status == 200, answer.text
    for rejected in answer.body["rejected"]:
        assert isinstance(rejected["row"], int)
        assert rejected["error"]
    body = answer.body
    return body["applied"], body["unchanged"], body["stale"], len(body["rejected"])


async def test_csv_rows_become_levels(api: Client) -> None:
    """Two levels of one sku and one of another, with their safety stock."""
    text = "sku,location,on_hand,safety_stock\nA,berlin,5,1\nA,paris,7,\nB,berlin,0,-3\n"

    assert await tally(api, text) == (3, 0, 0, 0)
    assert await api.counters("A", "berlin") == (5, 0, 0, 4)
    assert await api.counters("A", "paris") == (7, 0, 0, 7)
    assert await api.counters("B", "berlin") == (0, 0, 0, 3)


async def test_ndjson_rows_become_levels(api: Client) -> None:
    """The same as JSON lines, the last one without a line end."""
    rows = [{"sku": "A", "location": "main", "on_hand": 5}, {"on_hand": 2, "sku": "é/😀", "location": "main"}]

    assert await tally(api, "\n".join(json.dumps(row) for row in rows), NDJSON) == (2, 0, 0, 0)
    assert (await api.stock("é/😀"))["on_hand"] == 2


@pytest.mark.parametrize(
    "text",
    [
        "on_hand,location,sku\n5,main,A\n",
        "sku,location,on_hand\r\nA,main,5\r\n",
        "sku,location,on_hand\nA,main,5",
        '"sku","location","on_hand"\n"A","main","5"\n',
        "\ufeffsku,location,on_hand\nA,main,5\n",
        "sku,location,on_hand\n\nA,main,5\n\n",
    ],
    ids=["order of columns", "crlf", "no last line end", "quoted", "byte order mark", "blank lines"],
)
async def test_csv_is_read_as_programs_write_it(api: Client, text: str) -> None:
    """Columns by name, either line end, quotes, a byte order mark, blank lines."""
    assert (await tally(api, text))[0] == 1
    assert (await api.stock("A"))["on_hand"] == 5


async def test_csv_sku_may_hold_commas_quotes_and_any_letter(api: Client) -> None:
    """Quoted as CSV quotes."""
    text = 'sku,location,on_hand\n"a,b",main,1\n"say ""hi""",main,2\n日本,main,3\n'

    assert await tally(api, text) == (3, 0, 0, 0)
    assert [(await api.stock(sku))["on_hand"] for sku in ("a,b", 'say "hi"', "日本")] == [1, 2, 3]


async def test_bad_rows_of_csv_are_told_and_the_others_stand(api: Client) -> None:
    """Each bad row by its number, in order; the numbers are as far apart as the rows are."""
    rows = [
        "A,main,5",
        "B,main,-1",
        "C,main,5",
        "D,main,x",
        ",main,5",
        "E,no good,5",
        "F,main,1.5",
        "G,main,",
        "H,main",
        "I,main,1000000001",
        "J,main,5,9,9,9",
        "K,main,5",
    ]

    answer = await sent(api, "sku,location,on_hand\n" + "\n".join(rows))

    assert answer.body["applied"] == 3
    numbers = [rejected["row"] for rejected in answer.body["rejected"]]
    bad = [index for index, row in enumerate(rows) if row[:1] not in {"A", "C", "K"}]
    assert [number - numbers[0] for number in numbers] == [index - bad[0] for index in bad]
    assert [(await api.stock(sku))["on_hand"] for sku in "ACK"] == [5, 5, 5]
    assert (await api.get("/v1/stock/B")).status == 404


async def test_bad_rows_of_ndjson_are_told_and_the_others_stand(api: Client) -> None:
    """Broken JSON, other types, unknown fields, bytes that are no UTF-8: none of them stops the import."""
    good = b'{"sku":"A","location":"main","on_hand":5}'
    bad = [
        b"{",
        b"[]",
        b"null",
        b'{"sku":"B","location":"main","on_hand":"5"}',
        b'{"sku":"B","location":"main","on_hand":5.0}',
        b'{"sku":"B","location":"main","on_hand":true}',
        b'{"sku":"B","location":"main","on_hand":5,"typo":1}',
        b'{"sku":"B","location":"main","on_hand":5,"on_hand":6}',
        b'{"sku":"\xff","location":"main","on_hand":5}',
        b'{"sku":"B","on_hand":5}',
        b'{"location":"main","on_hand":5}',
        b'{"sku":"B","location":"main","on_hand":NaN}',
        b'{"sku":"B","location":"main","on_hand":5}{}',
        b"[" * 5000,
    ]

    answer = await sent(api, b"\n".join([*bad, good]), NDJSON)

    assert (answer.body["applied"], len(answer.body["rejected"])) == (1, len(bad))
    assert (await api.stock("A"))["on_hand"] == 5
    assert (await api.get("/v1/stock/B")).status == 404


async def test_csv_row_that_is_no_utf8_is_told_and_the_others_stand(api: Client) -> None:
    """A damaged row never stops an import."""
    text = b"sku,location,on_hand\nA,main,5\n\xff\xfe,main,5\nB,main,6\n"

    assert await tally(api, text) == (2, 0, 0, 1)


async def test_csv_row_with_a_quote_inside_its_quotes_is_told(api: Client) -> None:
    """`"TV 55" black"` is no field of CSV: it must not become a sku of another name."""
    assert await tally(api, 'sku,location,on_hand\n"TV 55" black",main,5\nB,main,1\n') == (1, 0, 0, 1)


async def test_import_again_changes_nothing(api: Client) -> None:
    """The same sequence with the same content: unchanged."""
    text = "sku,location,on_hand\nA,main,5\nB,main,6\n"
    await tally(api, text)
    before = await api.level("A")

    assert await tally(api, text) == (0, 2, 0, 0)
    assert await api.level("A") == before


async def test_import_that_is_too_old_is_stale(api: Client) -> None:
    """A lower sequence, or the same one with other content, is counted and left out; newer rows are applied."""
    await tally(api, "sku,location,on_hand\nA,main,5\n", sequence=10)

    assert await tally(api, "sku,location,on_hand\nA,main,4\nB,main,1\n", sequence=9) == (1, 0, 1, 0)
    assert await tally(api, "sku,location,on_hand\nA,main,4\n", sequence=10) == (0, 0, 1, 0)
    assert await tally(api, "sku,location,on_hand\nA,main,4\n", sequence=11) == (1, 0, 0, 0)
    assert (await api.stock("A"))["on_hand"] == 4


async def test_import_shares_its_sequences_with_put(api: Client) -> None:
    """One sequence per level and source, whichever call it came by."""
    await api.put_level("A", source="erp", sequence=10, on_hand=5)

    assert await tally(api, "sku,location,on_hand\nA,main,1\n", sequence=9) == (0, 0, 1, 0)
    assert await tally(api, "sku,location,on_hand\nA,main,1\n", sequence=11) == (1, 0, 0, 0)
    assert (await api.put_level("A", source="erp", sequence=11, on_hand=9)).outcome == (409, "stale_sequence")


async def test_row_may_bring_its_own_sequence(api: Client) -> None:
    """A column `sequence` is that row's; a row without falls back to the query's."""
    text = "sku,location,on_hand,sequence\nA,main,5,70\nB,main,6,\nC,main,7,0\n"

    assert await tally(api, text, sequence=3) == (2, 0, 0, 1)
    assert (await api.level("A"))["sequences"] == {"erp": 70}
    assert (await api.level("B"))["sequences"] == {"erp": 3}


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"source": None}, "source"),
        ({"sequence": "x"}, "sequence"),
        ({"sequence": 0}, "sequence"),
        ({"sequence": 2**53}, "sequence"),
        ({"sequence": "1.0"}, "sequence"),
    ],
)
async def test_import_with_a_wrong_parameter_is_refused_whole(api: Client, query: dict[str, Any], field: str) -> None:
    """422 names it, no row is applied."""
    answer = await sent(api, "sku,location,on_hand\nA,main,5\n", **query)

    assert (answer.outcome, answer.fields) == ((422, "invalid_request"), [field])
    assert (await api.get("/v1/stock/A")).status == 404


@pytest.mark.parametrize("kind", [None, "application/json", "text/plain", "application/octet-stream"])
async def test_import_of_another_type_is_unsupported(api: Client, kind: str | None) -> None:
    """415 `unsupported_media_type`."""
    answer = await api.post(
        "/v1/stock/import", raw=b"sku,location,on_hand\nA,main,5\n", content_type=kind, source="erp", sequence=1
    )

    assert answer.outcome == (415, "unsupported_media_type")


async def test_import_larger_than_any_other_body_is_streamed(api: Client) -> None:
    """More than 1 MiB of rows, none of them long; each is there afterwards."""
    rows, filling = 2_400, "😀" * 110
    text = "sku,location,on_hand\n" + "".join(f"sku-{row:06d}-{filling},main,{row}\n" for row in range(rows))
    assert len(text.encode()) > 1_048_576

    assert await tally(api, text) == (rows, 0, 0, 0)
    assert (await api.stock(f"sku-{rows - 1:06d}-{filling}"))["on_hand"] == rows - 1


async def test_sku_twice_in_an_import_of_one_sequence_is_counted_once(api: Client) -> None:
    """The second row of a level under the same sequence: unchanged if it says the same, stale if not."""
    text = "sku,location,on_hand\nA,main,5\nA,main,5\nA,main,6\n"

    assert await tally(api, text) == (1, 1, 1, 0)
    assert (await api.stock("A"))["on_hand"] == 5


async def test_import_leaves_holds_alone(api: Client) -> None:
    """Only on_hand is told; what is held stays held."""
    await api.stock_up("A", 5)
    await api.hold("A", 3)

    await tally(api, "sku,location,on_hand\nA,main,9\n")

    assert await api.counters("A") == (9, 3, 0, 6)
