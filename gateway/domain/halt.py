"""A halt in words: a shard that waits for its operator."""

from __future__ import annotations


def halted(reason: str, subject: str = "the shard") -> str:
    """What is told to whoever wanted work done."""
    return f"{subject} is halted: {reason}"


def halted_with_advice(reason: str, subject: str = "the shard") -> str:
    """What is told to whoever looks after it."""
    return f"{halted(reason, subject)}; see `gateway repair --plan`"
