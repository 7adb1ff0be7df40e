"""All planted bugs. Add one by `planted(name, file, old, new, caught_by=…, reason=…)`; a fault scenario is named as pytest knows it:
`tests/faults/test_redis_faults.py -m faults -k emptied`."""

from __future__ import annotations

from typing import Final

from tests.planted.bug import Bug, Change, planted

BUGS: Final[tuple[Bug, ...]] = (
    # -- the gate, and what is answered when ------------------------------------------------------------------
    # No run of the simulation sees a gate without digest: who reads a log verifies its chain from the committed digest, and a
    # server with another history is found by its lineage. The gate is the last of three, and has a test of its own.
    planted(
        "gate without digest",
        "gateway/durable/sqlite_append.py",
        "checkpoint = ? AND digest = ? AND ",
        "checkpoint = ? AND (digest = ? OR 1) AND ",
        caught_by="tests/contract/test_gate.py -k sqlite",
        reason=r"FAILED .*other digest before it",
    ),
    planted(
        "replay answered without waiting for the commit",
        "gateway/service/books.py",
        """        if ack == "memory":
            return False
        try:""",
        """        if ack == "memory":
            return False
        seen = self.__dict__.setdefault("_seen", set())
        if (epoch, seq) in seen:
            return True
        seen.add((epoch, seq))
        try:""",
        reason=r"K4 |K13 ",
    ),
    planted(
        "waiter by seq alone",
        "gateway/flush/watermark.py",
        "            if self.covers(old_epoch, waited_seq):",
        "            if waited_seq <= seq:",
        reason=r"K4 |K13 ",
    ),
    planted(
        "told durable before the commit",
        "gateway/flush/flusher.py",
        "            sent = time.perf_counter()\n",
        "            sent = time.perf_counter()\n            self._watermark.rise(batch.last_seq)\n",
        reason=r"K4 |K13 ",
    ),
    planted(
        "a batch is of the epoch in which it is sent",
        "gateway/flush/flusher.py",
        "            if not await self._commit(batch):\n",
        "            batch.epoch = self._epoch\n            if not await self._commit(batch):\n",
        caught_by="tests/flush/test_flusher.py -k ended_while_it_read",
        reason=r"FAILED .*ended_while_it_read",
    ),
    planted(
        "COMMIT unknown taken for committed",
        "gateway/flush/flusher.py",
        """            log.warning("commit_unknown", first_seq=batch.first_seq, last_seq=batch.last_seq)
""",
        """            log.warning("commit_unknown", first_seq=batch.first_seq, last_seq=batch.last_seq)
            return True
""",
        reason=r"K4 |K13 |K7 |K2 ",
    ),
    planted(
        "an append that failed taken for committed",
        "gateway/flush/flusher.py",
        """        except LedgerUnavailable:
            metrics.LEDGER_ERRORS["append"].inc()
            raise
""",
        """        except LedgerUnavailable:
            metrics.LEDGER_ERRORS["append"].inc()
            return True
""",
        reason=r"K4 |K13 |K7 |K2 |K16 ",
    ),
    planted(
        "a frozen flusher keeps the shard's row locked",
        "gateway/durable/postgres_transaction.py",
        "IDLE_SECONDS_MAX: Final = 3",
        "IDLE_SECONDS_MAX: Final = 30",
        caught_by="tests/durable/test_postgres_commit.py",
        reason=r"FAILED .*test_postgres_commit",
    ),
    planted(
        "a flusher frozen in a COPY keeps the shard's row locked",
        "gateway/durable/postgres.py",
        "await end_frozen(raw)",
        "pass",
        caught_by="tests/durable/test_postgres_commit.py -k frozen",
        reason=r"FAILED .*test_gateway_frozen_in_a_copy",
    ),
    planted(
        "conflict ignored in the ledger",
        "gateway/durable/written.py",
        'Written(schema.events, "insert", batch.events',
        'Written(schema.events, "keep", batch.events',
        caught_by="tests/contract/test_append.py tests/contract/test_gate.py -k sqlite",
        reason=r"FAILED .*test_append",
    ),
    # -- the scripts --------------------------------------------------------------------------------------------
    planted(
        "settle trims what is not committed",
        "lua/settle.lua",
        "'MINID', format('%d-0', COMMITTED))",
        "'MINID', format('%d-0', COMMITTED + 2))",
        reason=r"K13 |K4 |K16 |K2 seq",
    ),
    planted(
        "settle trims the anchor",
        "lua/settle.lua",
        "'MINID', format('%d-0', COMMITTED))",
        "'MINID', format('%d-0', COMMITTED + 1))",
        caught_by="tests/lua/test_settle.py -k valkey",
        reason=r"FAILED .*test_settle",
    ),
    planted(
        "expire ignores the state",
        "lua/_lib/reservations.lua",
        "  if r.state ~= 'h' or r.deadline > now then return end",
        "  if r.deadline > now then return end",
        reason=r"K8 |K3 |K17 ",
    ),
    planted(
        "a hold lives on at its very deadline",
        "lua/_lib/reservations.lua",
        "r.deadline > now then return end",
        "r.deadline >= now then return end",
        caught_by="tests/lua/test_reserve.py -k exact_deadline",
        reason=r"FAILED .*exact_deadline",
    ),
    planted(
        "a second release gives units back again",
        "lua/_lib/change.lua",
        "  if r.state == 'r' or r.state == 'e' then return { 'RELEASED', r.id, r.text } end",
        "  if r.state == 'e' then return { 'RELEASED', r.id, r.text } end",
        reason=r"K8 |K3 |K6 |K17 release",
    ),
    planted(
        "scripts do not check the epoch",
        "lua/_lib/shard.lua",
        "  if meta[1] ~= EPOCH then return 'CLOSED' end",
        "  if not meta[1] then return 'CLOSED' end",
        caught_by="tests/lua/test_gates.py -k valkey",
        reason=r"FAILED .*test_gates",
    ),
    planted(
        "a resent reserve is not recognised",
        "lua/_lib/reserve.lua",
        "  elseif is_any_made() and call('EXISTS', BASE .. 'r:' .. operation.id) == 1 then",
        "  elseif is_any_made() and false then",
        caught_by="tests/lua/test_reserve.py -k valkey",
        reason=r"FAILED .*test_reserve",
    ),
    planted(
        "a sold hold stays in the index of deadlines",
        "lua/_lib/change.lua",
        "    if r.state == 'h' then leave_due(r) end\n    r.state, r.confirmed",
        "    r.state, r.confirmed",
        reason=r"K3 ",
    ),
    planted(
        "an idempotency key is not claimed",
        "lua/_lib/reserve.lua",
        "  if operation.record ~= '' then claim(event,",
        "  if operation.record == 'never' then claim(event,",
        reason=r"K6 |K11 |K3 ",
    ),
    planted(
        "a load that was overtaken is installed",
        "lua/load.lua",
        "if redis.call('GET', KEYS[3]) ~= ARGV[3] then return { NONCE, 'OVERTAKEN' } end\n",
        "",
        caught_by="tests/lua/test_load.py -k valkey",
        reason=r"FAILED .*test_load",
    ),
    # -- opening ------------------------------------------------------------------------------------------------
    Bug(
        "adopted without verifying the chain",
        (
            Change("gateway/service/tail.py", "    return end == (meta.seq, meta.digest)", "    return bool(end)"),
            Change(
                "gateway/service/opening.py",
                "is_sound = meta is not None and not meta.is_poisoned and not self._is_broken",
                "is_sound = meta is not None and not meta.is_poisoned",
            ),
        ),
        ("simulation",),
        r"K\d+ ",
    ),
    planted(
        "the log's digests are not verified",
        "gateway/hot/log.py",
        "    if not is_chained(previous_digest, payload, digest):",
        "    if False:",
        caught_by="tests/hot/test_log.py",
        reason=r"FAILED .*test_log",
    ),
    planted(
        "an epoch is raised for a server that was the primary once",
        "gateway/service/opening.py",
        "        await shard.verify()\n",
        "        pass\n",
        caught_by="tests/service/test_opening_elsewhere.py -k may_not_be_the_primary",
        reason=r"FAILED .*raises_no_epoch",
    ),
    planted(
        "a tail beyond the end of its epoch is taken over",
        "gateway/service/tail.py",
        "        if any(event.seq > ends.get(event.epoch, event.seq) for event in entry.events):",
        "        if not entry.events:",
        reason=r"K7 ",
    ),
    planted(
        "a lost hold is answered as if it had never been",
        "gateway/service/books.py",
        "end is not None and id.seq > end:",
        "end is not None and id.seq > end + 10**9:",
        reason=r"K13 .*404",
    ),
    planted(
        "unknown requests are not asked for after a rebuild",
        "gateway/service/opening.py",
        'else (self._policy().retention_ms, "rebuilt")',
        'else (0, "rebuilt")',
        reason=r"K6 |K11 |K3 ",
    ),
    planted(
        "the key of a sale is forgotten a retention after a rebuild",
        "lua/tick.lua",
        "if ASKS_ON and now < ask_until_ms then",
        "if false then",
        caught_by="tests/service/test_remembering.py -k lasts_as_long",
        reason=r"FAILED .*lasts_as_long",
    ),
    planted(
        "unknown requests are not asked for after a jump of the clock",
        "lua/tick.lua",
        "format('%d', asked_until(ask_until_ms, unseen_ms, RETENTION_MS))",
        "format('%d', ask_until_ms)",
        caught_by="tests/service/test_ticking.py -k jump_has_ended",
        reason=r"FAILED .*jump_has_ended",
    ),
    planted(
        "the holds of a newer epoch are taken for damage",
        "gateway/service/loading.py",
        "        if row.epoch != self._shard.epoch:",
        "        if row.epoch < self._shard.epoch:",
        caught_by="tests/service/test_opening_elsewhere.py -k moved_on",
        reason=r"FAILED .*has_moved_on",
    ),
    Bug(
        "lineage not compared",
        (
            Change(
                "gateway/hot/shard.py",
                "        if self.link.lineage != self.lineage:\n            self.close()\n",
                "",
            ),
            Change(
                "gateway/app/keeper.py",
                "if shard.is_open and shard.link.lineage == shard.lineage:",
                "if shard.is_open:",
            ),
        ),
        ("simulation",),
        r"K\d+ ",
    ),
    planted(
        "a refusal after a lost reply claims that nothing happened",
        "gateway/service/verdict.py",
        '    if is_resent and refusal.outcome == "not_applied":',
        '    if is_resent and refusal.outcome == "never":',
        caught_by="tests/service/test_resending.py",
        reason=r"FAILED .*test_resending",
    ),
    # -- totals -------------------------------------------------------------------------------------------------
    planted(
        "running totals do not go down",
        "lua/_lib/levels.lua",
        "  held_moved = held_moved + held\n",
        "  held_moved = held_moved + math.max(held, 0)\n",
        reason=r"K16 .*totals",
    ),
    # -- time and honesty -----------------------------------------------------------------------------------------
    Bug(
        "the gateway's wall clock in the place of the shard's",
        (
            Change("gateway/hot/shard.py", "import asyncio\n", "import asyncio\nimport time\n"),
            Change(
                "gateway/hot/shard.py",
                "        self._clock_offset_ms = now_ms - self._loop.time() * 1000\n",
                "        self._clock_offset_ms = (time.time() - self._loop.time()) * 1000\n",
            ),
        ),
        ("simulation",),
        r"K\d+ ",
    ),
    planted(
        "the shard's clock follows every jump",
        "lua/tick.lua",
        "now = math.max(math.min(time_ms, bound), clock)",
        "now = math.max(time_ms, clock)",
        reason=r"K9 |K12 |K16 calm.*due soon: True",
    ),
    planted(
        "a refusal after a lost reply is told as overloaded",
        "gateway/hot/shard.py",
        'return HotStoreUnavailable(f"{why}; an answer was lost", outcome="unknown") if sent else Overloaded(why)',
        "return Overloaded(why, outcome=_outcome(sent))",
        reason=r"K17 .*overloaded",
    ),
)
