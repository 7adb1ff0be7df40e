"""Log lines: one JSON object or one coloured line each, without secrets and control characters, bounded."""

from __future__ import annotations

import io
import logging
import re
import sys
from collections.abc import Iterable, Mapping
from typing import Any, TextIO, cast

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from gateway import metrics
from gateway.settings import LogSettings

VALUE_CHARS_MAX = 2_000
EXCEPTION_CHARS_MAX = 16_000
ITEMS_MAX = 100
DEPTH_MAX = 6
SECRET_CHARS_MIN = 6

MASK = "***"

# Names whose values are never shown, compared in lower case with `_` for `-`.
SECRET_NAMES = frozenset(
    {
        "api_key",
        "authorization",
        "bootstrap_key",
        "cookie",
        "database_url",
        "idempotency_key",
        "password",
        "proxy_authorization",
        "redis_url",
        "secret",
        "set_cookie",
        "token",
        "x_api_key",
    }
)

# The user part of `scheme://user:password@`, up to the last @ of the word: a password that was not encoded
# may hold one itself. The bound keeps the search linear on long hostile text.
_USER_PART = re.compile(r"(://)[^\s/][^\s]{0,1000}@")
_CREDENTIALS = re.compile(r"(?i)\b(bearer|basic)[ \t]+[A-Za-z0-9._~+/=-]+")
_HEADER = re.compile(
    r"(?i)\b(idempotency[-_]key|(?:proxy-)?authorization|x-api-key|set-cookie|cookie)"
    r"((?:['\"][ \t]*,|['\"]?[ \t]*[:=])[ \t]*)(\"[^\"\n]*\"|'[^'\n]*'|[^\r\n]*)"
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_CONTROL_IN_TRACE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class Cleaner:
    """A structlog processor: no secret, no control character, nothing long passes it.

    `secrets` are texts that must not appear anywhere (the bootstrap key, the passwords of the stores'
    addresses); beside them it knows credentials by their form and by their names.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        # Shorter ones are parts of words: they would blank half of every line and protect nothing.
        worth = (secret for secret in secrets if len(secret) >= SECRET_CHARS_MIN)
        self._secrets = sorted(worth, key=len, reverse=True)

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        """The line's fields as they may be shown."""
        return self._mapping(event, 0)

    def text(self, value: str, *, chars_max: int = VALUE_CHARS_MAX, is_trace: bool = False) -> str:
        """The text fit for a line. Secrets go before the cut: half of one is still a secret."""
        for secret in self._secrets:
            value = value.replace(secret, MASK)
        if "://" in value:
            value = _USER_PART.sub(rf"\g<1>{MASK}@", value)
        value = _HEADER.sub(rf"\g<1>\g<2>{MASK}", value)
        value = _CREDENTIALS.sub(rf"\g<1> {MASK}", value)
        if len(value) > chars_max:
            # The end of a trace names the error, the beginning of anything else says what it is.
            dropped = f"… {len(value) - chars_max} characters …"
            value = dropped + value[-chars_max:] if is_trace else value[:chars_max] + dropped
        # Lone surrogates, from broken UTF-8 in a header, are no text for an encoder.
        value = value.encode("utf-8", "backslashreplace").decode("utf-8")
        control = _CONTROL_IN_TRACE if is_trace else _CONTROL
        return control.sub(lambda found: f"\\x{ord(found[0]):02x}", value)

    def _mapping(self, values: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        cleaned: dict[str, Any] = {}
        for name, value in values.items():
            if len(cleaned) >= ITEMS_MAX:
                cleaned["…"] = f"{len(values) - ITEMS_MAX} more"
                break
            shown = self.text(_word(name))
            if _is_secret(name):
                cleaned[shown] = MASK
            elif depth == 0 and name in ("exception", "stack"):
                cleaned[shown] = self.text(str(value), chars_max=EXCEPTION_CHARS_MAX, is_trace=True)
            else:
                cleaned[shown] = self._value(value, depth + 1)
        return cleaned

    def _value(self, value: object, depth: int) -> object:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, float):
            return float(value)
        # JSON readers and our encoder know 64 bits; a log line must not fail over a larger number.
        if isinstance(value, int) and -(2**63) <= value < 2**63:
            return int(value)
        if depth < DEPTH_MAX and isinstance(value, Mapping):
            return self._mapping(value, depth)
        # Headers travel as pairs: (name, value).
        if isinstance(value, list | tuple) and len(value) == 2 and _is_secret(value[0]):
            return [self._value(value[0], depth + 1), MASK]
        if depth < DEPTH_MAX and isinstance(value, list | tuple | set | frozenset):
            shown = [self._value(item, depth + 1) for item, _ in zip(value, range(ITEMS_MAX), strict=False)]
            return [*shown, f"… {len(value) - ITEMS_MAX} more"] if len(value) > ITEMS_MAX else shown
        return self.text(_word(value))


def _word(value: object) -> str:
    """The value as text. No request fails because something in its log line cannot show itself."""
    if isinstance(value, str):
        return value
    try:
        return value.decode("latin-1") if isinstance(value, bytes) else repr(value)
    except Exception as exc:  # noqa: BLE001 - whatever a foreign repr raises; the line says so
        return f"<{type(value).__name__}, whose repr raised {type(exc).__name__}>"


def _is_secret(name: object) -> bool:
    return isinstance(name, str | bytes) and _word(name).lower().replace("-", "_") in SECRET_NAMES


def configure(log: LogSettings, *, secrets: Iterable[str] = (), stream: TextIO | None = None) -> None:
    """Every line of the process goes to `stream` (default: stderr, so that a command's stdout is its result).

    Our own lines from `log.level` on; lines of libraries, which come through `logging`, from warning on,
    because some write their parameters (buyers, SQL values) at lower levels. Safe to repeat; the last call
    counts.
    """
    target = sys.stderr if stream is None else stream
    # Both users of a log stream only write and flush.
    sink = cast("TextIO", _Sink(target))
    level = _LEVELS[log.level]
    before: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        structlog.processors.StackInfoRenderer(),
        # Plain tracebacks: the pretty ones show local variables, and with them secrets.
        structlog.processors.format_exc_info,
    ]
    after: list[Processor] = [Cleaner(secrets), _renderer(log, target)]
    structlog.configure(
        processors=before + after,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(sink),
        # Off, so that a second call (a test, a reload) reaches loggers that modules made long ago.
        cache_logger_on_first_use=False,
    )
    _capture_libraries(sink, max(level, logging.WARNING), before, after)


