"""Seeds that once failed, and why: they run before all others. A change of the simulation gives a seed another meaning, so each
fault found also has a test of its own, and stands in the list of planted bugs, which finds it anew by whatever seed it takes."""

from __future__ import annotations

from typing import Final

REGRESSIONS: Final[dict[str, str]] = {
    "160": "two primaries: a shard was adopted with what its server had written after the recorded end of its epoch",
    "81241": "a gateway at a replaced primary took the holds of a newer epoch, in the durable store, for damage in Redis",
    "464": "a reply lost at the very start of a gateway ended it with a traceback instead of a refusal in one line",
}
