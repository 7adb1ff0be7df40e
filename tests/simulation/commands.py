"""The commands that scripts and gateway use, on a keyspace, as Redis 7 and Valkey answer them.

A handler takes the keyspace and the arguments after the command's name. Replies: None, int, str, list, `Status`; refusals are
raised as `Refusal` in the words of the servers. The form of each reply is held by the differential test.
"""

from __future__ import annotations

import fnmatch
import math
from bisect import bisect_left
from collections.abc import Callable
from typing import Any, Final

from tests.simulation.keyspace import NAMES, Id, Keyspace, SortedSet, Stream, WrongType

WRONG_TYPE: Final = "WRONGTYPE Operation against a key holding the wrong kind of value"
NO_INTEGER: Final = "ERR value is not an integer or out of range"
NO_FLOAT: Final = "ERR value is not a valid float"
SYNTAX: Final = "ERR syntax error"
BAD_ID: Final = "ERR Invalid stream ID specified as stream command argument"
SMALL_ID: Final = "ERR The ID specified in XADD is equal or smaller than the target stream top item"
INTEGER_MAX: Final = 2**63 - 1

Arguments = list[str]
Handler = Callable[[Keyspace, Arguments], Any]


class Refusal(Exception):
    """The command is refused with this line."""


class Status(str):
    """A reply that is a status, such as OK."""

    __slots__ = ()


OK: Final = Status("OK")


def integer(text: str) -> int:
    """The number. Raises Refusal for what a server takes for none."""
    digits = text[1:] if text[:1] == "-" else text
    if not (digits.isascii() and digits.isdigit()) or (digits[0] == "0" and len(text) > 1):
        raise Refusal(NO_INTEGER)
    number = int(text)
    if not -INTEGER_MAX - 1 <= number <= INTEGER_MAX:
        raise Refusal(NO_INTEGER)
    return number


def real(text: str) -> float:
    """The number. Raises Refusal for what a server takes for none."""
    try:
        if text != text.strip() or "_" in text:
            raise ValueError
        number = float(text)
    except ValueError:
        raise Refusal(NO_FLOAT) from None
    if math.isnan(number):
        raise Refusal(NO_FLOAT)
    return number


def real_text(number: float) -> str:
    """As servers write scores."""
    if math.isinf(number):
        return "inf" if number > 0 else "-inf"
    if number == int(number) and abs(number) < 1e17:
        return str(int(number))
    text = repr(number)
    return text.replace("e+0", "e+").replace("e-0", "e-") if "e" in text else text


# -- texts and keys ----------------------------------------------------------------------------------------------


def get(keys: Keyspace, given: Arguments) -> Any:
    return keys.get(given[0], str)


def mget(keys: Keyspace, given: Arguments) -> Any:
    values = [keys.values.get(name) if keys.has(name) else None for name in given]
    return [value if isinstance(value, str) else None for value in values]


def set_(keys: Keyspace, given: Arguments) -> Any:
    name, text, *options = given
    ends_ms, is_new_only, keeps = None, False, False
    words = iter(options)
    for word in words:
        option = word.upper()
        if option == "NX":
            is_new_only = True
        elif option == "KEEPTTL":
            keeps = True
        elif option in {"PX", "EX", "PXAT"}:
            value = next(words, None)
            if value is None or ends_ms is not None:
                raise Refusal(SYNTAX)
            number = integer(value)
            if number <= 0:
                raise Refusal("ERR invalid expire time in 'set' command")
            ends_ms = number if option == "PXAT" else keys.now_ms + number * (1000 if option == "EX" else 1)
        else:
            raise Refusal(SYNTAX)
    if is_new_only and keys.has(name):
        return None
    keys.values[name] = text
    if ends_ms is not None:
        keys.ends[name] = ends_ms
    elif not keeps:
        keys.ends.pop(name, None)
    return OK


def mset(keys: Keyspace, given: Arguments) -> Any:
    if len(given) % 2:
        raise Refusal("ERR wrong number of arguments for 'mset' command")
    for at in range(0, len(given), 2):
        keys.values[given[at]] = given[at + 1]
        keys.ends.pop(given[at], None)
    return OK


def exists(keys: Keyspace, given: Arguments) -> Any:
    return sum(keys.has(name) for name in given)


def type_(keys: Keyspace, given: Arguments) -> Any:
    return Status(NAMES[type(keys.values[given[0]])] if keys.has(given[0]) else "none")


