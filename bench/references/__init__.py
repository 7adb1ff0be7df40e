"""The servers that the gateway is compared with, each a program of its own."""

from __future__ import annotations
