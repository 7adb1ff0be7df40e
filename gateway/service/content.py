"""What a source told, apart from its sequence."""

from __future__ import annotations

from gateway.domain.command import PutLevel
from gateway.domain.identifier import fingerprint


def content_of(command: PutLevel) -> str:
    """A digest of the message: the same message again is told from another one under the same sequence."""
    told = (command.on_hand, command.deduction, command.safety_stock, sorted(command.reflects))
    return fingerprint(repr(told).encode())
