"""The library of scripts on a server, before the first of them is called."""

from __future__ import annotations

from gateway.domain.errors import HotStoreUnavailable
from gateway.hot.shard import Shard


async def ensure_library(shard: Shard) -> None:
    """The server knows the scripts. A full one refuses FUNCTION LOAD, also of what it has already. Raises HotStoreUnavailable."""
    if await shard.ask_list("FUNCTION", "LIST", "LIBRARYNAME", shard.scripts.library):
        return
    try:
        await shard.load_scripts()
    except HotStoreUnavailable as problem:
        if "OOM" in problem.detail:
            raise HotStoreUnavailable(f"{problem.detail} Redis takes no scripts when full: raise it") from problem
        raise