class _Sink(io.TextIOBase):
    """The stream, whose failure (a full disk, a reader that went away) costs the line and not the request.

    The metrics are the one place left to tell it. A stream that buffers fails in `flush`, others in `write`.
    """

    def __init__(self, target: TextIO) -> None:
        self._target = target
        self._is_lost = False

    def write(self, text: str) -> int:
        try:
            self._is_lost = False
            return self._target.write(text)
        except (OSError, ValueError):  # a closed file raises ValueError
            self._lose()
            return 0

    def flush(self) -> None:
        try:
            self._target.flush()
        except (OSError, ValueError):
            self._lose()

    def _lose(self) -> None:
        """Count the line once, though both calls may fail."""
        if not self._is_lost:
            self._is_lost = True
            metrics.LOG_LINES_LOST.inc()


class _LibraryHandler(logging.StreamHandler[TextIO]):
    """Ours among the root logger's handlers, so that a second `configure` replaces this one and no other."""


def _capture_libraries(sink: TextIO, level: int, before: list[Processor], after: list[Processor]) -> None:
    handler = _LibraryHandler(sink)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *before],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *after],
        )
    )
    root = logging.getLogger()
    for old in [each for each in root.handlers if isinstance(each, _LibraryHandler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)


def _renderer(log: LogSettings, target: TextIO) -> Processor:
    if log.format == "json":
        return _json
    return structlog.dev.ConsoleRenderer(
        colors=target.isatty(), exception_formatter=structlog.dev.plain_traceback, timestamp_key="at"
    )


def _json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    """The fields as JSON; the cleaner before it left nothing that JSON has not."""
    return orjson.dumps(event).decode()
