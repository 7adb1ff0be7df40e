"""The stores and gateways of the service tests, for the flusher between them."""

from __future__ import annotations

from tests.service.conftest import each_database, each_store, idle, stores

__all__ = ["each_database", "each_store", "idle", "stores"]
