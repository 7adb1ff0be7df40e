"""The buyers of `gateway flashsale` for locust: reserve, then pay and confirm, or walk away. What got no answer, a 5xx or a 429 is
sent again under the same key, so that it has one effect. At the end the sku's counters must add up; if not, locust exits with 1.
"""

from __future__ import annotations

import os
import random
import time
import uuid
from typing import Any

import gevent
import requests
from locust import FastHttpUser, constant, events, task
from locust.env import Environment
from locust.runners import WorkerRunner

UNITS = int(os.environ.get("UNITS", "1000"))
ABANDON = float(os.environ.get("ABANDON", "0.2"))
PAY_SECONDS = float(os.environ.get("PAY_SECONDS", "1"))
TTL_SECONDS = int(os.environ.get("TTL_SECONDS", "60"))
SHOP = os.environ.get("SHOP", "main")
# One name for all workers of a distributed run: give it to them as SKU.
SKU = os.environ.get("SKU", f"locust-{uuid.uuid4().hex[:12]}")
KEY = os.environ.get("RESERVATION_GATEWAY_KEY", "")
HEADERS = {"Authorization": f"Bearer {KEY}"} if KEY else {}
ATTEMPTS_MAX = 8
CALL_SECONDS_MAX = 10


class Buyer(FastHttpUser):
    """One buyer after the other, as fast as they are answered; `--users` of them at once."""

    wait_time = constant(0)

    @task
    def buy(self) -> None:
        """One unit was bought, abandoned, or not to be had."""
        body = {"lines": [{"sku": SKU, "quantity": 1}], "ttl_seconds": TTL_SECONDS, "reference": SKU}
        held = self.call("/v1/reservations", "reserve", body, 201, key=str(uuid.uuid4()))
        if held is None or random.random() < ABANDON:
            return
        gevent.sleep(random.expovariate(1 / PAY_SECONDS) if PAY_SECONDS else 0)
        self.call(f"/v1/reservations/{held['id']}/confirm", "confirm", {}, 200)

    def call(
        self, path: str, name: str, body: dict[str, Any], wanted: int, key: str | None = None
    ) -> dict[str, Any] | None:
        """The answer to a success, None after a refusal. A 409 is an answer, not a failure: there is not enough for all."""
        headers = {**HEADERS, **({"Idempotency-Key": key} if key else {})}
        for attempt in range(ATTEMPTS_MAX):
            with self.client.post(
                f"{path}?shop={SHOP}", json=body, headers=headers, name=name, catch_response=True
            ) as answer:
                if answer.status_code == wanted:
                    answer.success()
                    return dict(answer.json())
                if answer.status_code == 409:
                    answer.success()
                    return None
                answer.failure(f"{answer.status_code} {answer.text or ''}"[:200])
                if 0 < answer.status_code < 500 and answer.status_code not in (408, 429):
                    return None
            gevent.sleep(min(2.0, 0.05 * 2**attempt) * random.uniform(0.5, 1))
        return None


@events.test_start.add_listener
def make_stock(environment: Environment, **_: Any) -> None:
    """The sku has its units. Workers of a distributed run leave that to the master."""
    if isinstance(environment.runner, WorkerRunner):
        return
    body = {"source": "locust", "sequence": time.time_ns() // 1_000_000, "on_hand": UNITS}
    url = f"{environment.host}/v1/stock/{SKU}/main"
    answer = requests.put(url, json=body, headers=HEADERS, params={"shop": SHOP}, timeout=CALL_SECONDS_MAX)
    answer.raise_for_status()


@events.test_stop.add_listener
def judge(environment: Environment, **_: Any) -> None:
    """Nothing was oversold or lost: confirmed + held + available is what there was."""
    if isinstance(environment.runner, WorkerRunner):
        return
    url = f"{environment.host}/v1/stock/{SKU}"
    answer = requests.get(url, headers=HEADERS, params={"shop": SHOP}, timeout=CALL_SECONDS_MAX)
    answer.raise_for_status()
    told = answer.json()
    counters = {name: told[name] for name in ("committed", "held", "available")}
    is_exact = sum(counters.values()) == UNITS and told["committed"] <= UNITS
    print(f"{SKU}: {'exact' if is_exact else 'NOT EXACT'}: {counters} of {UNITS}")
    if not is_exact:
        environment.process_exit_code = 1
