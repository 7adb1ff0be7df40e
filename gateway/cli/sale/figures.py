"""What was measured so far, in memory that does not grow with the number of requests."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable

from gateway.cli.sale.histogram import Histogram
from gateway.cli.sale.timeline import Slice, StockSample, Timeline

#: What happened to a try of a buyer or a bot, in the order in which reports tell it.
RESULTS = (
    "sold",
    "abandoned",
    "paid_too_late",
    "lost",
    "sold_out",
    "refused",
    "unknown",
    "bot_held",
    "bot_sold_out",
    "bot_refused",
    "bot_unknown",
)
OPERATIONS = ("reserve", "confirm", "bot_reserve", "duplicate")
#: Codes are the gateway's words: one that is not a gateway could answer with any number of them.
CODES_MAX = 60
CODE_LENGTH_MAX = 60
OTHER_CODE = "(other codes)"
#: The display shows the last seconds, one histogram for each.
RECENT_SECONDS = 5


class Figures:
    """The figures of one sale; `start` is when its first buyer is due, by the monotonic clock."""

    def __init__(self, start: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.start = start
        self.timeline = Timeline()
        self.results: Counter[str] = Counter()
        self.codes: Counter[str] = Counter()
        self.latency = {operation: Histogram() for operation in OPERATIONS}
        self.send_lag = Histogram()
        self.loop_lag = Histogram()
        self.arrived = 0
        self.last_arrival_seconds = 0.0
        self.offered = 0
        self.answered = 0
        self.repeated = 0
        self.queued = 0
        self.refusal = ""
        self.stock: StockSample | None = None
        self._clock = clock
        self._recent: deque[tuple[int, Histogram]] = deque(maxlen=RECENT_SECONDS)

    def due(self, intended: float, *, is_bot_again: bool = False) -> None:
        """A try was due then and is about to leave. Later tries of a bot follow its answers and have no lag."""
        self.offered += 1
        self.timeline.at(intended - self.start).counts["offered"] += 1
        if not is_bot_again:
            now = self._clock()
            self.arrived += 1
            self.last_arrival_seconds = max(self.last_arrival_seconds, now - self.start)
            self.send_lag.add(max(0.0, now - intended))

    def took(self, operation: str, code: str, intended: float) -> None:
        """A request that was due then has its final answer: `code` is the problem's, empty on a success."""
        now = self._clock()
        seconds = max(0.0, now - intended)
        self.answered += 1
        self.latency[operation].add(seconds)
        self.count_code(code or f"{operation}_done")
        self.timeline.at(now - self.start).counts["answered"] += 1
        if operation == "reserve":
            self.timeline.at(intended - self.start).reserve.add(seconds)
            self._recently(int(now - self.start)).add(seconds)

    def repeat(self, code: str) -> None:
        """An attempt was not final and is sent again: `code` says why."""
        self.repeated += 1
        self.count_code(code)

    def count_code(self, code: str) -> None:
        """One more answer with this code."""
        told = code[:CODE_LENGTH_MAX]
        self.codes[told if told in self.codes or len(self.codes) < CODES_MAX else OTHER_CODE] += 1

    def refuse(self, words: str) -> None:
        """A try was refused for another reason than the stock: `refusal` is the first one, in words."""
        self.refusal = self.refusal or words

    def ended(self, result: str) -> None:
        """A try has ended so."""
        self.results[result] += 1
        mark = {"sold": "sold", "sold_out": "refused", "bot_sold_out": "refused"}.get(result)
        if mark is None and result not in ("abandoned", "bot_held"):
            mark = "failed"
        if mark is not None:
            self._now().counts[mark] += 1

    def granted(self) -> None:
        """A hold was answered just now."""
        self._now().counts["granted"] += 1

    def read(self, stock: StockSample) -> None:
        """The gateway has just told its stock."""
        self.stock = stock
        self._now().stock = stock

    def recent(self) -> Histogram:
        """Latencies of reserves answered in the last seconds."""
        oldest = int(self._clock() - self.start) - RECENT_SECONDS
        merged = Histogram()
        for second, histogram in self._recent:
            if second >= oldest:
                merged.merge(histogram)
        return merged

    def _recently(self, second: int) -> Histogram:
        if not self._recent or self._recent[-1][0] != second:
            self._recent.append((second, Histogram()))
        return self._recent[-1][1]

    def _now(self) -> Slice:
        return self.timeline.at(self._clock() - self.start)
