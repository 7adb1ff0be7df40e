"""Reservation Gateway: units of stock are promised once, with a deadline, and never lost."""

from __future__ import annotations

__version__ = "0.1.0"
