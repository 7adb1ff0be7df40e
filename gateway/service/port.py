"""The surface that `web` works against: one method per thing a caller may want.

Every method raises a `GatewayError` instead of answering when the answer is not a success.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol

from gateway.domain.answer import (
    BatchResult,
    Conservation,
    ImportRow,
    LevelAnswer,
    Readiness,
    ReservationAnswer,
    ReservationPage,
    SkuAnswer,
    StockPage,
)
from gateway.domain.command import (
    Adjust,
    BatchCommand,
    Call,
    Confirm,
    Extend,
    Fulfil,
    Pause,
    PutLevel,
    Release,
    Reserve,
)
from gateway.domain.errors import GatewayError
from gateway.domain.repair import Adopt, Plan, Repair

#: Told how a command ended that nobody awaits: by its answer, by what it was refused with, or None when nothing happened and
#: it is to be asked for in the long way. It may not raise.
Ended = Callable[[ReservationAnswer | GatewayError | None], None]
#: Told before that, while the commit is under way, by what answer it will end if the commit is seen. It may end otherwise.
Expect = Callable[[ReservationAnswer], None]
#: The same for a sku that is read. Who reads it at the same moment gets the same answer: it may not be changed.
SkuRead = Callable[[SkuAnswer | GatewayError | None], None]


class Reservations(Protocol):
    """What may be wanted of reservations."""

    async def reserve(self, command: Reserve, call: Call) -> ReservationAnswer:
        """The lines are held until the deadline, or the command's key held them before."""
        ...

    def begin_reserve(self, command: Reserve, call: Call, ended: Ended, expect: Expect) -> bool:
        """As `reserve`, without a task: True, and `ended` is told later; or False, and nothing was done."""
        ...

    def begin_change(self, command: Confirm | Fulfil | Release, call: Call, ended: Ended, expect: Expect) -> bool:
        """As `confirm`, `fulfil` or `release`, without a task: True, and `ended` is told later; or False, and nothing was done."""
        ...

    async def read(self, reservation_id: str, call: Call) -> ReservationAnswer:
        """The reservation as it is now."""
        ...

    async def extend(self, command: Extend, call: Call) -> ReservationAnswer:
        """The hold's deadline counts from now."""
        ...

    async def confirm(self, command: Confirm, call: Call) -> ReservationAnswer:
        """The hold is a sale."""
        ...

    async def fulfil(self, command: Fulfil, call: Call) -> ReservationAnswer:
        """The units have left the building."""
        ...

    async def release(self, command: Release, call: Call) -> ReservationAnswer:
        """The units are free again."""
        ...

    async def search(
        self,
        call: Call,
        *,
        reference: str | None,
        customer: str | None,
        sku: str | None,
        state: str | None,
        limit: int,
        cursor: str | None,
    ) -> ReservationPage:
        """Raises InvalidRequest (field `cursor`) for a cursor that is not one of ours."""
        ...

    async def batch(
        self, commands: Sequence[BatchCommand], call: Call, *, shops: Sequence[str] = ()
    ) -> list[BatchResult]:
        """One result per command, in order; `shops` names the shop of each, empty: all concern the call's.

        `call.ack` None takes each operation's own default, waited for once at the end.
        """
        ...


class Stock(Protocol):
    """What may be wanted of stock."""

    async def read(self, sku: str, call: Call) -> SkuAnswer:
        """The sku with all its levels."""
        ...

    def begin_read(self, sku: str, call: Call, read: SkuRead) -> bool:
        """As `read`, without a task: True, and `read` is told later; or False, and nothing was done."""
        ...

    async def query(self, skus: Sequence[str], call: Call) -> tuple[list[SkuAnswer], list[str]]:
        """The skus found, in the order asked, and the names not found."""
        ...

    async def catalogue(self, call: Call, *, limit: int, cursor: str | None) -> StockPage:
        """Skus by name, from the durable store."""
        ...

    async def put_level(self, command: PutLevel, call: Call) -> LevelAnswer:
        """What the source tells is applied, or was before."""
        ...

    async def adjust(self, command: Adjust, call: Call) -> LevelAnswer:
        """on_hand has moved by the delta, once per key."""
        ...

    async def pause(self, command: Pause, call: Call) -> SkuAnswer:
        """The sku takes no new reservations, or takes them again."""
        ...

    async def import_rows(
        self, rows: AsyncIterator[ImportRow], source: str, call: Call
    ) -> tuple[int, int, int, list[tuple[int, str]]]:
        """(applied, unchanged, stale, rejected rows with the reason); consumes the rows as they come, bounded in memory."""
        ...


class Operations(Protocol):
    """What operators and load balancers may ask."""

    async def readiness(self) -> Readiness:
        """Whether the gateway can do its work, check by check."""
        ...

    async def metrics(self) -> bytes:
        """The metrics in Prometheus' text format."""
        ...

    async def conservation(self) -> Conservation:
        """Whether Redis, the durable levels, the reservations and the log add up."""
        ...

    async def shards(self) -> list[dict[str, object]]:
        """Each shard as its row in the durable store has it: state, and why it halted."""
        ...

    async def plan_repair(self, adopt: Adopt | None) -> Plan:
        """What a repair would do. Nothing has changed."""
        ...

    async def repair(self, plan_id: str, adopt: Adopt | None, reason: str, actor: str) -> Repair:
        """The plan was carried out; or nothing was done, because it is another one by now."""
        ...

    def policy(self) -> dict[str, object]:
        """The tiers, limits and thresholds in force, their source and version, as JSON."""
        ...

    def reload(self) -> dict[str, object]:
        """The policy after re-reading the configuration.

        Raises InvalidRequest with all errors; the old one then stays.
        """
        ...
