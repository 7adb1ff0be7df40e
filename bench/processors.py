"""Which processors a run may use, and for what.

The web worker that is measured has one processor to itself; load generator, Redis and PostgreSQL share the others. Left to itself
the scheduler of a machine of two often puts the generator beside the worker: a worker was seen to wait for its processor for 2 to 20
percent of a round while the other one was idle, at random, so the same code differed by a fifth from round to round. No-op and
do-it-yourself services are placed in the same way.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

#: The processors of this process when it began.
_ALL = sorted(os.sched_getaffinity(0))
#: Told in the report.
PLACES = (
    f"web worker on processor {_ALL[0]}, everything else on {', '.join(map(str, _ALL[1:]))}"
    if len(_ALL) > 1
    else "everything on the only processor"
)


def leave_room() -> None:
    """This process, and whatever it starts from now on, keeps off the worker's processor."""
    if len(_ALL) > 1:
        os.sched_setaffinity(0, _ALL[1:])


def is_one() -> bool:
    """Whether there is one processor for everything."""
    return len(_ALL) == 1


@contextmanager
def alone() -> Iterator[None]:
    """Within it this process is where the worker will be."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, _ALL[:1])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def share(worker: int) -> None:
    """The process of this id, and what it starts from now on, may use all processors."""
    os.sched_setaffinity(worker, _ALL)


def give_room(worker: int) -> None:
    """The process of this id, a web worker that was just started, has the worker's processor."""
    os.sched_setaffinity(worker, _ALL[:1])
