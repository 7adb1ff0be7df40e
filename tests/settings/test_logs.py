from __future__ import annotations

import io
import logging
import time
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
import structlog

from gateway import logs, metrics
from gateway.settings import LogSettings

PASSWORD = "hunter2-hunter2"


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root, structure = logging.getLogger(), structlog.get_config()
    level, handlers = root.level, list(root.handlers)
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**structure)
    structlog.contextvars.clear_contextvars()


def configured(level: str = "info", log_format: str = "json", secrets: tuple[str, ...] = ()) -> tuple[Any, io.StringIO]:
    stream = io.StringIO()
    settings = LogSettings.model_validate({"level": level, "format": log_format})
    logs.configure(settings, secrets=secrets, stream=stream)
    return structlog.get_logger(), stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in stream.getvalue().splitlines()]


def test_json_line_has_event_level_time_and_context() -> None:
    """One JSON object per line, with what the request bound to its context."""
    log, stream = configured()
    structlog.contextvars.bind_contextvars(request_id="r-1")
    log.info("reserved", quantity=2, sku="85123A", lines=[{"sku": "a"}], is_new=True, nothing=None)
    (line,) = lines(stream)
    assert line.pop("at").endswith("Z")
    assert line == {
        "event": "reserved",
        "level": "info",
        "request_id": "r-1",
        "quantity": 2,
        "sku": "85123A",
        "lines": [{"sku": "a"}],
        "is_new": True,
        "nothing": None,
    }


def test_level_drops_what_is_less_important() -> None:
    """The level of the settings decides."""
    log, stream = configured("warning")
    log.info("no")
    log.warning("yes")
    assert [line["event"] for line in lines(stream)] == ["yes"]


@pytest.mark.parametrize("log_format", ["json", "console"])
@pytest.mark.parametrize(
    "values",
    [
        {"authorization": PASSWORD},
        {"headers": {"Idempotency-Key": PASSWORD, "Authorization": f"Bearer {PASSWORD}"}},
        {"bootstrap_key": PASSWORD},
        {"url": f"redis://app:{PASSWORD}@h:6379"},
        {"url": f"redis://app:x@y/{PASSWORD}@h:6379"},
        {"detail": f"cannot reach redis://:{PASSWORD}@h, giving up"},
        {"detail": "a" * 30 + f"redis://:{PASSWORD}@h and 1redis://:{PASSWORD}@h"},
        {"detail": f"sent Authorization: Bearer {PASSWORD}"},
        {"detail": f"bearer {PASSWORD} refused"},
        {"detail": f"Idempotency-Key: {PASSWORD}"},
        {"detail": f"{{'Idempotency-Key': 'a,b {PASSWORD}'}}"},
        {"detail": f'{{"idempotency_key":"{PASSWORD}"}}'},
        {
            "headers": (("Idempotency-Key", PASSWORD),),
            "request": {"a": [("authorization", f"Bearer {PASSWORD}")]},
        },
        {"raw": ((b"Idempotency-Key", PASSWORD.encode()),)},
        {"deep": {"a": {"b": {"c": {"d": {"e": {"f": {"g": f"redis://u:{PASSWORD}@h"}}}}}}}},
        {f"redis://u:{PASSWORD}@h": 1},
    ],
    ids=repr,
)
def test_secret_of_a_known_form_or_name_is_not_written(values: dict[str, Any], log_format: str) -> None:
    """Passwords of addresses, bearer keys and idempotency keys stay out, wherever they stand."""
    log, stream = configured(log_format=log_format)
    log.info("x", **values)
    assert PASSWORD not in stream.getvalue()
    assert "***" in stream.getvalue()


def test_secret_that_was_told_is_not_written_in_any_place() -> None:
    """The process' own secrets are known by their text, also inside an exception."""
    log, stream = configured(secrets=("s3cr3t-text", "about"))
    try:
        raise ValueError("login with s3cr3t-text failed, about")
    except ValueError:
        log.exception("failed s3cr3t-text", other=["x s3cr3t-text y"])
    assert "s3cr3t-text" not in stream.getvalue()
    # A text so short is a part of words, not worth blanking them.
    assert "about" in stream.getvalue()


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_exception_is_told_without_local_variables(log_format: str) -> None:
    """The trace names the error and the place; the values of variables stay out."""
    log, stream = configured(log_format=log_format)

    def fails() -> None:
        local = "".join(["local", "-", "value"])
        raise ValueError(len(local))

    try:
        fails()
    except ValueError:
        log.exception("failed", url="redis://u:pw-pw@h")
    assert "ValueError: 11" in stream.getvalue()
    assert "local-value" not in stream.getvalue()


def test_long_values_are_cut_and_say_so() -> None:
    """A line has a bounded length, and a reader sees what is missing."""
    log, stream = configured()
    log.info("x", text="a" * 5_000, many=list(range(500)), wide={str(n): n for n in range(500)})
    (line,) = lines(stream)
    assert line["text"] == "a" * logs.VALUE_CHARS_MAX + "… 3000 characters …"
    assert line["many"][-1] == "… 400 more"
    assert len(line["many"]) == 101
    assert line["wide"]["…"] == "400 more"


