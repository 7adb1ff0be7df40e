"""`gateway repair` on real stores: shown first, asked, done; by the gateway that runs, or without one."""

from __future__ import annotations

import os

from tests.cli.playing import command
from tests.contract.sql import run_sql
from tests.service.gateway import Gateway, running
from tests.service.stores import Stores

CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}


async def repair(stores: Stores, *words: str, given: bytes = b"", **settings: str) -> tuple[int, str, str]:
    """The command beside no gateway: port 0 can be nobody's address."""
    environ = {
        **CLEAN,
        "GATEWAY_DATABASE_URL": stores.database_url,
        "GATEWAY_REDIS_URL": stores.redis_url,
        "GATEWAY_PORT": "0",
        **settings,
    }
    return await command("repair", *words, given=given, environ=environ)


async def trade(gateway: Gateway) -> None:
    """Some history, committed."""
    await gateway.put("tee", 10, ack="durable")
    await gateway.reserve(("tee", 2), ack="durable")


async def test_repair_command_without_a_gateway_plans_asks_and_repairs(each_database: Stores) -> None:
    """Clean books are 0. Damage is shown and 1; a no at the question changes nothing; --yes repairs; then books are clean again."""
    async with running(each_database) as gateway:
        await trade(gateway)
    clean = await repair(each_database)
    await run_sql(each_database.database_url, "UPDATE levels SET held = 5")

    shown = await repair(each_database, "--plan")
    no = await repair(each_database, "--apply", "--reason", "ticket 7", given=b"n\n")
    ((held,),) = await run_sql(each_database.database_url, "SELECT held FROM levels")
    yes = await repair(each_database, "--apply", "--reason", "ticket 7", "--yes")
    again = await repair(each_database, "--apply", "--reason", "ticket 7", "--yes")

    assert clean[0] == 0, clean
    assert "port is 0, so no gateway can be found: its stores are opened here" in clean[1]
    assert shown[0] == 1, shown
    assert "1. level_corrected main/tee/main: on_hand 10, held 5, committed 0" in shown[1]
    assert "→ on_hand 10, held 2, committed 0" in shown[1]
    assert "3 steps, 0 for a human" in shown[1]
    assert (no[0], held) == (1, 5), no
    assert "nothing was done" in no[1]
    assert yes[0] == 0, yes
    assert "done: 3 steps" in yes[1]
    assert again[0] == 0, again
    assert "0 steps" in again[1]
    async with running(each_database) as gateway:
        assert await gateway.violations() == []
        events = await gateway.ledger.read_events(0, 0, 100)
        (told,) = [row.payload for row in events if row.type == "shard.repaired"]
        assert "\toperator\t\tticket 7\t" in told


async def test_repair_command_lifts_a_halt_of_stores_without_a_gateway(stores: Stores) -> None:
    """A shard that halted is shown with its reason, and opened by the repair; the plan's own id answers the question."""
    async with running(stores) as gateway:
        await trade(gateway)
        await gateway.ledger.halt(0, 1, "for a test")

    shown = await repair(stores)
    plan = shown[1].rpartition("plan ")[2].split(":")[0]
    other = await repair(stores, "--apply", "--reason", "looked at it", "--plan-id", "0" * 16)
    done = await repair(stores, "--apply", "--reason", "looked at it", "--plan-id", plan)

    assert "shard 0 is halted: for a test" in shown[1]
    assert other[0] == 1, other
    assert f"{'0' * 16} is not the plan any more" in other[1]
    assert done[0] == 0, done
    async with running(stores) as gateway:
        assert gateway.shard.is_open
        await gateway.reserve(("tee", 8))


async def test_repair_command_that_cannot_tell_ends_with_2(stores: Stores) -> None:
    """No reason, two truths, stores that are not there, an address where nobody is: told in a line, nothing is made."""
    stores.database_url = ""
    reasonless = await repair(stores, "--apply")
    both = await repair(stores, "--adopt-redis", "--adopt-database")
    nowhere = await repair(stores, GATEWAY_DATA_DIR="/nowhere/at/all")
    nobody = await repair(stores, "--url", "http://127.0.0.1:9")

    assert [one[0] for one in (reasonless, both, nowhere, nobody)] == [2] * 4
    assert "--reason" in reasonless[2]
    assert "exclude each other" in both[2]
    assert "there is no data folder /nowhere/at/all" in nowhere[2]
    assert "127.0.0.1:9" in nobody[2]
