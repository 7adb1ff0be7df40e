"""Addresses of stores: which schemes we speak, and how an address is shown without its secrets."""

from __future__ import annotations

import re
from urllib.parse import unquote

REDIS_SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "redis+cluster")
DATABASE_SCHEMES = ("postgresql", "sqlite")

MASK = "***"

# A query may carry a password too: libpq's `?password=`, a Sentinel's `?sentinel_password=`.
_SECRET_PARAMETER = re.compile(r"(?i)([?&;][^=&;#]*(?:pass|secret|token)[^=&;#]*=)([^&;#]*)")


def scheme(url: str) -> str:
    """The part before `://`, in lower case; empty where there is none."""
    head, separator, _ = url.partition("://")
    return head.lower() if separator else ""


def redacted(url: str) -> str:
    """The address fit for a log line: no password, no token, the host still readable.

    It errs on the side of hiding. Passwords that were not percent-encoded may hold `@`, `/` or `?`, so
    everything up to the *last* `@` counts as the user's part, of which only the name before its colon is
    shown. Text that is no address is hidden altogether.
    """
    head, separator, rest = url.partition("://")
    if not separator:
        return MASK if url else ""
    # A path with an `@` (unix:///run/a@b.sock) has no user in front of it.
    if not rest.startswith("/"):
        user_part, at, host = rest.rpartition("@")
        if at:
            user, colon, _ = user_part.partition(":")
            rest = f"{user}:{MASK}@{host}" if colon else f"{MASK}@{host}"
    shown = _SECRET_PARAMETER.sub(rf"\g<1>{MASK}", rest)
    return f"{head}://{shown}"


def secrets_of(url: str) -> set[str]:
    """The passwords inside an address, as written and decoded, so that logs can be searched for them.

    A user's name alone is none: it is a common word, and hiding it would blank half of the lines.
    """
    _, separator, rest = url.partition("://")
    if not separator:
        return {url} if url else set()
    found = {match.group(2) for match in _SECRET_PARAMETER.finditer(rest)}
    if not rest.startswith("/"):
        user_part, at, _ = rest.rpartition("@")
        if at:
            found.add(user_part.partition(":")[2])
    return {form for secret in found for form in (secret, unquote(secret)) if form}
