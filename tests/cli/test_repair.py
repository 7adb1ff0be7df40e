"""What `gateway repair` says of a plan, to people."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.cli.repair import _carry_out, _Order

STEP = {
    "kind": "level_corrected",
    "where": "main/tee/main",
    "change": "held 3 → held 2",
    "reason": "the log told held 2",
}


def plan(steps: int) -> dict[str, Any]:
    """A plan of so many steps, which is done as soon as it is asked for."""
    shown = {"shard": 0, "state": "open", "halted_reason": None, "plan_id": "0a", "applied": True}
    return shown | {"steps": [STEP] * steps, "for_human": []}


@pytest.mark.parametrize(("steps", "told"), [(1, "1 step"), (2, "2 steps")])
def test_repair_tells_one_step_as_one(capsys: pytest.CaptureFixture[str], steps: int, told: str) -> None:
    """What is planned and what was done is told in the number that fits."""
    order = _Order(is_apply=True, adopt=None, reason="ticket 7", plan_id="0a", is_sure=True)

    _carry_out(order, lambda body: plan(steps))

    said = capsys.readouterr().out.splitlines()
    assert f"plan 0a: {told}, 0 for a human" in said
    assert f"done: {told}; the shard is open under a new epoch" in said
