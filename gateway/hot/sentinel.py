"""The sentinels of a service: which primary most of them name.

One answer is not enough: a sentinel that was cut off, frozen or started anew names a primary that is none any more, and to open
the shard there would take it away from those who work on the true one. So every sentinel of the URL has a vote, also one that
does not answer, and only more than half of them decide. The client library's own discovery takes the first answer it gets.
Source: https://redis.io/docs/latest/develop/reference/sentinel-clients/
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, replace

from gateway.hot.address import Address
from gateway.hot.dial import dial
from gateway.hot.link import Lost, NotSent, Refused, Reply, ReplyError

# A sentinel answers from its memory, in a millisecond; who takes a second, with TLS and login, will not decide anything.
ASK_S_MAX = 1.0


@dataclass(frozen=True, slots=True)
class _Vote:
    """What one sentinel answered; `place` is empty where it named nobody."""

    place: tuple[str, int] | tuple[()]
    text: str


class Sentinels:
    """Those of one URL. Each question is a connection of its own, so that an old answer never stands for a new one."""

    def __init__(self, address: Address) -> None:
        """`address` has the sentinels, and the login, database and TLS of the Redis that they name."""
        self._address = address

    async def primary(self) -> Address:
        """The Redis that more than half of the listed sentinels name, with the login; known after `ASK_S_MAX` at the latest.

        Raises Refused where they do not agree; the message says what each of them answered.
        """
        sentinels = self._address.sentinels
        asked = [asyncio.create_task(self._ask(sentinel)) for sentinel in sentinels]
        counts: Counter[tuple[str, int]] = Counter()
        try:
            for answered in asyncio.as_completed(asked):
                vote = await answered
                if not vote.place:
                    continue
                counts[vote.place] += 1
                if counts[vote.place] * 2 > len(sentinels):
                    host, port = vote.place
                    return replace(self._address, host=host, port=port, sentinels=(), service="")
        finally:
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
        told = "; ".join(f"{one.place} {task.result().text}" for one, task in zip(sentinels, asked, strict=True))
        raise Refused(f"no majority of the sentinels names a primary of {self._address.service}: {told}")

    async def _ask(self, sentinel: Address) -> _Vote:
        try:
            async with asyncio.timeout(ASK_S_MAX):
                wire = await dial(sentinel, ASK_S_MAX)
                try:
                    reply = await wire.call(("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._address.service))
                finally:
                    wire.abort()
        except TimeoutError:
            return _Vote((), f"does not answer within {ASK_S_MAX:g} s")
        except (OSError, Refused, ReplyError, Lost, NotSent) as problem:
            return _Vote((), f"can not be asked ({problem})")
        return _vote(reply)


def _vote(reply: Reply) -> _Vote:
    if reply is None:
        return _Vote((), "does not know it")
    match reply:
        case [str(host), str(port)] if host and port.isdecimal() and 1 <= int(port) <= 65_535:
            return _Vote((host.lower(), int(port)), f"names {host}:{port}")
    return _Vote((), "answers with no address")
