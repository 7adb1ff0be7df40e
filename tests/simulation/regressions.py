"""Seeds that once failed, and why: they run before all others. A change of the simulation gives a seed another meaning, so each
fault found also has a test of its own, and stands in the list of planted bugs, which finds it anew by whatever seed it takes."""

from __future__ import annotations

from typing import Final

REGRESSIONS: Final[dict[str, str]] = {
    "29": "two primaries: a shard was adopted with what its server had written after the recorded end of its epoch",
    "125": "the same, with one commit unknown before",
    "287": "a resend that came too late was told as `overloaded` with an unknown outcome, which the contract does not have",
    "297": "the same in front of a frozen gateway",
    "50355": "a confirm whose reply was lost was applied, then released by another, and its resend was told that nothing had happened",
}
