"""Very many open holds, made as a client makes them: by `/v1/batch`, a thousand in a call, from two threads."""

from __future__ import annotations

import http.client
import json
import random
import time
from concurrent.futures import ThreadPoolExecutor

from bench.failure import ServerFailure

SKUS = 10_000
CALL = 1000
THREADS = 2
SECONDS_MAX = 600.0
SEED = 18


def stock_up(port: int, skus: int = SKUS) -> None:
    """So many skus have plenty. Raises ServerFailure."""
    rows = "".join(f'{{"sku":"H{at}","location":"main","on_hand":1000000}}\n' for at in range(skus))
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS_MAX)
    connection.request(
        "POST", "/v1/stock/import?source=bench&sequence=1", rows, {"Content-Type": "application/x-ndjson"}
    )
    answer = connection.getresponse()
    told = answer.read()
    connection.close()
    if answer.status != 200:
        raise ServerFailure(f"the import answered {answer.status}: {told[:500]!r}")


def open_holds(port: int, count: int, skus: int = SKUS) -> None:
    """So many more holds of one line are open for a day, on skus chosen by a seed; `count` in thousands. Raises ServerFailure."""
    calls = count // CALL
    shares = [calls // THREADS + (at < calls % THREADS) for at in range(THREADS)]
    with ThreadPoolExecutor(THREADS) as threads:
        for done in [threads.submit(_open, port, share, skus, SEED + at) for at, share in enumerate(shares)]:
            done.result()


def _open(port: int, calls: int, skus: int, seed: int) -> None:
    rng = random.Random(seed)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS_MAX)
    for _ in range(calls):
        lines = [[{"sku": f"H{rng.randrange(skus)}", "quantity": 1}] for _ in range(CALL)]
        operations = [{"op": "reserve", "body": {"lines": one, "tier": "order"}} for one in lines]
        text = json.dumps({"operations": operations})
        while True:
            connection.request("POST", "/v1/batch?ack=memory", text, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            told = answer.read()
            if answer.status != 503:
                break
            time.sleep(0.2)  # the backlog is full: nothing of it was applied
        results = json.loads(told).get("results", []) if answer.status == 200 else []
        if [one["status"] for one in results] != [201] * CALL:
            raise ServerFailure(f"a batch answered {answer.status}: {told[:500]!r}")
    connection.close()
