"""The text of operations as scripts read it, and of what they answer. The forms are told in lua/README.md."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from gateway.domain.answer import Shortage
from gateway.domain.command import Adjust, Confirm, Extend, Fulfil, Pause, PutLevel, Release, Reserve
from gateway.domain.identifier import ReservationId
from gateway.domain.policy import Policy
from gateway.domain.stock import Sku, SourceEntry, parse_level


def reserve_text(
    command: Reserve,
    *,
    shop: str,
    actor: str,
    random_part: str,
    record: str,
    ttl_ms: int,
    priority: str,
    has_asked: bool,
) -> str:
    """The operation reserve. Wishes of one sku and location are summed, so that they are judged together."""
    wishes = command.lines
    if len(wishes) == 1:
        wish = wishes[0]
        rows = f"{wish.sku}\t{wish.location or ''}\t{wish.quantity}"
    elif len({wish.sku for wish in wishes}) == len(wishes):
        rows = "\n".join([f"{wish.sku}\t{wish.location or ''}\t{wish.quantity}" for wish in wishes])
    else:
        summed: dict[tuple[str, str], int] = {}
        for wish in wishes:
            place = (wish.sku, wish.location or "")
            summed[place] = summed.get(place, 0) + wish.quantity
        rows = "\n".join([f"{sku}\t{location}\t{quantity}" for (sku, location), quantity in summed.items()])
    locations = command.locations
    return (
        f"reserve\t{random_part}\t{record}\t{command.fingerprint}\t{shop}\t{actor}\t{command.tier}\t{ttl_ms}\t"
        f"{command.reference or ''}\t{command.customer or ''}\t{command.channel or ''}\t{int(command.allow_partial)}\t"
        f"{int(locations is not None)}\t{priority if locations is None else ','.join(locations)}\t{int(has_asked)}\n{rows}"
    )


def _change(name: str, shop: str, actor: str, id: ReservationId) -> str:
    return f"{name}\t{shop}\t{id.random_part}\t{id.epoch}-{id.seq}\t{actor}"


def extend_text(command: Extend, *, shop: str, actor: str, id: ReservationId, policy: Policy) -> str:
    """The operation extend, with every tier in force: the script alone knows in which one the hold is."""
    ttl = "" if command.ttl_seconds is None else str(command.ttl_seconds * 1000)
    tiers = "".join(
        f"\n{tier.name}\t{tier.ttl_seconds * 1000}\t{tier.ttl_seconds_max * 1000}\t{tier.lifetime_seconds_max * 1000}"
        for tier in policy.tiers.values()
    )
    return f"{_change('extend', shop, actor, id)}\t{command.tier or ''}\t{ttl}{tiers}"


def confirm_text(command: Confirm, *, shop: str, actor: str, id: ReservationId, policy: Policy) -> str:
    """The operation confirm."""
    may_reacquire = int(command.if_expired == "reacquire")
    return f"{_change('confirm', shop, actor, id)}\t{may_reacquire}\t{int(command.fulfil)}\t{policy.retention_ms}"


def fulfil_text(command: Fulfil, *, shop: str, actor: str, id: ReservationId) -> str:
    """The operation fulfil."""
    return _change("fulfil", shop, actor, id)


def release_text(command: Release, *, shop: str, actor: str, id: ReservationId) -> str:
    """The operation release."""
    return f"{_change('release', shop, actor, id)}\t{command.reason or ''}"


def _number(value: int | None) -> str:
    return "" if value is None else str(value)


def put_text(command: PutLevel, *, shop: str, actor: str, content: str, reflects: Iterable[ReservationId]) -> str:
    """The operation put; `content` is the digest that tells the same message from another under one sequence."""
    rows = "".join(f"\n{id.random_part}\t{id.epoch}-{id.seq}" for id in reflects)
    return (
        f"put\t{shop}\t{actor}\t{command.sku}\t{command.location}\t{command.source}\t{command.sequence}\t"
        f"{_number(command.on_hand)}\t{_number(command.deduction)}\t{_number(command.safety_stock)}\t{content}\t"
        f"{_number(command.if_match)}{rows}"
    )


def adjust_text(command: Adjust, *, shop: str, actor: str, record: str, has_asked: bool) -> str:
    """The operation adjust."""
    return (
        f"adjust\t{shop}\t{actor}\t{command.sku}\t{command.location}\t{command.delta}\t{command.reason}\t"
        f"{command.reference or ''}\t{record}\t{command.fingerprint}\t{_number(command.if_match)}\t{int(has_asked)}"
    )


def pause_text(command: Pause, *, shop: str, actor: str) -> str:
    """The operation pause, for both directions."""
    return f"pause\t{shop}\t{actor}\t{command.sku}\t{int(command.paused)}\t{command.reason or ''}"


def touched_names(text: str) -> list[str]:
    """The names of the skus, the reservations and the request record that this operation names; a bare name is itself."""
    head, *rows = text.split("\n")
    fields, first = head.split("\t"), [row.partition("\t")[0] for row in rows]
    match fields:
        case ["reserve", _, record, _, shop, *_]:
            return [f"q:{record}", *(f"s:{shop}/{sku}" for sku in first)]
        case ["put", shop, _, sku, *_]:
            return [f"s:{shop}/{sku}", *(f"r:{random_part}" for random_part in first)]
        case ["adjust", shop, _, sku, _, _, _, _, record, *_]:
            return [f"s:{shop}/{sku}", f"q:{record}"]
        case ["pause", shop, _, sku, *_]:
            return [f"s:{shop}/{sku}"]
        case ["extend" | "confirm" | "fulfil" | "release", _, random_part, *_]:
            return [f"r:{random_part}"]
        case _:
            return fields


def parse_shortages(text: str) -> list[Shortage]:
    """The shortages of a refusal or of a partial hold, a line each."""
    return [_shortage(row) for row in text.split("\n")] if text else []


#: What is sold out is refused for the same reason again and again. A row has some 300 characters at most.
SHORTAGES_KEPT: Final = 1024


@lru_cache(SHORTAGES_KEPT)
def _shortage(row: str) -> Shortage:
    sku, location, requested, available, reason, next_release = row.split("\t")
    return Shortage(sku, location or None, int(requested), int(available), reason, int(next_release) or None)


def parse_sku(text: str) -> Sku:
    """The sku with its levels and sources, as scripts tell it."""
    head, *rows = text.split("\n")
    _, name, paused, epoch, seq, reason = head.split("\t")
    shop, sku = name.split("/", 1)
    found = Sku(shop, sku, paused == "1", reason, {}, int(epoch), int(seq))
    location = ""
    for row in rows:
        letter, *fields = row.split("\t")
        if letter == "L":
            found.levels[fields[0]] = parse_level(fields[0], fields[1])
            continue
        if letter == "X":
            location = fields.pop(0)
        source, sequence, deduction, digest = fields
        found.levels[location].sources[source] = SourceEntry(source, int(sequence), int(deduction), digest)
    return found


def sku_fields(sku: Sku, *, next_due_ms: int = 0, has_ttl: bool) -> list[str]:
    """The sku's hash as field, value, …: what `load` installs."""
    head = f"{next_due_ms} {int(has_ttl)} {int(sku.paused)} {sku.epoch} {sku.seq}\t{sku.reason}"
    fields = ["*", head]
    for level in sku.levels.values():
        fields += [f"L{level.location}", level.pack()]
        if level.sources:
            fields += [f"X{level.location}", level.pack_sources()]
    return fields
