"""Two buyers who never give up: while something is broken and mended, they tell when a hold and when a sale succeeded."""

from __future__ import annotations

import http.client
import json
import threading
import time
from itertools import pairwise
from typing import Literal

from bench.failure import ServerFailure

SKU = "PROBE"
ON_HAND = 10_000_000
ANSWER_SECONDS_MAX = 3.0
PAUSE_SECONDS = 0.005
STEADY = 5  # successes after a fault before it counts as over
Kind = Literal["hold", "sale"]


class Probe:
    """A context; inside it one buyer reserves (acknowledged from memory), and another one reserves and confirms (durable)."""

    def __init__(self, port: int) -> None:
        """Nothing is sent yet. The sku `PROBE` must be there."""
        self._port = port
        self._succeeded_s: dict[Kind, list[float]] = {"hold": [], "sale": []}
        self._is_over = threading.Event()
        kinds: tuple[Kind, ...] = ("hold", "sale")
        self._threads = [threading.Thread(target=self._run, args=(kind,), name=f"probe-{kind}") for kind in kinds]

    def __enter__(self) -> Probe:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def wait_steady(self, since_s: float, seconds_max: float) -> None:
        """Several holds and several sales have succeeded since then (`time.monotonic`). Raises ServerFailure."""
        deadline_s = time.monotonic() + seconds_max
        while any(sum(at_s > since_s for at_s in [*times]) < STEADY for times in self._succeeded_s.values()):
            if time.monotonic() > deadline_s:
                raise ServerFailure(f"no hold or no sale in {seconds_max:.0f} s")
            time.sleep(0.02)

    def closed_s(self, kind: Kind, since_s: float) -> float:
        """The longest time between two successes one after the other, the second of which came after this instant."""
        times = [*self._succeeded_s[kind]]
        return max(after_s - before_s for before_s, after_s in pairwise(times) if after_s > since_s)

    def _run(self, kind: Kind) -> None:
        body = json.dumps({"lines": [{"sku": SKU, "quantity": 1}], "tier": "order"})
        client = _Client(self._port)
        while not self._is_over.is_set():
            told = client.ask("/v1/reservations?ack=memory", body, 201)
            if told is not None and kind == "sale":
                told = client.ask(f"/v1/reservations/{told['id']}/confirm?ack=durable", "{}", 200)
            if told is not None:
                self._succeeded_s[kind].append(time.monotonic())
            time.sleep(PAUSE_SECONDS)
        client.close()


class _Client:
    """A connection that is made anew when it breaks."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connection: http.client.HTTPConnection | None = None

    def ask(self, path: str, body: str, status: int) -> dict[str, str] | None:
        """The answer, where it has this status; None for all else."""
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=ANSWER_SECONDS_MAX)
        try:
            self._connection.request("POST", path, body, {"Content-Type": "application/json"})
            answer = self._connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException):
            self.close()
            return None
        told: dict[str, str] | None = json.loads(text) if answer.status == status else None
        return told

    def close(self) -> None:
        """There is no connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
