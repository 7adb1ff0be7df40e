"""What every handler works with: the services, the policy in force, the bounds, and whether we are leaving."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.domain.policy import Policy
from gateway.service.port import Operations, Reservations, Stock
from gateway.web.auth import Authenticate, anyone
from gateway.web.limits import HttpLimits
from gateway.web.problems import Problems


@dataclass(slots=True)
class Services:
    """The surface below: one object per noun."""

    reservations: Reservations
    stock: Stock
    operations: Operations


@dataclass(slots=True)
class Site:
    """One gateway process as its handlers see it. `policy` gives the one in force at the moment of the call."""

    services: Services
    policy: Callable[[], Policy]
    limits: HttpLimits = field(default_factory=HttpLimits)
    authenticate: Authenticate = anyone
    problems: Problems = field(default_factory=Problems)
    #: The OpenAPI document, as JSON.
    document: bytes = b""
    #: Set when the process was told to stop: `/readyz` says so, and every answer closes its connection.
    is_draining: bool = False
    requests_in_flight: int = 0
