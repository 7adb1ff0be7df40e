"""Random walks through every operation: after each step the scripts and a model in plain Python tell the same.

A failure prints the steps that led to it and the line that repeats it. WALK_EXAMPLES=2000 walks longer than the normal run.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, multiple, rule, run_state_machine_as_test

from gateway.hot.fake import FakeLink
from tests.lua.conftest import socket_link
from tests.lua.warehouse import Warehouse
from tests.servers import RedisServers
from tests.walk.model import Wanted
from tests.walk.walker import LOCATIONS, SKUS, Step, Walker

EXAMPLES = {"valkey": 200, "fakeredis": 15}
STEPS = 50

skus = st.sampled_from(SKUS)
places = st.sampled_from([None, *LOCATIONS, "nowhere"])
wishes = st.lists(st.builds(Wanted, skus, st.integers(1, 4), places), min_size=1, max_size=4)
ttls_ms = st.sampled_from([1, 2, 50, 1000, 60_000])
keys = st.sampled_from(["", "", "k1", "k2", "k3", "k4"])
fingerprints = st.sampled_from(["f1", "f1", "f2"])
few = st.one_of(st.none(), st.integers(0, 6))
preferences = st.one_of(st.none(), st.lists(st.sampled_from([*LOCATIONS, "nowhere"]), max_size=3).map(tuple))


class ShardWalk(RuleBasedStateMachine):
    """One shard, walked through at random. `url` is the server's, None is fakeredis."""

    url: str | None = None
    ids = Bundle("ids")

    def __init__(self) -> None:
        super().__init__()
        self._runner = asyncio.Runner()
        self._has_failed = False
        self.walker: Walker = self.do(self._open())

    def do(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """The coroutine's result, on this walk's own loop."""
        try:
            return self._runner.run(coroutine)
        except BaseException:
            self._has_failed = True
            raise

    async def _open(self) -> Walker:
        link = FakeLink() if self.url is None else socket_link(self.url)
        await link.start()
        walker = Walker(await Warehouse.open(link, f"w{secrets.token_hex(4)}"))
        await walker.begin()
        return walker

    def teardown(self) -> None:
        """The last look at everything, and no key is left."""
        try:
            self.do(self._end())
        finally:
            self._runner.close()

    async def _end(self) -> None:
        warehouse = self.walker.warehouse
        try:
            if not self._has_failed:
                await self.walker.check()
        finally:
            for key in await warehouse.all_keys():
                await warehouse.call("DEL", key)
            await warehouse.link.close()

    @initialize(counts=st.lists(st.integers(0, 6), min_size=6, max_size=6), events=st.sampled_from([0, 0, 0, 984]))
    def stock(self, counts: list[int], events: int) -> None:
        """Small levels, the last sku at one location only; some walks begin where a checkpoint event is near."""
        pairs = [(sku, location) for sku in SKUS for location in LOCATIONS][:5]
        for (sku, location), on_hand in zip(pairs, counts, strict=False):
            self.do(self.walker.step(self.walker.put(sku, location, "erp", 1, (on_hand, None, None), [])))
        self.do(self.walker.age(events))

    def _made(self, step: Step) -> Any:
        """The reservation a step made, for later steps."""
        before = set(self.walker.model.bookings)
        self.do(self.walker.step(step))
        return multiple(*(set(self.walker.model.bookings) - before))

    @rule(
        target=ids,
        wanted=wishes,
        ttl_ms=ttls_ms,
        key=keys,
        fingerprint=fingerprints,
        partial=st.booleans(),
        locations=preferences,
        priority=st.sampled_from([(), ("b",), ("nowhere", "b", "a")]),
    )
    def reserve(self, wanted: list[Wanted], ttl_ms: int, key: str, fingerprint: str, **how: Any) -> Any:
        """A hold of some lines."""
        return self._made(self.walker.reserve(wanted, ttl_ms, key, fingerprint, **how))

    @rule(
        id=ids, tier=st.sampled_from([None, "cart", "checkout"]), ttl_seconds=st.sampled_from([None, 1, 600, 601, 1800])
    )
    def extend(self, id: str, tier: str | None, ttl_seconds: int | None) -> None:
        """Another deadline."""
        self.do(self.walker.step(self.walker.extend(id, tier, ttl_seconds)))

    @rule(id=ids, reacquire=st.booleans(), fulfil=st.booleans())
    def confirm(self, id: str, reacquire: bool, fulfil: bool) -> None:
        """A sale."""
        self.do(self.walker.step(self.walker.confirm(id, reacquire=reacquire, fulfil=fulfil)))

    @rule(id=ids)
    def fulfil(self, id: str) -> None:
        """The units leave."""
        self.do(self.walker.step(self.walker.fulfil(id)))

    @rule(id=ids)
    def release(self, id: str) -> None:
        """The units come back."""
        self.do(self.walker.step(self.walker.release(id)))

    @rule(
        sku=skus,
        location=st.sampled_from(LOCATIONS),
        source=st.sampled_from(["erp", "wms"]),
        sequence=st.integers(1, 9),
        numbers=st.tuples(few, st.one_of(st.none(), st.integers(0, 2)), st.one_of(st.none(), st.integers(-2, 2))),
        reflected=st.lists(ids, max_size=3, unique=True),
    )
    def put(
        self,
        sku: str,
        location: str,
        source: str,
        sequence: int,
        numbers: tuple[int | None, int | None, int | None],
        reflected: list[str],
    ) -> None:
        """A count, a setting, or a stale message."""
        self.do(self.walker.step(self.walker.put(sku, location, source, sequence, numbers, reflected)))

    @rule(pick=st.integers(0, 99), on_hand=st.integers(0, 6))
    def reflect(self, pick: int, on_hand: int) -> None:
        """A count that no longer contains one of the sales, of which it may be a part."""
        self.do(self.walker.reflect_one(pick, on_hand))

    @rule(
        sku=skus,
        location=st.sampled_from([*LOCATIONS, "nowhere"]),
        delta=st.integers(-4, 4).filter(bool),
        key=keys,
        fingerprint=fingerprints,
    )
    def adjust(self, sku: str, location: str, delta: int, key: str, fingerprint: str) -> None:
        """A difference, maybe under a known key."""
        self.do(self.walker.step(self.walker.adjust(sku, location, delta, key, fingerprint)))

    @rule(sku=skus, paused=st.booleans(), reason=st.sampled_from(["", "recall 100%"]))
    def pause(self, sku: str, paused: bool, reason: str) -> None:
        """Off sale, or back."""
        self.do(self.walker.step(self.walker.pause(sku, paused, reason)))

    @rule(
        target=ids,
        wanted=st.lists(wishes, min_size=1, max_size=3),
        changed=st.lists(ids, max_size=3),
        ttl_ms=ttls_ms,
        key=keys,
        kinds=st.lists(
            st.sampled_from(["confirm", "fulfil", "release", "extend", "reacquire"]), min_size=3, max_size=3
        ),
        delta=st.integers(-3, 3).filter(bool),
        order=st.permutations(range(7)),
    )
    def batch(
        self,
        wanted: list[list[Wanted]],
        changed: list[str],
        ttl_ms: int,
        key: str,
        kinds: list[str],
        delta: int,
        order: list[int],
    ) -> Any:
        """Several operations as one unit of work, in any order, also on the same reservation and under the same key."""
        walker = self.walker
        steps = [walker.reserve(wishes, ttl_ms, key, "f1", partial=False) for wishes in wanted]
        for id, kind in zip(changed, kinds, strict=False):
            steps.append(self._change(id, kind))
        steps.append(walker.adjust("A", "a", delta, key, "f1"))
        before = set(walker.model.bookings)
        self.do(walker.batch([steps[n] for n in order if n < len(steps)]))
        return multiple(*(set(walker.model.bookings) - before))

    def _change(self, id: str, kind: str) -> Step:
        walker = self.walker
        if kind == "extend":
            return walker.extend(id, None, 60)
        if kind == "reacquire":
            return walker.confirm(id, reacquire=True, fulfil=False)
        if kind == "confirm":
            return walker.confirm(id, reacquire=False, fulfil=True)
        return getattr(walker, kind)(id)  # type: ignore[no-any-return]

    @rule(ms=st.sampled_from([1, 1, 2, 48, 50, 999, 1000, 600_000, 90_000_000]))
    def advance(self, ms: int) -> None:
        """Time passes."""
        self.do(self.walker.advance(ms))

    @rule(holds_max=st.sampled_from([1, 2, 64]))
    def sweep(self, holds_max: int) -> None:
        """The sweeper's turn."""
        self.do(self.walker.sweep(holds_max))

    @rule(evict=st.booleans())
    def flush(self, evict: bool) -> None:
        """The durable store catches up, and what is settled may go."""
        self.do(self.walker.flush_and_evict(evict))

    @rule()
    def repeat(self) -> None:
        """The last call arrives a second time."""
        self.do(self.walker.repeat())

    @rule()
    def look(self) -> None:
        """Everything is compared."""
        self.do(self.walker.check())


@pytest.mark.timeout(600)  # a failing walk is cut down to its shortest form, which takes its time
@pytest.mark.parametrize("server_id", sorted(EXAMPLES))
def test_walk_scripts_and_model_tell_the_same(
    server_id: str, redis_servers: RedisServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is done in whatever order, every answer, level and reservation is the one the model says."""
    monkeypatch.setattr(ShardWalk, "url", None if server_id == "fakeredis" else redis_servers.url(server_id))
    examples = int(os.environ.get("WALK_EXAMPLES", "0")) or EXAMPLES[server_id]
    run_state_machine_as_test(
        ShardWalk,
        settings=settings(
            max_examples=examples,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            print_blob=True,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        ),
    )
