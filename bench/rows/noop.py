"""noop: what aiohttp itself does with the same body and an answer of the same bytes."""

from __future__ import annotations

from typing import ClassVar

from bench.client import GatewayClient
from bench.load import CONNECTIONS, Request
from bench.row import RateRow, Sample, sample


class Noop(RateRow):
    """POST of the body of `hot`, answered 201 with a constant."""

    name = "noop"
    title = "reference: aiohttp no-op, POST"
    needs_gateway = False
    needs_postgres = False
    connections: ClassVar[int] = CONNECTIONS

    def prepare(self) -> None:
        """The no-op serves."""
        self._request = self.request(GatewayClient(self.stage.noop.port))

    def request(self, client: GatewayClient) -> Request:
        """The request of every round."""
        return client.reserve("HOT-0001", "memory")

    def play(self, seconds: float) -> Sample:
        """One round."""
        return sample(self.stage.generator.play(self._request, seconds, connections=self.connections))

    def verify(self) -> list[str]:
        """It holds nothing that could be wrong; wrong answers are counted in the rounds."""
        return []
