"""Judging the Redis we are given: what makes it unfit is refused in one line with the mend, what is unwise is warned of."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.hot.connection import Link, ReplyError

VERSION_MIN = 7


@dataclass(slots=True)
class Judgement:
    """What was found: `refusals` stop the start and close the shard, `warnings` stay visible in /readyz.

    `evicted` counts the keys that the process `run_id` has thrown away since it was started.
    """

    server: str = ""
    refusals: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    run_id: str = ""
    evicted: int = 0


async def judge(link: Link) -> Judgement:
    """The verdict on the server behind the link.

    A server without INFO is the one in this process, and is told as such. Raises ReplyError, Lost, NotSent.
    """
    try:
        text = await link.call("INFO")
    except ReplyError as problem:
        if "unknown command" not in str(problem):
            raise
        return Judgement(
            "fakeredis", warnings=["Redis is simulated inside this process: for trying out, with one worker"]
        )
    told = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    name = told.get("server_name", "redis")
    version = told.get("valkey_version") or told.get("redis_version", "0")
    verdict = Judgement(f"{name} {version}", run_id=told.get("run_id", ""), evicted=int(told.get("evicted_keys", "0")))
    if int(told.get("redis_version", "0").split(".")[0]) < VERSION_MIN:
        verdict.refusals.append(f"Redis {version} is too old: use version {VERSION_MIN} or later, or Valkey")
    policy = told.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        verdict.refusals.append(
            f"maxmemory-policy is {policy}, which throws stock away when memory is short: set it to noeviction"
        )
    if told.get("role") != "master":
        verdict.refusals.append(f"the server is a {told.get('role')}: give the address of the primary")
    if told.get("aof_enabled") != "1":
        verdict.warnings.append("no append-only file: a restart of Redis loses holds that were not yet persisted")
    if told.get("connected_slaves", "0") == "0":
        verdict.warnings.append("no replica: while Redis is down nothing can be reserved")
    return verdict
