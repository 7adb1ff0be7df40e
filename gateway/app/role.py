"""What a process of the gateway does."""

from __future__ import annotations

from typing import Literal

#: `web` answers requests; `work` opens the shard, flushes and sweeps; `all` does both.
Role = Literal["all", "web", "work"]
