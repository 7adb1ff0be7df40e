"""Key names: one hash tag per shard, first in the name."""

from __future__ import annotations

import pytest
from redis.crc import key_slot

from gateway.hot.keys import Keys

SKUS = ["A", "{evil}", "}{", "a{b}c", "{}", "é", "a/b"]


@pytest.mark.parametrize("sku", SKUS)
def test_keys_of_a_shard_are_in_one_slot(sku: str) -> None:
    """Whatever braces a name has, the tag at the beginning decides: one slot for all keys of the shard."""
    keys = Keys("rg", 7, 3)
    names = [
        keys.meta, keys.log, keys.due, keys.sku("main", sku), keys.holds("main", sku), keys.reservation("x"),
        keys.request("y"), keys.ticket(f"s:main/{sku}"), keys.named(f"s:main/{sku}"),
    ]  # fmt: skip

    assert len({key_slot(name.encode()) for name in names}) == 1
    assert len(set(names)) == len(names) - 1  # `named` and `sku` are two ways to one name


def test_keys_of_shards_generations_and_prefixes_differ() -> None:
    """No two shards, generations or prefixes share a key; meta alone is the same in every generation."""
    all_keys = [
        Keys(prefix, shard, generation) for prefix in ("rg", "rg1") for shard in (0, 11) for generation in (1, 2)
    ]
    logs = {keys.log for keys in all_keys}
    metas = {keys.meta for keys in all_keys}

    assert len(logs) == 8
    assert len(metas) == 4


def test_keys_a_script_can_derive_from_the_log() -> None:
    """The log's name without its last three letters is what every other key of the generation begins with."""
    keys = Keys("rg", 0, 1)

    assert keys.log[:-3] == keys.base
    assert keys.due == keys.base + "due"
    assert keys.sku("main", "a/b") == keys.base + "s:main/a/b"
