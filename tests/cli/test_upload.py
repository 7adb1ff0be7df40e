"""The import against a fake: every row is accounted for by its line, and no part of the file is ever all in
memory.
"""

from __future__ import annotations

import io
import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.cli.answer import AnswerUnreadable, Denied, GaveUp
from gateway.cli.records import FileUnreadable, Format
from gateway.cli.remote import connect
from gateway.cli.upload import PART_ROWS_MAX, Imported, Part, Upload, parts
from tests.cli.fake_gateway import FakeGateway, fake_gateway, problem
from tests.cli.playing import command


async def upload(
    gateway: FakeGateway,
    content: bytes,
    form: Format = "csv",
    sequence: int = 1,
    progress: list[int] | None = None,
) -> Imported:
    async with connect(gateway.url, "main", patience_seconds=30.0) as remote:
        sending = Upload(remote, form, "erp", sequence)
        if progress is not None:
            sending.advance = progress.append
        return await sending.run(io.BytesIO(content))


async def test_upload_rejected_rows_are_told_by_the_line_of_the_file() -> None:
    """The header is line 1, a quoted newline is two lines, a blank line counts, undecodable bytes reject
    their row alone.
    """
    content = b'sku,location,on_hand\nA,main,1\n"B\nB",main,x\n\nC\xff,main,1\nD,main,y\nE,main,5\n'
    async with fake_gateway() as gateway:
        imported = await upload(gateway, content)

    assert (imported.applied, imported.rejected_count) == (2, 3)
    assert [line for line, _ in imported.rejected] == [3, 6, 7]
    assert gateway.on_hand == {"A": 1, "E": 5}


async def test_upload_again_with_the_same_sequence_changes_nothing() -> None:
    """A rerun is harmless, an older one is stale."""
    content = b"sku,location,on_hand\nA,main,1\nB,main,2\n"
    async with fake_gateway() as gateway:
        first = await upload(gateway, content, sequence=5)
        again = await upload(gateway, content, sequence=5)
        older = await upload(gateway, content, sequence=4)

    assert (first.applied, again.unchanged, older.stale) == (2, 2, 2)


@pytest.mark.parametrize("form", ["csv", "ndjson"])
async def test_upload_large_file_goes_in_parts_and_lines_stay_true(form: Format) -> None:
    """Rows of the third call are told by their line in the file; the progress ends at its size."""
    count, bad = 3 * PART_ROWS_MAX - 10, 2 * PART_ROWS_MAX + 7
    if form == "csv":
        rows = [f"S{n},main,{'x' if n == bad else n}" for n in range(count)]
        content = ("\n".join(["sku,location,on_hand", *rows]) + "\n").encode()
    else:
        rows = [
            json.dumps({"sku": f"S{n}", "location": "main", "on_hand": "x" if n == bad else n}) for n in range(count)
        ]
        content = "\n".join(rows).encode()
    progress: list[int] = []
    async with fake_gateway() as gateway:
        imported = await upload(gateway, content, form, progress=progress)

    assert imported.applied == count - 1
    assert [line for line, _ in imported.rejected] == [bad + (2 if form == "csv" else 1)]
    assert len(gateway.uploads) == 3
    assert progress == sorted(progress)
    assert progress[-1] == len(content)


async def test_upload_part_whose_answer_was_lost_is_sent_again() -> None:
    """A broken connection costs one part: it is repeated, and every row is accounted for once."""
    rows = b"".join(b"S%d,main,%d\n" % (n, n) for n in range(4 * PART_ROWS_MAX))
    async with fake_gateway(3, lost_before=0.3, lost_after=0.3) as gateway:
        imported = await upload(gateway, b"sku,location,on_hand\n" + rows)

    assert imported.applied + imported.unchanged == 4 * PART_ROWS_MAX
    assert len(gateway.requests) > 4
    assert len(gateway.on_hand) == 4 * PART_ROWS_MAX