def delete(keys: Keyspace, given: Arguments) -> Any:
    return sum([keys.drop(name) for name in given])


def pexpire(keys: Keyspace, given: Arguments) -> Any:
    return pexpireat(keys, [given[0], str(integer(given[1]) + keys.now_ms)])


def pexpireat(keys: Keyspace, given: Arguments) -> Any:
    ends_ms = integer(given[1])
    if not keys.has(given[0]):
        return 0
    if ends_ms <= keys.now_ms:
        keys.drop(given[0])
    else:
        keys.ends[given[0]] = ends_ms
    return 1


def persist(keys: Keyspace, given: Arguments) -> Any:
    return int(keys.has(given[0]) and keys.ends.pop(given[0], None) is not None)


def pttl(keys: Keyspace, given: Arguments) -> Any:
    if not keys.has(given[0]):
        return -2
    return max(keys.ends[given[0]] - keys.now_ms, 0) if given[0] in keys.ends else -1


def keys_(keys: Keyspace, given: Arguments) -> Any:
    return [name for name in keys.names() if fnmatch.fnmatchcase(name, _pattern(given[0]))]


def scan(keys: Keyspace, given: Arguments) -> Any:
    """All in one page: a page may be larger than COUNT."""
    options = {given[at].upper(): given[at + 1] for at in range(1, len(given) - 1, 2)}
    return ["0", keys_(keys, [options.get("MATCH", "*")])]


def _pattern(text: str) -> str:
    """Python's matching has no special braces, and neither has Redis'."""
    return text


def dbsize(keys: Keyspace, _: Arguments) -> Any:
    return len(keys.names())


def flushall(keys: Keyspace, _: Arguments) -> Any:
    keys.values.clear()
    keys.ends.clear()
    return OK


# -- hashes ------------------------------------------------------------------------------------------------------


def hget(keys: Keyspace, given: Arguments) -> Any:
    return (keys.get(given[0], dict) or {}).get(given[1])


def hmget(keys: Keyspace, given: Arguments) -> Any:
    fields = keys.get(given[0], dict) or {}
    return [fields.get(field) for field in given[1:]]


def hgetall(keys: Keyspace, given: Arguments) -> Any:
    flat: list[str] = []
    for field, value in (keys.get(given[0], dict) or {}).items():
        flat += (field, value)
    return flat


def hset(keys: Keyspace, given: Arguments) -> Any:
    if len(given) % 2 == 0:
        raise Refusal("ERR wrong number of arguments for 'hset' command")
    fields = keys.make(given[0], dict)
    before = len(fields)
    for at in range(1, len(given), 2):
        fields[given[at]] = given[at + 1]
    return len(fields) - before


def hincrby(keys: Keyspace, given: Arguments) -> Any:
    by = integer(given[2])
    fields = keys.make(given[0], dict)
    try:
        before = integer(fields.get(given[1], "0"))
    except Refusal:
        raise Refusal("ERR hash value is not an integer") from None
    if not -INTEGER_MAX - 1 <= before + by <= INTEGER_MAX:
        raise Refusal("ERR increment or decrement would overflow")
    fields[given[1]] = str(before + by)
    return before + by


def hexists(keys: Keyspace, given: Arguments) -> Any:
    return int(given[1] in (keys.get(given[0], dict) or {}))


def hdel(keys: Keyspace, given: Arguments) -> Any:
    fields = keys.get(given[0], dict)
    if fields is None:
        return 0
    gone = sum([fields.pop(field, None) is not None for field in given[1:]])
    if not fields:
        keys.drop(given[0])
    return gone


def hlen(keys: Keyspace, given: Arguments) -> Any:
    return len(keys.get(given[0], dict) or {})


# -- sorted sets -------------------------------------------------------------------------------------------------


def zadd(keys: Keyspace, given: Arguments) -> Any:
    if len(given) % 2 == 0:
        raise Refusal(SYNTAX)
    pairs = [(real(given[at]), given[at + 1]) for at in range(1, len(given), 2)]
    members = keys.make(given[0], SortedSet)
    return sum([members.add(member, score) for score, member in pairs])


def zrem(keys: Keyspace, given: Arguments) -> Any:
    members = keys.get(given[0], SortedSet)
    if members is None:
        return 0
    gone = sum([members.remove(member) for member in given[1:]])
    if not members.scores:
        keys.drop(given[0])
    return gone


