"""All that is known of a sale when it is over, and its shape as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from gateway.cli.sale.figures import RESULTS, Figures
from gateway.cli.sale.goods import Cleared
from gateway.cli.sale.plan import Plan
from gateway.cli.sale.punctuality import punctuality
from gateway.cli.sale.verdict import Verdict


@dataclass(slots=True)
class Result:
    """One sale. `seconds`: from its start to the last answer. `cleared` is None where it was to be kept."""

    plan: Plan
    began_at: str
    seconds: float
    figures: Figures
    verdict: Verdict
    machine: dict[str, str]
    gateway: dict[str, str]
    cleared: Cleared | None = None
    failure: str = ""

    def as_json(self) -> dict[str, Any]:
        """The report for machines. The API key is not in it. Names end with their unit; durations of requests are in ms.

        - `run`, `began_at` (RFC 3339), `seconds`, `failure` (why the books could not be asked; else empty)
        - `verdict`: `word` (exact, NOT EXACT, not known), `sentence`, `is_exact`, `is_known`; units of all skus: `units`, `sold` (by
          the answers), `committed`, `held`, `available` (by the books); `holds` (reservations that were answered), `open_holds`
          (those that may not be over, by the answers and our clock), `lost_holds`; `unknown`, `resolved` and `refused` requests,
          `refusal` in words; `violations` [{kind, where, detail}], `violations_count`, `checked` {what: how many}, `not_checked` [why]
        - `options`: as they were given; `machine`, `gateway`: words by name
        - `schedule`: see punctuality.py
        - `totals`: `arrived` buyers, `offered` tries, `answered` requests, `repeated` attempts, and per second the answers and sales
        - `results` {how a try ended: count}, `codes` {final or repeated answer: count}
        - `latency` {reserve | confirm | bot_reserve | duplicate: histogram (see histogram.py)}: from the intended start to the final
          answer, repetitions included; confirm, duplicate one after the other and later tries of bots from their own start
        - `timeline`: see timeline.py
        - `cleanup`: null (kept), or `released`, `paused`, `failures` [words]
        """
        figures, verdict = self.figures, self.verdict
        seconds = self.seconds or 1e-9
        told_verdict = asdict(verdict)
        return {
            "run": self.plan.run,
            "began_at": self.began_at,
            "seconds": round(self.seconds, 3),
            "failure": self.failure,
            "verdict": {
                "word": verdict.word,
                "sentence": verdict.sentence(),
                "is_exact": verdict.is_exact,
                **told_verdict,
            },
            "options": self.plan.as_json(),
            "machine": self.machine,
            "gateway": self.gateway,
            "schedule": punctuality(self.plan, figures),
            "totals": {
                "arrived": figures.arrived,
                "offered": figures.offered,
                "answered": figures.answered,
                "repeated": figures.repeated,
                "answered_per_second": round(figures.answered / seconds, 1),
                "sold_per_second": round(figures.results["sold"] / seconds, 1),
            },
            "results": {name: figures.results[name] for name in RESULTS if figures.results[name]},
            "codes": dict(figures.codes.most_common()),
            "latency": {name: found.as_json() for name, found in figures.latency.items() if found.count},
            "timeline": figures.timeline.as_json(),
            "cleanup": None if self.cleared is None else asdict(self.cleared),
        }
