"""Skus as they are read back: complete, by name, from one state."""

from __future__ import annotations

import asyncio

from gateway.durable.ledger import Ledger, SkuRow, SourceRow
from tests.contract.batches import add, level_row, opened, stored

NAMES = sorted(["a", "B", "b", "Z", "ä", "é", "e\u0301", "👖", "z", "ß", "10", "9", " ", "a b", "a-b", "ab", "штаны"])


async def test_read_sku_that_nobody_told_of_is_none(ledger: Ledger) -> None:
    """No level and no pause: there is no such sku, in this shop or another."""
    await stored(ledger, await opened(ledger), level_row("tee", shop="other"))

    assert await ledger.read_sku("main", "tee") is None
    assert await ledger.read_skus("main", []) == {}
    assert await ledger.read_skus("main", ["tee", "mug"]) == {}


async def test_read_sku_paused_without_a_level_is_there_until_resumed(ledger: Ledger) -> None:
    """A pause alone is worth knowing; a sku that is neither paused nor stocked is not."""
    log = await stored(ledger, await opened(ledger), SkuRow("main", "tee", True, "recall", 1, 1))
    paused = await ledger.read_sku("main", "tee")
    await stored(ledger, log, SkuRow("main", "tee", False, "", 1, 2))

    assert paused is not None
    assert (paused.paused, paused.reason, paused.levels) == (True, "recall", {})
    assert await ledger.read_sku("main", "tee") is None


async def test_read_sku_during_a_flush_is_of_one_commit(ledger: Ledger) -> None:
    """A level, its source and its pause come from the same batch, however the reading meets the writing."""
    log = await opened(ledger)
    torn: list[set[int]] = []

    async def read_on() -> None:
        while not is_over:
            sku = await ledger.read_sku("main", "tee")
            if sku is not None:
                level = sku.levels["main"]
                numbers = {level.on_hand, level.sources["erp"].sequence, int(sku.reason)}
                torn.extend([numbers] if len(numbers) > 1 else [])

    is_over = False
    reading = [asyncio.create_task(read_on()) for _ in range(2)]
    for seq in range(1, 60):
        batch = add(
            log.next(),
            level_row("tee", on_hand=seq, seq=seq),
            SourceRow("main", "tee", "main", "erp", seq, 0, ""),
            SkuRow("main", "tee", True, str(seq), 1, seq),
        )
        assert await ledger.append(batch)
        log = log.moved_past(batch)
    is_over = True
    await asyncio.gather(*reading)

    assert torn == []


async def test_list_skus_pages_by_code_point(ledger: Ledger) -> None:
    """The catalogue comes in the order of code points on every store, no sku twice or left out."""
    levels = [level_row(name, place) for name in NAMES for place in ("east", "main")]
    await stored(
        ledger, await opened(ledger), *levels, level_row("x", shop="other"), SkuRow("main", "p", True, "", 1, 1)
    )

    found: list[str] = []
    while page := await ledger.list_skus("main", found[-1] if found else "", 4):
        assert len(page) <= 4
        assert all(list(sku.levels) == ["east", "main"] for sku in page)
        found += [sku.sku for sku in page]

    assert found == NAMES


async def test_skus_with_holds_are_those_with_units_promised(ledger: Ledger) -> None:
    """A rebuild gets every sku of its shard that has held or committed units, with all levels, in pages."""
    log = await opened(ledger)
    other = await opened(ledger, shard=1)
    await stored(
        ledger,
        log,
        *(level_row(f"held-{at}", held=1) for at in range(5)),
        *(level_row(f"held-{at}", "east") for at in range(5)),
        *(level_row(f"sold-{at}", committed=2, shop="b") for at in range(3)),
        *(level_row(f"free-{at}") for at in range(5)),
        SourceRow("main", "held-1", "east", "erp", 4, 0, "x"),
    )
    await stored(ledger, other, level_row("elsewhere", held=1))

    pages = [page async for page in ledger.skus_with_holds(0, 3)]

    assert [len(page) for page in pages] == [3, 3, 2]
    found = {(sku.shop, sku.sku): sku for page in pages for sku in page}
    assert set(found) == {("main", f"held-{at}") for at in range(5)} | {("b", f"sold-{at}") for at in range(3)}
    assert set(found["main", "held-1"].levels) == {"main", "east"}
    assert found["main", "held-1"].levels["east"].sources["erp"].sequence == 4
