"""`gateway flashsale` against a real gateway: two seconds of a sale, and what it leaves behind."""

from __future__ import annotations

from pathlib import Path

from tests.acceptance.client import Client
from tests.acceptance.gateways import Gateway
from tests.cli.playing import command
from tests.cli.selling import reports


async def test_flashsale_of_a_real_gateway_is_exact_and_leaves_nothing(
    gateway: Gateway, api: Client, shop: str, tmp_path: Path
) -> None:
    """Buyers, bots, duplicates and holds that fall due: nothing is oversold or lost, every reservation of the sale has ended, and
    its skus are paused and empty.
    """
    status, out, err = await command(
        "flashsale", "--url", gateway.address, "--shop", shop, "--skus", "2", "--units", "15", "--buyers", "160",
        "--rate", "80", "--abandon", "0.3", "--pay-delay", "exp:0.2", "--ttl", "1", "--duplicate-requests", "0.3",
        "--bots", "0.05", "--bot-tries", "5", "--report", str(tmp_path),
    )  # fmt: skip
    assert status == 0, out + err
    page, told = reports(tmp_path)
    verdict = told["verdict"]

    assert verdict["is_exact"] is True
    assert verdict["committed"] == verdict["sold"] == told["results"]["sold"] > 0
    assert verdict["committed"] + verdict["held"] + verdict["available"] == 30
    assert verdict["checked"]["conservation"] == 1
    assert verdict["checked"]["reservations_searched"] + verdict["checked"]["reservations_read"] >= verdict["holds"]
    assert told["cleanup"]["failures"] == []
    assert told["gateway"]["version"] != "unknown"
    assert "<svg" in page
    for number in (1, 2):
        left = await api.stock(f"flashsale-{told['run']}-{number}")
        assert left["paused"]
        assert (left["on_hand"], left["held"], left["committed"], left["available"]) == (0, 0, 0, 0)
    for state in ("held", "confirmed"):
        assert (await api.get("/v1/reservations", reference=told["run"], state=state)).body["reservations"] == []
