"""workers: two web workers against one. All share all processors with the generator, so on two processors little is to be gained.

With two, a process of its own flushes. Reported, not judged. Rounds of the two alternate; each has a sku of its own, whose level must
hold what was answered.
"""

from __future__ import annotations

from statistics import median

from bench.failure import ServerFailure
from bench.gateway_server import GatewayServer
from bench.quiet import wait_quiet
from bench.row import Figure, FigureRow, Sample, out_of_bracket, sample

ON_HAND = 1_000_000_000
COUNTS = (1, 2)
WARM_SECONDS = 0.5


class Workers(FigureRow):
    """Reserves per second by the number of workers."""

    name = "workers"
    title = "Reserve, hot sku, ack=memory, all processors shared"
    by_default = False

    def measure(self) -> list[Figure]:
        """The rates, the p99 and the ratio. Raises ServerFailure where a level does not hold what was answered."""
        arguments = self.stage.arguments
        gateways = {
            count: self.stage.fresh_gateway(f"workers_{count}", is_alone=False, GATEWAY_WORKERS=str(count))
            for count in COUNTS
        }
        samples: dict[int, list[Sample]] = {count: [] for count in COUNTS}
        for turn in range(arguments.rounds):
            for count in COUNTS if turn % 2 else COUNTS[::-1]:
                play_checked(self, gateways[count], f"WARM-{turn}", min(WARM_SECONDS, arguments.seconds))
                wait_quiet()
                samples[count].append(play_checked(self, gateways[count], f"WORKERS-{turn}", arguments.seconds))
        for gateway in gateways.values():
            gateway.stop()
        one, two = (samples[count] for count in COUNTS)
        return [
            *(
                Figure(f"{self.title}, workers: {count}{what}", value, unit)
                for count in COUNTS
                for what, value, unit in (
                    ("", median(played.rate for played in samples[count]), "per s"),
                    (", p99", median(played.p99_ms for played in samples[count]), "ms"),
                )
            ),
            Figure(f"{self.title}, two workers against one", ratio_of(two, one), "x"),
        ]


def ratio_of(these: list[Sample], those: list[Sample]) -> float:
    """The median over the turns of how many times as many were done."""
    return median(this.rate / that.rate for this, that in zip(these, those, strict=True))


def play_checked(row: FigureRow, gateway: GatewayServer, sku: str, seconds: float) -> Sample:
    """A round of reserves of a new sku, the backlog drained, the level right. Raises ServerFailure."""
    generator, client = row.stage.generator, gateway.client
    client.stock(sku, ON_HAND)
    played = sample(generator.play(client.reserve(sku, "memory"), seconds))
    client.drain()
    held = client.level(sku)["held"]
    problems = out_of_bracket(f"{row.name}, held of {sku}", held, played.done, generator.in_flight_max())
    if played.wrong:
        problems.append(f"{row.name}: {played.wrong} answers were missing or not as expected")
    if problems:
        raise ServerFailure("; ".join(problems))
    return played
