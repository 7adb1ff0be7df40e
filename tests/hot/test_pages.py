"""Keys are walked through page by page, to the end."""

from __future__ import annotations

from typing import cast

from gateway.hot.pages import key_pages
from gateway.hot.shard import Shard


class Server:
    """A shard whose server answers SCAN with these pages, each under its cursor."""

    def __init__(self, pages: dict[str, tuple[str, list[str]]]) -> None:
        self.pages = pages
        self.asked: list[tuple[str, str, int]] = []

    async def scan(self, cursor: str, pattern: str, count: int) -> tuple[str, list[str]]:
        self.asked.append((cursor, pattern, count))
        return self.pages[cursor]


async def test_pages_are_read_to_the_end_and_an_empty_one_is_not_it() -> None:
    """The end is where the server says so: a page without a match, and a cursor that is large, are on the way."""
    server = Server({"0": ("18446744073709551615", ["a:1"]), "18446744073709551615": ("4", []), "4": ("0", ["a:2"])})

    pages = [page async for page in key_pages(cast("Shard", server), "a:", 7)]

    assert pages == [["a:1"], [], ["a:2"]]
    assert server.asked == [("0", "a:*", 7), ("18446744073709551615", "a:*", 7), ("4", "a:*", 7)]
