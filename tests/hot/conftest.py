"""Links that look at nothing by the clock, unless a test wants it."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def unwatched(monkeypatch: pytest.MonkeyPatch) -> None:
    """No link asks its server in between whether it is still the same one: where a machine stands still, that is at any moment."""
    monkeypatch.setattr("gateway.hot.connection.WATCH_S", 3600.0)
