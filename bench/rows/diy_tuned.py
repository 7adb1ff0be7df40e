"""diy_tuned: as `diy`, its pool cut to what one hot row can use: more connections only queue for the lock.

Measured on 2 cores, median of five rounds: 2.4k reserves/s with 1 connection, 4.0k with 2, 4.6k with 3, 3.8k
with 4, 2.8k with 10, 1.8k with 32. Over 10,000 skus it is the other way round: 5.2k with 3, 7.2k with 10 to
32. So nobody who sells more than one sku would choose it; it is the strongest form of the reference, shown so
that the reader can judge.
"""

from __future__ import annotations

from bench.rows.diy import Diy


class DiyTuned(Diy):
    """POST of one line of one hot sku, to a service with three connections."""

    name = "diy_tuned"
    title = "reference: the same, pool tuned for one hot sku"
    connections = 3
