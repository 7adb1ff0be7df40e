"""The stores and gateways of the service tests, for the process around them."""

from __future__ import annotations

from tests.service.conftest import idle, stores

__all__ = ["idle", "stores"]
