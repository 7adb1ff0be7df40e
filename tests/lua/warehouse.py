"""One open shard with its calls in domain words, a clock that the test moves, and every event it ever wrote.

The clock: scripts never go back behind `meta.clock`. It stands in the future here, so time stands still until a test moves it. No
test sleeps, and a deadline is met to the millisecond on every server.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gateway.domain.command import Adjust, Confirm, Extend, Fulfil, Pause, PutLevel, Release, Reserve, Wish
from gateway.domain.event import GENESIS, Event
from gateway.domain.identifier import ReservationId, fingerprint, mint_random_part
from gateway.domain.policy import Policy, Tier
from gateway.domain.reservation import Reservation, parse_reservation
from gateway.domain.stock import Level, Sku
from gateway.domain.totals import Totals, parse_totals
from gateway.hot import operations
from gateway.hot.connection import Link
from gateway.hot.keys import Keys
from gateway.hot.log import read_entries
from gateway.hot.scripts import Scripts
from gateway.hot.shard import Answer, Limits, Shard
from gateway.paths import lua_dir

SHOP = "main"
ACTOR = "key:test"
START_MS = 2_000_000_000_000  # in 2033: later than the clock of any server that runs these tests
DAY_MS = 86_400_000
TOKEN = "token"  # of the tickets that a test takes
POLICY = Policy(
    tiers={
        "cart": Tier("cart", 300, 600, 1800),
        "checkout": Tier("checkout", 900, 1800, 7200),
    },
    retention_seconds=86_400,
    idle_ttl_seconds=600,
    ended_ttl_seconds=600,
)


@dataclass(frozen=True, slots=True)
class Call:
    """What a script is run with: its name, the keys after the first three, and its own arguments."""

    script: str
    keys: tuple[str, ...]
    arguments: tuple[str, ...]

    @property
    def text(self) -> str:
        """The operation as a batch takes it."""
        return self.arguments[0]


class Warehouse:
    """A shard for one test. `is_damaged` tells the audit after the test that its laws were broken on purpose."""

    def __init__(self, link: Link, prefix: str, backlog_max: int = 1_000_000) -> None:
        self.link = link
        limits = Limits(command_timeout_ms=5000, resend_max=2, backlog_max=backlog_max)
        self.shard = Shard(link, Scripts(lua_dir()), limits, prefix=prefix, number=0)
        self.history: list[Event] = []
        self.entry_ends: list[int] = []  # the last seq of each entry in it
        self.digest = GENESIS
        self.now_ms = START_MS
        self.is_damaged = False
        self._sequence = 0

    @classmethod
    async def open(cls, link: Link, prefix: str, *, backlog_max: int = 1_000_000, ask_ms: int = 0) -> Warehouse:
        """A new shard under epoch 1, its clock at START_MS. `ask_ms`: how long unknown requests are asked for."""
        warehouse = cls(link, prefix, backlog_max)
        shard = warehouse.shard
        await shard.load_scripts()
        shard.open_under(1, 1, link.lineage, 0)
        await warehouse.call("HSET", shard.keys.meta, "clock", START_MS)
        opened = await warehouse.open_epoch(1, ask_ms=ask_ms)
        assert opened[1] == "OPENED", opened
        await warehouse.move_clock_to(START_MS)
        return warehouse

    async def open_epoch(
        self,
        epoch: int,
        *,
        seen: tuple[int, str] = (0, ""),
        seq: int = 0,
        ask_ms: int = 0,
        how: str = "created",
        totals: Totals | None = None,
        expected_ms: int = 0,
        lease_ms: int = 0,
    ) -> list[str]:
        """The raw answer of `open`, as the opening of a shard calls it; totals stay as they are, if none are given."""
        keys = self.keys
        totals = totals or await self.totals()
        return await self.shard.ask_script(
            "open",
            (keys.meta, keys.log),
            "n",
            epoch,
            *seen,
            seq,
            self.digest,
            1,
            0,
            self.link.lineage,
            ask_ms,
            how,
            "test",
            totals.pack(),
            expected_ms,
            lease_ms,
            DAY_MS,
        )

    async def totals(self) -> Totals:
        """What meta counts; nothing before the shard was opened."""
        text = await self.call("HGET", self.keys.meta, "totals")
        return parse_totals(text) if text else Totals()

    @property
    def keys(self) -> Keys:
        """The key names."""
        return self.shard.keys

    async def call(self, *arguments: str | int) -> Any:
        """The reply of a plain command."""
        return await self.link.call(*arguments)

    async def move_clock_to(self, at_ms: int) -> None:
        """It is `at_ms` from now on."""
        self.now_ms = at_ms
        await self.call("HSET", self.keys.meta, "clock", at_ms)
        self.shard.learn_clock(at_ms)

    async def advance(self, ms: int) -> None:
        """`ms` have passed."""
        await self.move_clock_to(self.now_ms + ms)

    async def run(self, call: Call, *, within_ms: int = 0) -> Answer:
        """The answer of one call, as `Shard.run` gives it."""
        return await self.shard.run(call.script, call.keys, call.arguments, within_ms=within_ms)

    async def raw(
        self, call: Call, *, epoch: int | None = None, late_ms: int = 0, backlog_max: int = 1_000_000
    ) -> list[Any]:
        """The reply of the script itself: [nonce, status, now_ms, checkpoint, ...]."""
        keys, shard = self.keys, self.shard
        function, epoch = shard.scripts[call.script].function, epoch or shard.epoch
        names = (keys.meta, keys.log, keys.due, *call.keys)
        reply = await self.call(
            "FCALL", function, len(names), *names, "n", epoch, late_ms, backlog_max, *call.arguments
        )
        assert reply[0] == "n"
        return reply  # type: ignore[no-any-return]

    async def batch(self, *calls: Call) -> list[list[str]]:
        """The results of the calls as one unit of work, each from its status on."""
        answer = await self.run(self.as_batch(*calls))
        assert answer.status == "BATCH", answer
        return answer.fields  # type: ignore[return-value]

    @staticmethod
    def tick(
        horizon_ms: int = 0, lead_ms: int = 1000, *, seen_shift_ms: int = 0, shift_ms: int = 0, asks_on: bool = False
    ) -> Call:
        """A call that lets the clock go on."""
        return Call("tick", (), tuple(map(str, (horizon_ms, lead_ms, seen_shift_ms, shift_ms, DAY_MS, int(asks_on)))))

    @staticmethod
    def lease(lease_ms: int) -> Call:
        """A call that lets the shard work on."""
        return Call("lease", (), (str(lease_ms),))

    async def server_ms(self) -> int:
        """The server's own TIME, which no test moves."""
        seconds, micros = await self.call("TIME")
        return int(seconds) * 1000 + int(micros) // 1000

    @staticmethod
    def as_batch(*calls: Call) -> Call:
        """The calls as one call."""
        return Call("batch", (), tuple(call.text for call in calls))

    @staticmethod
    def as_changes(*calls: Call) -> Call:
        """The confirms, fulfils and releases as one call of several callers."""
        return Call("changes", (), tuple(call.text for call in calls))

    @staticmethod
    def as_group(*calls: Call) -> Call:
        """The reserves as one call of several callers."""
        return Call("group", (), tuple(call.text for call in calls))

    # What a test may ask for; each is a call that has not run yet.

    def reserve(
        self,
        *wishes: Wish,
        ttl_ms: int = 300_000,
        key: str = "",
        fingerprint: str = "f1",
        partial: bool = False,
        locations: list[str] | None = None,
        priority: str = "",
        random_part: str = "",
        reference: str | None = None,
        has_asked: bool = False,
        shop: str = SHOP,
        tier: str = "cart",
    ) -> Call:
        """A hold of all wishes."""
        id = random_part or mint_random_part()
        command = Reserve(
            list(wishes),
            tier,
            reference=reference,
            locations=locations,
            allow_partial=partial,
            idempotency_key=key or None,
            fingerprint=fingerprint,
        )
        text = operations.reserve_text(
            command,
            shop=shop,
            actor=ACTOR,
            random_part=id,
            record=key,
            ttl_ms=ttl_ms,
            priority=priority,
            has_asked=has_asked,
        )
        skus = tuple(self.keys.sku(shop, wish.sku) for wish in wishes)
        return Call("reserve", (self.keys.reservation(id), *skus), (text,))

    def extend(
        self, r: Reservation, *, tier: str | None = None, ttl_seconds: int | None = None, shop: str = SHOP
    ) -> Call:
        """A later or earlier deadline."""
        command = Extend(str(r.id), tier, ttl_seconds)
        return self._change(
            "extend", r, operations.extend_text(command, shop=shop, actor=ACTOR, id=r.id, policy=POLICY)
        )

    def confirm(
        self,
        r: Reservation,
        *,
        reacquire: bool = False,
        fulfil: bool = False,
        policy: Policy = POLICY,
        shop: str = SHOP,
    ) -> Call:
        """A sale."""
        command = Confirm(str(r.id), "reacquire" if reacquire else "reject", fulfil)
        return self._change(
            "confirm", r, operations.confirm_text(command, shop=shop, actor=ACTOR, id=r.id, policy=policy)
        )

    def fulfil(self, r: Reservation, *, shop: str = SHOP) -> Call:
        """The units leave."""
        return self._change("fulfil", r, operations.fulfil_text(Fulfil(str(r.id)), shop=shop, actor=ACTOR, id=r.id))

    def release(self, r: Reservation, *, reason: str | None = None, shop: str = SHOP) -> Call:
        """The units come back."""
        command = Release(str(r.id), reason)
        return self._change("release", r, operations.release_text(command, shop=shop, actor=ACTOR, id=r.id))

    def _change(self, script: str, r: Reservation, text: str) -> Call:
        return Call(script, (self.keys.reservation(r.id.random_part),), (text,))

    def put(
        self,
        sku: str,
        location: str = "main",
        on_hand: int | None = None,
        *,
        source: str = "erp",
        sequence: int = 0,
        deduction: int | None = None,
        safety_stock: int | None = None,
        reflects: Sequence[ReservationId] = (),
        if_match: int | None = None,
        content: str = "",
        shop: str = SHOP,
    ) -> Call:
        """What a source tells; without a sequence the next one of this warehouse."""
        if not sequence:
            self._sequence += 1
            sequence = self._sequence
        command = PutLevel(
            sku, location, source, sequence, on_hand, deduction, safety_stock, tuple(map(str, reflects)), if_match
        )
        content = content or content_digest(on_hand, deduction, safety_stock, tuple(reflects))
        text = operations.put_text(command, shop=shop, actor=ACTOR, content=content, reflects=reflects)
        return Call("put", (self.keys.sku(shop, sku),), (text,))

    def adjust(
        self,
        sku: str,
        delta: int,
        location: str = "main",
        *,
        key: str = "",
        fingerprint: str = "f1",
        if_match: int | None = None,
        has_asked: bool = False,
        reason: str = "correction",
    ) -> Call:
        """on_hand moves by the delta, once per key."""
        key = key or f"adjust-{mint_random_part()}"
        command = Adjust(sku, location, delta, reason, None, key, fingerprint, if_match)
        text = operations.adjust_text(command, shop=SHOP, actor=ACTOR, record=key, has_asked=has_asked)
        return Call("adjust", (self.keys.sku(SHOP, sku), self.keys.request(key)), (text,))

    def pause(self, sku: str, paused: bool = True, reason: str | None = None) -> Call:
        """Off sale, or back."""
        text = operations.pause_text(Pause(sku, paused, reason), shop=SHOP, actor=ACTOR)
        return Call("pause", (self.keys.sku(SHOP, sku),), (text,))

    def read_sku(self, *skus: str, shop: str = SHOP) -> Call:
        """The skus with all levels."""
        declared = tuple(self.keys.sku(shop, sku) for sku in skus)
        return Call("read_sku", declared, tuple(f"{shop}/{sku}" for sku in skus))

    def read_reservation(self, id: ReservationId) -> Call:
        """A reservation as it is."""
        return Call("read_reservation", (self.keys.reservation(id.random_part),), (id.random_part,))

    def expire(self, holds_max: int = 64, *passed: str) -> Call:
        """One sweep, which passes over the holds of these random parts."""
        return Call("expire", (), (str(holds_max), *passed))

    def ticket(self, name: str, token: str = TOKEN, ttl_ms: int = 60_000) -> Call:
        """The right to load an item."""
        return Call("ticket", (self.keys.ticket(name),), (name, token, str(ttl_ms)))

    # What a test builds on; each has run, and went well.

    async def install(self, name: str, texts: Sequence[str], *, ttl_ms: int = 0) -> str:
        """The status of `load` for an item under a ticket of its own."""
        ticket = self.keys.ticket(name)
        await self.call("DEL", ticket)
        taken = await self.run(self.ticket(name))
        assert taken.status == "TAKEN", taken
        reply = await self.shard.ask_script(
            "load", (self.keys.meta, self.keys.named(name), ticket), "n", self.shard.epoch, TOKEN, ttl_ms, *texts
        )
        return reply[1]

    async def create(self, sku: str, *, shop: str = SHOP, ttl_ms: int = 0) -> None:
        """The sku is known, without any level."""
        empty = operations.sku_fields(Sku(shop, sku, False, "", {}), has_ttl=ttl_ms > 0)
        assert await self.install(f"s:{shop}/{sku}", empty, ttl_ms=ttl_ms) in ("LOADED", "PRESENT")

    async def stock(
        self, sku: str, on_hand: int = 10, location: str = "main", *, shop: str = SHOP, safety_stock: int | None = None
    ) -> Sku:
        """The level exists with so many units on hand."""
        await self.create(sku, shop=shop)
        answer = await self.run(self.put(sku, location, on_hand, safety_stock=safety_stock, shop=shop))
        assert answer.status == "APPLIED", answer
        return operations.parse_sku(answer.fields[0])

    async def hold(self, *wishes: Wish, **how: Any) -> Reservation:
        """The wishes are held."""
        answer = await self.run(self.reserve(*wishes, **how))
        assert answer.status == "RESERVED", answer
        return told(answer)

    async def sell(self, *wishes: Wish, **how: Any) -> Reservation:
        """The wishes are confirmed."""
        answer = await self.run(self.confirm(await self.hold(*wishes, **how)))
        assert answer.status == "CONFIRMED", answer
        return told(answer)

    async def sku(self, sku: str, shop: str = SHOP) -> Sku:
        """The sku as read."""
        answer = await self.run(self.read_sku(sku, shop=shop))
        assert answer.status == "SKUS", answer
        return operations.parse_sku(answer.fields[0])

    async def level(self, sku: str, location: str = "main", shop: str = SHOP) -> Level:
        """One level as read."""
        return (await self.sku(sku, shop)).levels[location]

    async def counters(self, sku: str, location: str = "main") -> tuple[int, int, int]:
        """on_hand, held, committed."""
        level = await self.level(sku, location)
        return level.on_hand, level.held, level.committed

    async def settle(
        self,
        *names: str,
        committed: int | None = None,
        idle_ms: int = 600_000,
        ended_ms: int = 600_000,
        retention_ms: int = DAY_MS,
    ) -> Answer:
        """The durable store has everything up to `committed` (default: all); default names are all there are."""
        await self.remember()
        seq = self.history[-1].seq if committed is None else committed
        if not names:
            found = [key.removeprefix(self.keys.base) for key in await self.all_keys()]
            names = tuple(name for name in found if name[:2] in ("s:", "r:", "q:"))
        arguments = (str(seq), str(idle_ms), str(ended_ms), str(retention_ms), *names)
        return await self.run(Call("settle", (), arguments))

    # What a test looks at.

    async def remember(self) -> list[Event]:
        """Every event since the shard was created; new ones are read and verified against the chain."""
        while True:
            after = self.history[-1].seq if self.history else 0
            page = await read_entries(self.shard, after, self.digest, 1000)
            if not page:
                return self.history
            self.digest = page[-1].digest
            for entry in page:
                self.history += entry.events
                self.entry_ends.append(entry.seq)

    async def all_keys(self) -> list[str]:
        """Every key of the shard."""
        found: set[str] = set()
        cursor = "0"
        pattern = self.keys.meta.removesuffix("meta").replace("[", "\\[") + "*"
        while True:
            cursor, page = await self.call("SCAN", cursor, "MATCH", pattern, "COUNT", 1000)
            found.update(page)
            if str(cursor) == "0":
                return sorted(found)

    async def snapshot(self) -> dict[str, Any]:
        """The content of every key, to tell whether anything changed."""
        contents = {key: await self.content(key) for key in await self.all_keys()}
        return {key: content for key, content in contents.items() if content != "none"}  # its life may have just ended

    async def content(self, key: str) -> Any:
        """A key's content, in an order of its own that does not depend on the server."""
        kind = await self.call("TYPE", key)
        if kind == "string":
            return await self.call("GET", key) or "none"  # its life may have ended just now
        if kind == "hash":
            flat = await self.call("HGETALL", key)
            return dict(sorted(zip(flat[::2], flat[1::2], strict=True)))
        if kind == "zset":
            flat = await self.call("ZRANGE", key, 0, -1, "WITHSCORES")
            return {member: int(score) for member, score in zip(flat[::2], flat[1::2], strict=True)}
        if kind == "stream":
            return await self.call("XRANGE", key, "-", "+")
        return kind


def content_digest(*told: object) -> str:
    """What tells one message from another, the same in every run."""
    return fingerprint(repr(told).encode())


def told(answer: Answer) -> Reservation:
    """The reservation in an answer."""
    return parse_reservation(0, answer.fields[0], answer.fields[1])


def wish(sku: str, quantity: int, location: str | None = None) -> Wish:
    """Units of a sku."""
    return Wish(sku, quantity, location)