def test_upload_memory_is_bounded_by_one_part() -> None:
    """Cutting 40 MB into parts takes some parts' worth of memory, not the file's."""

    class Endless(io.RawIOBase):
        def __init__(self) -> None:
            self.left = 40_000_000

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
            size = min(len(buffer), self.left) // 100 * 100
            buffer[:size] = (b"S,main," + b"1" * 92 + b"\n") * (size // 100)
            self.left -= size
            return size

    def rows(made: Iterator[Part]) -> int:
        return sum(len(part.lines) for part in made)

    tracemalloc.start()
    try:
        counted = rows(parts(io.BufferedReader(Endless(), 64_000), "csv", lambda line, reason: None))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert counted == 399_999
    assert peak < 8_000_000


async def test_upload_answer_that_does_not_account_for_every_row_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A gateway that answers for fewer rows than it was sent has lost some."""
    from aiohttp import web

    async def forgetful(self: FakeGateway, request: web.Request) -> web.Response:
        await request.read()
        return web.json_response({"applied": 1, "unchanged": 0, "stale": 0, "rejected": []})

    monkeypatch.setattr(FakeGateway, "_import", forgetful)
    async with fake_gateway() as gateway:
        with pytest.raises(AnswerUnreadable, match="2 rows, lines 2 to 3"):
            await upload(gateway, b"sku,location,on_hand\nA,main,1\nB,main,2\n")


async def test_upload_refusal_and_absence_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused call carries the gateway's words; a gateway that is gone is given up after the patience."""

    async def refusing(self: FakeGateway, request: object) -> object:
        return problem(422, "invalid_request")

    content = b"sku,location\nA,main\n"
    async with fake_gateway() as gateway:
        monkeypatch.setattr(FakeGateway, "_import", refusing)
        await gateway.stop()
        await gateway.start()
        with pytest.raises(Denied, match="invalid_request: it is invalid_request"):
            await upload(gateway, content)
        await gateway.stop()
        async with connect(gateway.url, "main", patience_seconds=0.2) as remote:
            with pytest.raises(GaveUp):
                await Upload(remote, "csv", "erp", 1).run(io.BytesIO(content))
        await gateway.start()


def test_upload_file_without_a_header_is_refused() -> None:
    """An empty CSV, or one whose header cannot be read, is told as such."""
    with pytest.raises(FileUnreadable, match="empty"):
        list(parts(io.BytesIO(b"\n\n"), "csv", lambda line, reason: None))
    with pytest.raises(FileUnreadable, match=r"line 1.*UTF-8"):
        list(parts(io.BytesIO(b"sku\xff\n"), "csv", lambda line, reason: None))


async def test_import_command_tells_counts_and_bad_lines(tmp_path: Path) -> None:
    """Status 0 when every row was taken, 1 when some were rejected, each with its line; the words of a row
    are not markup.
    """
    good, bad = tmp_path / "good.csv", tmp_path / "bad.csv"
    good.write_bytes(b"sku,location,on_hand\nA,main,1\nB,main,2\n")
    bad.write_bytes(b"sku,location,on_hand\nA,main,1\nB,main,x\nC\xff,main,1\n")
    async with fake_gateway() as gateway:
        words = ("--url", gateway.url, "--source", "erp", "--sequence")
        first = await command("import", str(good), *words, "1")
        second = await command("import", str(bad), *words, "2")

    assert first[0] == 0
    assert "source erp, sequence 1" in first[1]
    assert second[0] == 1
    lines = {words[1]: line for line in second[1].splitlines() if len(words := line.split()) > 2}
    assert "[bad]" in lines["3"]
    assert "not UTF-8" in lines["4"]


async def test_import_command_reads_standard_input() -> None:
    """`-` is standard input; without a sequence the time is taken, and told for a repetition."""
    async with fake_gateway() as gateway:
        content = b'{"sku":"A","location":"main","on_hand":1}\n'
        status, out, _ = await command("import", "-", "--format", "ndjson", "--url", gateway.url, given=content)

    assert status == 0
    assert gateway.on_hand == {"A": 1}
    assert f"sequence {gateway.sequences['A']}" in out
    assert gateway.sequences["A"] > 1_700_000_000_000


async def test_import_command_that_fails_ends_with_status_2(tmp_path: Path) -> None:
    """No file, no gateway, no text: told in plain lines, with how to repeat."""
    path = tmp_path / "stock.csv"
    path.write_bytes(b"sku,location,on_hand\nA,main,1\n")
    utf16 = tmp_path / "utf16.csv"
    utf16.write_bytes("sku\n".encode("utf-16"))
    async with fake_gateway() as gateway:
        missing = await command("import", str(tmp_path / "none.csv"), "--url", gateway.url)
        encoded = await command("import", str(utf16), "--url", gateway.url)
        url = gateway.url
    absent = await command("import", str(path), "--url", url, "--sequence", "9")

    assert [missing[0], encoded[0], absent[0]] == [2, 2, 2]
    assert "No such file" in missing[2]
    assert "UTF-16" in encoded[2]
    assert "repeat it with --source import --sequence 9" in absent[2]
    assert not any("Traceback" in outcome[2] for outcome in (missing, encoded, absent))
