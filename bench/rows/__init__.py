"""The rows of the table, in its order. A new row is a module here and a line in `ROWS`."""

from __future__ import annotations

from bench.row import Row
from bench.rows.batch import Batch
from bench.rows.batch_1000 import Batch1000
from bench.rows.diy import Diy
from bench.rows.diy_tuned import DiyTuned
from bench.rows.diy_wide import DiyWide
from bench.rows.drain import Drain
from bench.rows.durable import Durable
from bench.rows.durable_256 import Durable256
from bench.rows.durable_open import DurableOpen
from bench.rows.hot import Hot
from bench.rows.hot_open import HotOpen
from bench.rows.life import Life
from bench.rows.memory import Memory
from bench.rows.million_holds import MillionHolds
from bench.rows.million_skus import MillionSkus
from bench.rows.multi_line import MultiLine
from bench.rows.noop import Noop
from bench.rows.noop_256 import Noop256
from bench.rows.noop_get import NoopGet
from bench.rows.noop_lines import NoopLines
from bench.rows.noop_wide import NoopWide
from bench.rows.overload import Overload
from bench.rows.read import Read
from bench.rows.recovery import Recovery
from bench.rows.script import Script
from bench.rows.sold_out import SoldOut
from bench.rows.sustained import Sustained
from bench.rows.wide import Wide
from bench.rows.workers import Workers

#: In the order in which they are played and shown.
_IN_ORDER: tuple[type[Row], ...] = (
    Noop,
    NoopGet,
    Noop256,
    NoopLines,
    NoopWide,
    Diy,
    DiyTuned,
    DiyWide,
    Script,
    Hot,
    HotOpen,
    Wide,
    MultiLine,
    Batch,
    Batch1000,
    Durable,
    DurableOpen,
    Durable256,
    SoldOut,
    Life,
    Read,
    Memory,
    Drain,
    Workers,
    Sustained,
    MillionHolds,
    MillionSkus,
    Overload,
    Recovery,
)
ROWS: dict[str, type[Row]] = {row.name: row for row in _IN_ORDER}