def zscore(keys: Keyspace, given: Arguments) -> Any:
    members = keys.get(given[0], SortedSet)
    score = None if members is None else members.scores.get(given[1])
    return None if score is None else real_text(score)


def zcard(keys: Keyspace, given: Arguments) -> Any:
    members = keys.get(given[0], SortedSet)
    return 0 if members is None else len(members.order)


def zrange(keys: Keyspace, given: Arguments) -> Any:
    is_scored = _is_scored(given[3:])
    first, last = integer(given[1]), integer(given[2])
    members = keys.get(given[0], SortedSet)
    if members is None:
        return []
    count = len(members.order)
    first, last = first if first >= 0 else max(first + count, 0), last if last >= 0 else max(last + count, -1)
    return _told(members.order[first : last + 1], is_scored=is_scored)


def _is_scored(options: Arguments) -> bool:
    if any(option.upper() != "WITHSCORES" for option in options):
        raise Refusal(SYNTAX)
    return bool(options)


def _told(found: list[tuple[float, str]], *, is_scored: bool) -> list[str]:
    if not is_scored:
        return [member for _, member in found]
    flat: list[str] = []
    for score, member in found:
        flat += (member, real_text(score))
    return flat


def zrangebyscore(keys: Keyspace, given: Arguments) -> Any:
    first, last = _bound(given[1]), _bound(given[2])
    offset, limit = 0, -1
    options = given[3:]
    if options:
        if options[0].upper() != "LIMIT" or len(options) != 3:
            raise Refusal(SYNTAX)
        offset, limit = integer(options[1]), integer(options[2])
    members = keys.get(given[0], SortedSet)
    if members is None or offset < 0:
        return []
    order = members.order
    at = bisect_left(order, (first[0], ""))
    while first[1] and at < len(order) and order[at][0] == first[0]:
        at += 1
    end = at
    while end < len(order) and (order[end][0] < last[0] or (order[end][0] == last[0] and not last[1])):
        end += 1
    found = order[at:end][offset:]
    return _told(found if limit < 0 else found[:limit], is_scored=False)


def _bound(text: str) -> tuple[float, bool]:
    """The bound, and whether it is left out itself."""
    is_open = text.startswith("(")
    try:
        return real(text[1:] if is_open else text), is_open
    except Refusal:
        raise Refusal("ERR min or max is not a float") from None


def zscan(keys: Keyspace, given: Arguments) -> Any:
    members = keys.get(given[0], SortedSet)
    return ["0", [] if members is None else _told(members.order, is_scored=True)]


# -- streams -----------------------------------------------------------------------------------------------------


def parse_id(text: str, missing: int = 0) -> Id:
    """The id. Raises Refusal."""
    first, dash, second = text.partition("-")
    if not first.isdigit() or not first.isascii() or (dash and not (second.isdigit() and second.isascii())):
        raise Refusal(BAD_ID)
    found = int(first), int(second) if dash else missing
    if max(found) >= 2**64:
        raise Refusal(BAD_ID)
    return found


def id_text(id: Id) -> str:
    """As it is written."""
    return f"{id[0]}-{id[1]}"


def xadd(keys: Keyspace, given: Arguments) -> Any:
    name, *rest = given
    is_making, entries_max = True, -1
    while rest:
        word = rest[0].upper()
        if word == "NOMKSTREAM":
            is_making, rest = False, rest[1:]
        elif word == "MAXLEN":
            rest = rest[2:] if rest[1] in {"=", "~"} else rest[1:]
            entries_max, rest = integer(rest[0]), rest[1:]
        else:
            break
    if len(rest) < 3 or len(rest) % 2 == 0:
        raise Refusal("ERR wrong number of arguments for 'xadd' command")
    wanted = None if rest[0] == "*" else parse_id(rest[0])
    if wanted == (0, 0):
        raise Refusal("ERR The ID specified in XADD must be greater than 0-0")
    stream = keys.get(name, Stream)
    if stream is None:
        if not is_making:
            return None
        stream = keys.make(name, Stream)
    last = stream.last_id
    id = wanted or ((keys.now_ms, 0) if keys.now_ms > last[0] else (last[0], last[1] + 1))
    if id <= last:
        raise Refusal(SMALL_ID)
    stream.entries.append((id, rest[1:]))
    stream.last_id = id
    if 0 <= entries_max < len(stream.entries):
        del stream.entries[: len(stream.entries) - entries_max]
    return id_text(id)


