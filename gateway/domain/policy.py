"""The policy of holds: tiers, and how long ended and settled things are remembered where.

`Policy` is a value; `PolicyBook` holds the one in force. The book stands on this floor because it knows both
the settings and the policy; it reads no file itself but is given the function that does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from gateway.domain.instant import rfc3339
from gateway.settings import KeyPath, Layer, Settings, keys, toml_name

# The sections that can change while the gateway runs; every other key needs a restart.
RELOADABLE = ("tiers", "retention", "hot")

# The sections shown beside them: limits and thresholds. No address and no secret is among them.
SHOWN = ("http", "redis", "durable", "ack", "locations", "flush", "expiry")


@dataclass(frozen=True, slots=True)
class Tier:
    """How long holds of one kind live, in whole seconds.

    `ttl_seconds` where the request names no time, at most `ttl_seconds_max` where it does, and never past
    `lifetime_seconds_max` since the hold was created.
    """

    name: str
    ttl_seconds: int
    ttl_seconds_max: int
    lifetime_seconds_max: int


@dataclass(frozen=True, slots=True)
class Policy:
    """What new holds are judged by. A request keeps the policy that it began with.

    `version` starts at 1 and grows with every change; `source` says which layers of the configuration it came
    from.
    """

    tiers: Mapping[str, Tier]
    retention_seconds: int
    idle_ttl_seconds: int
    ended_ttl_seconds: int
    version: int = 1
    # Where it was read says nothing about what it says.
    source: str = field(default=Layer.DEFAULT, compare=False)

    @property
    def retention_ms(self) -> int:
        """How long a key is promised to be remembered after its reservation's end."""
        return self.retention_seconds * 1000

    @property
    def record_ms(self) -> int:
        """How long it is: a twentieth longer, so that small jumps of the clock by which it ends cost nothing of the promise."""
        return self.retention_seconds * 1050

    @classmethod
    def of(cls, settings: Settings, version: int = 1) -> Policy:
        """The policy that these settings describe."""
        tiers = {
            name: Tier(name, tier.ttl_seconds, tier.ttl_seconds_max, tier.lifetime_seconds_max)
            for name, tier in settings.tiers.items()
        }
        return cls(
            tiers=MappingProxyType(tiers),
            retention_seconds=settings.retention.seconds,
            idle_ttl_seconds=settings.hot.idle_ttl_seconds,
            ended_ttl_seconds=settings.hot.ended_ttl_seconds,
            version=version,
            source=_source(settings),
        )


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What a reload did: `ignored` names the keys that differ from the running ones but need a restart."""

    policy: Policy
    is_changed: bool
    ignored: list[str]


class PolicyBook:
    """The policy in force. `reload` replaces it as a whole or not at all."""

    def __init__(
        self,
        settings: Settings,
        read: Callable[[], Settings],
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        """The policy of `settings` is in force, as version 1.

        `read` gives the settings as they are now or raises SettingsInvalid; `clock_ms` is the wall clock,
        which only dates the description and judges nothing.
        """
        self._running = settings
        self._read = read
        self._clock_ms = clock_ms
        # One reference, so that a reader never sees the policy of one load with the sources of another.
        self._in_force = _InForce(settings, Policy.of(settings), clock_ms())

    @property
    def current(self) -> Policy:
        """The policy in force; a value that never changes."""
        return self._in_force.policy

    def reload(self) -> Reloaded:
        """The configuration as it is now is in force, as far as it can change without a restart.

        The version grows by one if the policy differs, and stays if it does not. Safe to repeat.

        Raises:
            SettingsInvalid: the configuration cannot be used; the policy that was in force stays.
        """
        settings = self._read()
        before = self._in_force.policy
        after = Policy.of(settings, before.version)
        is_changed = after != before
        if is_changed:
            after = replace(after, version=before.version + 1)
        self._in_force = _InForce(settings, after, self._clock_ms())
        return Reloaded(after, is_changed, _need_restart(self._running, settings))

    def description(self) -> dict[str, object]:
        """The policy, the limits and the thresholds in force as JSON has them, each key with its source.

        `sources` maps the key (`tiers.cart.ttl_seconds`) to `environment`, `operator file` or `default file`.
        """
        in_force = self._in_force
        policy, settings = in_force.policy, in_force.settings
        return {
            "version": policy.version,
            "source": policy.source,
            "loaded_at": rfc3339(in_force.loaded_at_ms),
            **{section: _section(settings, section) for section in RELOADABLE},
            "limits": {section: _section(self._running, section) for section in SHOWN},
            "sources": {
                toml_name(path): str((settings if path[0] in RELOADABLE else self._running).origin(path).layer)
                for path in keys(frozenset(policy.tiers))
                if path[0] in RELOADABLE + SHOWN
            },
        }


@dataclass(frozen=True, slots=True)
class _InForce:
    settings: Settings
    policy: Policy
    loaded_at_ms: int


def _section(settings: Settings, name: str) -> object:
    """One section as JSON has it; of `tiers`, each tier by its name."""
    return settings.model_dump(mode="json", include={name})[name]


def _source(settings: Settings) -> str:
    """Where the reloadable keys came from, strongest first: `environment, /etc/gw.toml, default file`."""
    origins = [settings.origin(path) for path in keys(frozenset(settings.tiers)) if path[0] in RELOADABLE]
    places: dict[str, None] = {}
    for layer in Layer:
        for origin in origins:
            if origin.layer is layer:
                places[layer if layer is Layer.DEFAULT else origin.place] = None
    return ", ".join(places)


def _need_restart(running: Settings, read: Settings) -> list[str]:
    """The keys outside the reloadable sections whose values differ. Names only: a value may be a secret."""
    return [
        toml_name(path) for path in keys() if path[0] not in RELOADABLE and _value(running, path) != _value(read, path)
    ]


def _value(settings: Settings, path: KeyPath) -> object:
    value: object = settings
    for name in path:
        value = getattr(value, name)
    return value
