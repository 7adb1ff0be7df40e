"""Counts as people read them."""

from __future__ import annotations


def counted(count: int, noun: str) -> str:
    """The count and its noun, in the number that fits: `1 step`, `2 steps`. For nouns that take an s."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
