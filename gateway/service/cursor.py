"""Cursors of paged reads: opaque to the caller, the last row seen to us."""

from __future__ import annotations

import base64
import binascii

from gateway.domain.errors import InvalidRequest


def pack_cursor(*parts: str) -> str:
    """The parts as one opaque text; none of them holds a tab."""
    return base64.urlsafe_b64encode("\t".join(parts).encode()).decode("ascii").rstrip("=")


def unpack_cursor(text: str, count: int) -> list[str]:
    """The parts. Raises InvalidRequest when the text is not a cursor with `count` parts."""
    try:
        parts = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode().split("\t")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        parts = []
    if len(parts) != count:
        raise InvalidRequest(errors=[{"field": "cursor", "message": "is not a cursor of this list"}])
    return parts