def test_secret_at_the_cut_is_hidden_before_the_cut() -> None:
    """Half of a password is still a secret."""
    log, stream = configured()
    log.info("x", text="a " * 990 + f"redis://u:{PASSWORD}@h")
    assert PASSWORD[:4] not in stream.getvalue()


def test_long_trace_keeps_its_end() -> None:
    """The end of a trace names the error."""
    log, stream = configured()
    try:
        raise ValueError("b" * 30_000 + " the-end")
    except ValueError:
        log.exception("x")
    (line,) = lines(stream)
    assert line["exception"].endswith("the-end")
    assert len(line["exception"]) < logs.EXCEPTION_CHARS_MAX + 100


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_control_characters_cannot_forge_a_line_or_move_a_terminal(log_format: str) -> None:
    """Line ends and escapes of a client are shown as text."""
    log, stream = configured(log_format=log_format)
    log.info("a\nb\r", agent="\x1b[31mred\x9b\u2028", **{"na\nme": 1})
    assert stream.getvalue().count("\n") == 1
    assert not set(stream.getvalue()) & {"\x1b", "\x9b", "\r", "\u2028"}
    assert "x1b[31mred" in stream.getvalue()


@pytest.mark.parametrize(
    "value",
    [
        2**70,
        -(2**63) - 1,
        "\ud800",
        b"\xff",
        float("nan"),
        object(),
        {1: 2},
        {"s"},
        ValueError("x"),
        10**5000,
    ],
    ids=lambda value: type(value).__name__,
)
def test_value_that_json_has_not_is_still_a_line(value: object) -> None:
    """A log line never fails over what it is given."""
    log, stream = configured()
    log.info("x", value=value)
    assert len(lines(stream)) == 1


def test_value_that_cannot_show_itself_is_still_a_line() -> None:
    """An object whose repr raises does not take the request down with it."""

    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    log, stream = configured()
    log.info("x", value=Broken())
    assert "Broken" in lines(stream)[0]["value"]


def test_libraries_are_written_the_same_way_from_warning_on() -> None:
    """Lines of `logging` have the same form and redaction; their chatter is dropped."""
    _, stream = configured("debug")
    library = logging.getLogger("some.library")
    library.info("chatter %s", PASSWORD)
    library.warning("lost redis://u:%s@h", PASSWORD)
    (line,) = lines(stream)
    assert line["event"] == "lost redis://***@h"
    assert (line["logger"], line["level"]) == ("some.library", "warning")


def test_configure_twice_writes_each_line_once_and_keeps_other_handlers() -> None:
    """The last call counts, for our loggers and for libraries; handlers of others stay."""
    other = logging.NullHandler()
    logging.getLogger().addHandler(other)
    log, first = configured()
    _, second = configured()
    log.info("ours")
    logging.getLogger("lib").error("theirs")
    assert first.getvalue() == ""
    assert [line["event"] for line in lines(second)] == ["ours", "theirs"]
    assert other in logging.getLogger().handlers


class Full(io.StringIO):
    """A stream on a full disk."""

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")

    def flush(self) -> None:
        raise OSError(28, "No space left on device")


def closed() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


class Buffered(Full):
    """A stream whose buffer takes a line that the disk then refuses."""

    def write(self, text: str) -> int:
        return len(text)


@pytest.mark.parametrize("stream", [Full(), Buffered(), closed()], ids=["full", "buffered", "closed"])
def test_stream_that_fails_costs_the_line_and_not_the_caller(stream: io.StringIO) -> None:
    """A request is answered though its log line cannot be written; the loss is counted."""
    before = metrics.LOG_LINES_LOST._value.get()
    logs.configure(LogSettings(), stream=stream)
    structlog.get_logger().info("ours")
    logging.getLogger("lib").error("theirs")
    assert metrics.LOG_LINES_LOST._value.get() == before + 2


def test_prose_about_headers_is_kept() -> None:
    """Only a name with a value behind it is hidden, not every mention."""
    text = "the Idempotency-Key is too long, authorization, cookies and idempotency_key_required"
    assert logs.Cleaner().text(text) == text


def test_cleaning_hostile_text_takes_time_in_proportion_to_its_length() -> None:
    """No pattern backtracks: four times the text takes about four times as long, not sixteen."""
    cleaner = logs.Cleaner()

    def seconds(count: int) -> float:
        hostile = (
            "a" * count,
            "a://" * (count // 4),
            "bearer " * (count // 7),
            "cookie" * (count // 6),
            "://@" * count,
        )
        best = []
        for _ in range(3):
            begun = time.process_time()
            for text in hostile:
                cleaner.text(text)
            best.append(time.process_time() - begun)
        return min(best)

    small, large = seconds(20_000), seconds(80_000)
    assert large < 10 * small + 0.05
