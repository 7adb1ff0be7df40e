"""A witness beside the log: it has read every entry before the flusher could drop one, and knows what must be stored."""

from __future__ import annotations

from gateway.domain.reservation import parse_reservation
from gateway.domain.stock import parse_level
from tests.service.gateway import Gateway


class Witness:
    """Everything the log ever held, in order."""

    def __init__(self) -> None:
        self.entries: list[tuple[int, str, str]] = []

    async def look(self, gateway: Gateway) -> None:
        """What is new in the log is known. Call it before every turn of a flusher."""
        after = self.entries[-1][0] if self.entries else 0
        for id, fields in await gateway.log_entries(f"({after}-0"):
            self.entries.append((int(id.split("-")[0]), fields[1], fields[3]))

    async def compare(self, gateway: Gateway) -> None:
        """The durable log is exactly what the log held, and the shard's row stands at its end."""
        events, after = [], 0
        while page := await gateway.ledger.read_events(0, after, 1000):
            events += page
            after = page[-1].seq
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        stored: list[tuple[int, str, str]] = []
        for entry_seq in dict.fromkeys(event.entry_seq for event in events):
            of_entry = [event for event in events if event.entry_seq == entry_seq]
            assert len({event.digest for event in of_entry}) == 1
            stored.append((entry_seq, "\n".join(event.payload for event in of_entry), of_entry[0].digest))
        assert stored == self.entries
        row = await gateway.ledger.read_shard(0)
        assert (row.checkpoint, row.digest) == (self.entries[-1][0], self.entries[-1][2])


async def compare_rows(gateway: Gateway) -> int:
    """Each level, reservation and record that Redis has is the same in the durable store. Returns how many were compared."""
    base, ledger = gateway.shard.keys.base, gateway.ledger
    compared = 0
    for key in await gateway.keys(f"{base}s:*"):
        shop, sku = key.removeprefix(f"{base}s:").split("/", 1)
        fields = await gateway.redis("HGETALL", key)
        hot = dict(zip(fields[::2], fields[1::2], strict=True))
        stored = await ledger.read_sku(shop, sku)
        if stored is None:
            assert list(hot) == ["*"], key  # that there is no such sku is known for a moment
            continue
        for name, text in hot.items():
            if name.startswith("L"):
                level = parse_level(name[1:], text, hot.get(f"X{name[1:]}", ""))
                assert stored.levels[name[1:]] == level
                compared += 1
        assert [stored.paused, stored.reason] == [hot["*"].split(" ")[2] == "1", hot["*"].partition("\t")[2]]
    for key in await gateway.keys(f"{base}r:*"):
        part, text = key.removeprefix(f"{base}r:"), await gateway.redis("GET", key)
        assert await ledger.read_reservation(part) == text
        assert parse_reservation(0, part, text).pack() == text
        compared += 1
    for key in await gateway.keys(f"{base}q:*"):
        row = await ledger.read_request(key.removeprefix(f"{base}q:"))
        assert row is not None, key
        told = f"{row.fingerprint}\t{row.operation}\t{row.target}\t{row.epoch}\t{row.seq}"
        assert told == await gateway.redis("GET", key)
        compared += 1
    return compared
