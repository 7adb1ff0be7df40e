"""The forms of single values, the same in bodies, paths, queries, headers and import rows.

The patterns are written so that pydantic's engine, Python's and a browser's read them alike: they travel in the OpenAPI document.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

NAME_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
TEXT_PATTERN: Final = r"^[^\s\x00-\x1f\x7f-\x9f]([^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f])?$"
RESERVATION_PATTERN: Final = r"^rsv_[0-9]{1,5}-[0-9]{1,15}-[0-9]{1,15}-[A-Za-z0-9_-]{16}$"
PLAN_PATTERN: Final = r"^[0-9a-f]{16}$"
TEXT_CHARS_MAX: Final = 128
QUANTITY_MAX: Final = 1_000_000_000
#: Sequences and versions stay where a double is exact: 2^53 - 1.
SEQUENCE_MAX: Final = 9_007_199_254_740_991
#: A name of the client's that comes back in an error is cut here.
SHOWN_CHARS_MAX: Final = 100

#: What each pattern asks for, in words.
PATTERN_WORDS: Final[dict[str, str]] = {
    NAME_PATTERN: "must be 1 to 64 of A-Z a-z 0-9 . _ - and start with a letter or digit",
    TEXT_PATTERN: "must be 1 to 128 characters without control characters and without spaces at the ends",
    RESERVATION_PATTERN: "must be the id of a reservation",
    PLAN_PATTERN: "must be the id of a plan that was shown",
}

_NAME = re.compile(NAME_PATTERN[:-1])
_TEXT = re.compile(TEXT_PATTERN[:-1])
_KEY = re.compile(r"[!-~]{1,255}")
_REQUEST_ID = re.compile(r"[!-~]{1,128}")
_CURSOR = re.compile(r"[!-~]{1,1024}")
_DECIMAL = re.compile(r"-?[0-9]{1,16}")
_BROKEN_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


def is_name(text: str) -> bool:
    """Whether this is a shop, location, channel, tier or source."""
    return _NAME.fullmatch(text) is not None


def is_text(text: str) -> bool:
    """Whether this is a sku, reference, customer or reason. The engine's own test refuses lone surrogates, ours has to ask."""
    if not 0 < len(text) <= TEXT_CHARS_MAX:
        return False
    if text.isascii():  # of ASCII the pattern says just this, in four times the time
        return text.isprintable() and text[0] != " " and text[-1] != " "
    return _TEXT.fullmatch(text) is not None and is_unicode(text)


def is_unicode(text: str) -> bool:
    """Whether the text can be written as UTF-8: it has no lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_idempotency_key(text: str) -> bool:
    """Whether this is 1..255 visible ASCII characters."""
    return _KEY.fullmatch(text) is not None


def is_request_id(text: str) -> bool:
    """Whether this is 1..128 visible ASCII characters."""
    return _REQUEST_ID.fullmatch(text) is not None


def is_cursor(text: str) -> bool:
    """Whether this can be a cursor of ours; whether it is one, its reader knows."""
    return _CURSOR.fullmatch(text) is not None


def integer(text: str, low: int, high: int) -> int | None:
    """The number that the text writes in plain ASCII digits, or None when it is none or outside low..high.

    Python's own reading would also take `1_000`, ` 5` and digits of other scripts.
    """
    if _DECIMAL.fullmatch(text) is None:
        return None
    number = int(text)
    return number if low <= number <= high else None


def is_percent_broken(text: str) -> bool:
    """Whether a percent sign stands there that encodes nothing."""
    return "%" in text and _BROKEN_PERCENT.search(text) is not None


def unquoted(text: str) -> str | None:
    """The text behind percent-encoding, or None when that is broken or not UTF-8."""
    if "%" not in text:
        return text if text.isascii() or is_unicode(text) else None
    if is_percent_broken(text):
        return None
    try:
        # A raw byte of the request line that is no UTF-8 stands in the text as a surrogate, which `encode` refuses too.
        return unquote_to_bytes(text).decode()
    except UnicodeError:
        return None


def shown(text: str) -> str:
    """The client's own name of something, fit to be told back: bounded, and certainly Unicode."""
    if len(text) > SHOWN_CHARS_MAX:
        text = text[:SHOWN_CHARS_MAX] + "…"
    return text if is_unicode(text) else text.encode("utf-8", "backslashreplace").decode()
