"""JSON as RFC 8259 has it, and nothing more: one text in UTF-8, no NaN, no key twice."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import orjson

from gateway.domain.errors import FieldError, InvalidRequest, MalformedJson
from gateway.web.fields import shown

#: No object of ours has half as many; it bounds what a body of nothing but unknown fields can cost.
OBJECT_FIELDS_MAX: Final = 32
_DUPLICATES_MAX: Final = 100

#: The steps from the root of a text to a value in it: names of fields and places in arrays.
Steps = tuple[str | int, ...]

_COLON_AFTER_QUOTE = re.compile(rb'"[ \t\r\n]*:')


@dataclass(frozen=True, slots=True)
class RepeatedKey(FieldError):
    """A key that stands twice in one object; `place` leads to that object, which a path of a client's names may not."""

    place: Steps = ()


def parse(raw: bytes, errors: list[FieldError]) -> Any:
    """The value that the text means; a key that stands twice in one object is added to `errors`.

    At most 100 such keys are added. Where there are any, `repeated_keys` tells those of a part of the value.

    Raises:
        MalformedJson: this is not one JSON text in UTF-8, or too deep.
        InvalidRequest: an object has more fields than any of ours.
    """
    try:
        parsed = orjson.loads(raw)
    except orjson.JSONDecodeError:
        # orjson also refuses what is JSON, but no value that it could hold: a number beyond a double, half a surrogate pair.
        # Those are wrong fields, to be named, so the slow and literal reader decides.
        return _parse_literally(raw, errors)
    keys = _count_keys(parsed)
    # Each key needs a colon, and a key that stands twice counts once: as many colons as keys proves that none does. Colons
    # inside strings spoil the proof, so a second count takes only those behind a quote, and then the slow reader decides.
    if keys != raw.count(b":") and keys != len(_COLON_AFTER_QUOTE.findall(raw)):
        told = len(errors)
        literal = _parse_literally(raw, errors)
        return literal if len(errors) > told else parsed
    return parsed


def repeated_keys(parsed: Any) -> list[RepeatedKey]:
    """The keys that stand twice in an object of this value, a part of what `parse` gave back; at most 100."""
    found: list[RepeatedKey] = []
    if isinstance(parsed, _Pairs | list):
        _tell_duplicates(parsed, found)
    return found


def _count_keys(parsed: Any) -> int:
    count = 0
    waiting = [parsed]
    while waiting:
        value = waiting.pop()
        children: Iterable[Any] = value
        if type(value) is dict:
            if len(value) > OBJECT_FIELDS_MAX:
                _refuse_size()
            count += len(value)
            children = value.values()
        elif type(value) is not list:
            continue
        for child in children:
            kind = type(child)
            if kind is dict or kind is list:
                waiting.append(child)
    return count


def _refuse_size() -> NoReturn:
    message = f"has an object with more than {OBJECT_FIELDS_MAX} fields"
    raise InvalidRequest(errors=[FieldError("body", message)])


class _Pairs(dict[str, Any]):
    """An object as it was written, with the keys that stood in it twice."""

    twice: tuple[str, ...] = ()


def _pairs(pairs: list[tuple[str, Any]]) -> _Pairs:
    if len(pairs) > OBJECT_FIELDS_MAX:
        _refuse_size()
    found = _Pairs(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        found.twice = tuple(sorted({name for name in names if names.count(name) > 1}))
    return found


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not JSON")


def _integer(digits: str) -> int | float:
    # Python refuses to read thousands of digits; no field of ours takes more than 16, so any huge number will do.
    return int(digits) if len(digits) <= 100 else float("inf")


def _parse_literally(raw: bytes, errors: list[FieldError]) -> Any:
    try:
        parsed = json.loads(raw.decode(), object_pairs_hook=_pairs, parse_constant=_refuse_constant, parse_int=_integer)
    except (ValueError, RecursionError) as refusal:
        raise MalformedJson from refusal
    _tell_duplicates(parsed, errors)
    return parsed


def _tell_duplicates(parsed: Any, errors: list[RepeatedKey] | list[FieldError]) -> None:
    waiting: list[tuple[str, Steps, Any]] = [("", (), parsed)]
    while waiting and len(errors) < _DUPLICATES_MAX:
        path, place, value = waiting.pop()
        if isinstance(value, _Pairs):
            prefix = f"{path}." if path else ""
            errors.extend(RepeatedKey(prefix + shown(name), "is given twice", place) for name in value.twice)
            waiting.extend((prefix + shown(name), (*place, name), child) for name, child in value.items())
        elif isinstance(value, list):
            waiting.extend((f"{path}[{index}]", (*place, index), child) for index, child in enumerate(value))
