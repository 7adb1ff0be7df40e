"""What the worker's processor loses while the others work: two that share a core, or its caches, are not twice one.

It differs between machines and, on rented ones, between hours. A no-op leaves the second processor nearly idle; a gateway keeps Redis,
PostgreSQL and the generator busy there, so how much of the first one is left decides the ratio between the two.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from statistics import median

from bench.processors import alone, is_one

TURNS = 7
SECONDS = 0.12
#: Some 60 kB of text, and several times that as objects: more than the first cache, less than the second.
TEXT = json.dumps([{"sku": f"SKU-{number:04}", "quantity": number, "location": "main"} for number in range(1000)])


def work(seconds: float) -> float:
    """How often a second this thread reads and writes the text."""
    began = now = time.perf_counter()
    count = 0
    while now - began < seconds:
        json.dumps(json.loads(TEXT))
        count += 1
        now = time.perf_counter()
    return count / (now - began)


def told_contention() -> str:
    """The part of its speed that the worker's processor keeps while another one does the same work, in words."""
    if is_one():
        return "there is no other one"
    shares = []
    with subprocess.Popen([sys.executable, "-m", __name__]) as other, alone():
        try:
            for _ in range(TURNS):
                other.send_signal(signal.SIGSTOP)
                by_itself = work(SECONDS)
                other.send_signal(signal.SIGCONT)
                shares.append(work(SECONDS) / by_itself)
        finally:
            other.kill()
    return told(shares)


def told(shares: list[float]) -> str:
    """The turns in words."""
    return f"{median(shares):.2f} of its speed ({min(shares):.2f} to {max(shares):.2f})"


if __name__ == "__main__":
    parent = os.getppid()
    while os.getppid() == parent:  # nobody stays behind
        work(SECONDS)