def xrange(keys: Keyspace, given: Arguments) -> Any:
    first = (0, 0) if given[1] == "-" else parse_id(given[1].removeprefix("("))
    last = (2**64, 0) if given[2] == "+" else parse_id(given[2].removeprefix("("), 2**64 - 1)
    count = -1
    if len(given) > 3:
        if given[3].upper() != "COUNT" or len(given) != 5:
            raise Refusal(SYNTAX)
        count = integer(given[4])
    stream = keys.get(given[0], Stream)
    if stream is None:
        return []
    entries = stream.entries
    at = bisect_left(entries, (first, []))
    found = []
    for id, fields in entries[at:]:
        if count >= 0 and len(found) >= count:
            break
        if (id == first and given[1][:1] == "(") or id > last or (id == last and given[2][:1] == "("):
            continue
        found.append([id_text(id), fields])
    return found


def xlen(keys: Keyspace, given: Arguments) -> Any:
    stream = keys.get(given[0], Stream)
    return 0 if stream is None else len(stream.entries)


def xtrim(keys: Keyspace, given: Arguments) -> Any:
    if given[1].upper() not in {"MINID", "MAXLEN"} or len(given) != 3:
        raise Refusal(SYNTAX)
    is_counted = given[1].upper() == "MAXLEN"
    entries_max, least = (integer(given[2]), (0, 0)) if is_counted else (0, parse_id(given[2]))
    if entries_max < 0:
        raise Refusal("ERR The MAXLEN argument must be >= 0.")
    stream = keys.get(given[0], Stream)
    if stream is None:
        return 0
    gone = max(len(stream.entries) - entries_max, 0) if is_counted else bisect_left(stream.entries, (least, []))
    del stream.entries[:gone]
    return gone


def xdel(keys: Keyspace, given: Arguments) -> Any:
    stream = keys.get(given[0], Stream)
    if stream is None:
        return 0
    gone = {parse_id(text) for text in given[1:]}
    before = len(stream.entries)
    stream.entries = [entry for entry in stream.entries if entry[0] not in gone]
    return before - len(stream.entries)


#: Name: the handler, the fewest arguments, whether it writes, whether a full server refuses it.
COMMANDS: Final[dict[str, tuple[Handler, int, bool, bool]]] = {
    "GET": (get, 1, False, False),
    "MGET": (mget, 1, False, False),
    "SET": (set_, 2, True, True),
    "MSET": (mset, 2, True, True),
    "EXISTS": (exists, 1, False, False),
    "TYPE": (type_, 1, False, False),
    "DEL": (delete, 1, True, False),
    "UNLINK": (delete, 1, True, False),
    "PEXPIRE": (pexpire, 2, True, False),
    "PEXPIREAT": (pexpireat, 2, True, False),
    "PERSIST": (persist, 1, True, False),
    "PTTL": (pttl, 1, False, False),
    "KEYS": (keys_, 1, False, False),
    "SCAN": (scan, 1, False, False),
    "DBSIZE": (dbsize, 0, False, False),
    "FLUSHALL": (flushall, 0, True, False),
    "HGET": (hget, 2, False, False),
    "HMGET": (hmget, 2, False, False),
    "HGETALL": (hgetall, 1, False, False),
    "HSET": (hset, 3, True, True),
    "HINCRBY": (hincrby, 3, True, True),
    "HEXISTS": (hexists, 2, False, False),
    "HDEL": (hdel, 2, True, False),
    "HLEN": (hlen, 1, False, False),
    "ZADD": (zadd, 3, True, True),
    "ZREM": (zrem, 2, True, False),
    "ZSCORE": (zscore, 2, False, False),
    "ZCARD": (zcard, 1, False, False),
    "ZRANGE": (zrange, 3, False, False),
    "ZRANGEBYSCORE": (zrangebyscore, 3, False, False),
    "ZSCAN": (zscan, 2, False, False),
    "XADD": (xadd, 4, True, True),
    "XRANGE": (xrange, 3, False, False),
    "XLEN": (xlen, 1, False, False),
    "XTRIM": (xtrim, 3, True, False),
    "XDEL": (xdel, 2, True, False),
}


def run(keys: Keyspace, command: str, given: Arguments) -> Any:
    """The reply. Raises Refusal."""
    handler, fewest, _, _ = COMMANDS[command]
    if len(given) < fewest:
        raise Refusal(f"ERR wrong number of arguments for '{command.lower()}' command")
    try:
        return handler(keys, given)
    except WrongType:
        raise Refusal(WRONG_TYPE) from None
