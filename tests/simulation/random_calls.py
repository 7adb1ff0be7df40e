"""Random calls of every script and of plain commands, valid and hostile, that learn from the replies what is there."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, Final

from gateway.hot.keys import Keys
from gateway.hot.scripts import Scripts

#: Names as bytes see them: one sku is not ASCII.
SKUS: Final = ("tee", "cap", "mug", "b\u00c3\u00bccher", "x/y", "-a")
LOCATIONS: Final = ("main", "depot", "B")
SHOPS: Final = ("main", "zweit")
TTL_MS: Final = 3_600_000
#: What stands where a number should.
ODD: Final = (
    "",
    "-1",
    "0",
    "1e3",
    "nan",
    "inf",
    "0x10",
    " 5",
    "9007199254740993",
    "1" * 30,
    "a",
    "\u00ff",
    "1\n2",
    "\t",
    "%d",
)
#: And where a duration should: none of these is a number, for a hold with a strange deadline spoils all that comes after it.
NO_NUMBER: Final = ("", "a", "\u00ff")
GARBAGE: Final = (
    "",
    "\t",
    "\n",
    "reserve",
    "reserve\t",
    "put\t\t\t\n",
    "\x00",
    "\u00e9" * 40,
    "confirm\ta\tb",
    "x" * 300,
)

Command = list[str]


class Calls:
    """Makes commands for one shard. `learn` is told each reply."""

    def __init__(self, scripts: Scripts, keys: Keys, dice: random.Random) -> None:
        self.scripts = scripts
        self.keys = keys
        self.dice = dice
        self.epoch, self.seq, self.digest = 0, 0, "0" * 40
        self.now_ms = 0
        self.shift_ms = 0
        self.missing: list[str] = []
        self.births: dict[str, str] = {}
        self.touched: list[str] = []
        self._count = 0
        self._following: list[Command] = []
        self._makers: dict[str, tuple[float, Callable[[], Command]]] = {
            "group": (14, self._group),
            "reserve": (10, lambda: self._script("reserve", [self._reserve()])),
            "change": (20, self._change),
            "batch": (8, self._batch),
            "put": (10, lambda: self._script("put", [self._put()])),
            "adjust": (5, lambda: self._script("adjust", [self._adjust()])),
            "pause": (2, lambda: self._script("pause", [self._pause()])),
            "read": (4, self._read),
            "expire": (4, self._expire),
            "load": (12, self._load),
            "settle": (6, self._settle),
            "changes": (6, self._changes),
            "tick": (3, self._tick),
            "lease": (1, self._lease),
            "restore": (2, self._restore),
            "shut": (0.3, self._shut),
            "open": (1, lambda: self.open(is_right=self.dice.random() < 0.5)),
            "hostile": (6, self._hostile),
            "plain": (16, self._plain),
        }

    def next(self) -> Command:
        """Some command."""
        if self._following:
            return self._following.pop(0)
        names = list(self._makers)
        (name,) = self.dice.choices(names, [self._makers[name][0] for name in names])
        return self._makers[name][1]()

    def learn(self, command: Command, reply: Any) -> None:
        """What the reply tells of ids, positions and of what is missing."""
        if command[0] != "FCALL" or not isinstance(reply, list) or len(reply) < 2:
            return
        status = reply[1]
        if status == "NOT_LOADED":
            self.missing = (self.missing + reply[4:])[-40:]
        elif status == "OPENED":
            self.epoch, self.seq, self.digest, self.shift_ms = int(command[6]), int(reply[4]), reply[5], 0
        elif status == "TICKED":
            self.shift_ms = int(reply[5])
        nested = reply[4:] if status in {"GROUP", "BATCH", "CHANGES"} else [reply[1:2] + reply[4:]]
        for result in nested:
            if not isinstance(result, list) or len(result) < 3 or "\t" not in result[2]:
                continue
            if result[0] in {
                "RESERVED",
                "REPLAYED",
                "EXTENDED",
                "CONFIRMED",
                "FULFILLED",
                "RELEASED",
                "STATE",
                "FOUND",
            }:
                fields = result[2].split("\n")[0].split("\t")
                self.births[result[1]] = f"{fields[4]}-{fields[5]}"
                self.seq = max(self.seq, int(fields[3]))
                self.touched += [f"r:{result[1]}", *([f"q:{fields[14]}"] if fields[14] else [])]
        self.touched = self.touched[-60:]

    # -- scripts ----------------------------------------------------------------------------------------------

    def open(self, *, is_right: bool) -> Command:
        """The shard's next epoch."""
        keys, pick = self.keys, self.dice.choice
        seen = (
            [str(self.epoch), self.digest]
            if is_right
            else [str(pick([0, self.epoch, 99])), pick(["", self.digest, "f"])]
        )
        seen = ["0", ""] if is_right and self.epoch == 0 else seen
        epoch = str(self.epoch + (1 if is_right else pick([0, 1, -1])))
        own = [
            "o",
            epoch,
            *seen,
            str(self.seq),
            self.digest,
            "1",
            "0",
            "lineage",
            pick(["0", "-1", "5000"]),
            "created",
            "d",
            self._totals(),
            # Where another time is expected, the shift that makes up for it is in no reply: both would differ by a millisecond.
            "0",
            pick(["0", str(TTL_MS)]),
            pick(["0", "60000", "86400000"]),
        ]
        return ["FCALL", self.scripts["open"].function, "2", keys.meta, keys.log, *own]

    def _totals(self) -> str:
        return self.dice.choice(["0 0 0 0"] * 5 + ["5 100 -3 2", "", "1 2 3", "x"])

    def _script(self, name: str, arguments: list[str], declared: list[str] | None = None) -> Command:
        dice, keys = self.dice, self.keys
        self._count += 1
        epoch = str(self.epoch if dice.random() < 0.98 else dice.choice([0, self.epoch + 1, "x"]))
        late = dice.choice(["0"] * 20 + ["1", str(self.now_ms + 10**9)])
        backlog = dice.choice(["1000000"] * 20 + ["0", "3"])
        own = [keys.meta, keys.log, keys.due, *(declared or [])]
        return [
            "FCALL",
            self.scripts[name].function,
            str(len(own)),
            *own,
            str(self._count),
            epoch,
            late,
            backlog,
            *arguments,
        ]

    def _number(self, *usual: int) -> str:
        return str(self.dice.choice(usual)) if self.dice.random() < 0.97 else self.dice.choice(ODD)

    def _id(self) -> str:
        if self.births and self.dice.random() < 0.9:
            return self.dice.choice(list(self.births)[-40:])
        return f"r{self.dice.randrange(30):015d}"

    def _reserve(self) -> str:
        dice = self.dice
        new = f"r{self._count:07d}{dice.randrange(10**8):08d}"
        id = new if dice.random() < 0.9 else self._id()
        record = dice.choice(["", "", f"k{dice.randrange(60)}", f"k{self._count}"])
        rows = "".join(
            f"\n{sku}\t{dice.choice(['', '', 'main', 'depot', 'gone'])}\t{self._number(1, 1, 2, 5, 50)}"
            for sku in dice.sample(SKUS, dice.choice([1, 1, 1, 2, 3]))
        )
        ttl = str(dice.choice([1, 50, 2_000, 60_000, TTL_MS])) if dice.random() < 0.98 else dice.choice(NO_NUMBER)
        fingerprint = dice.choice(["f1", "f1", "f2"])
        only = dice.choice(["0\t", "0\tmain", "0\tdepot,main", "1\tdepot", "1\tmain,B,gone"])
        texts = f"{dice.choice(['', 'ref'])}\t{dice.choice(['', 'cust'])}\t"
        asked = dice.choice("01")
        shop = dice.choice(SHOPS)
        partial = dice.choice("001")
        return f"reserve\t{id}\t{record}\t{fingerprint}\t{shop}\tkey:t\tcart\t{ttl}\t{texts}\t{partial}\t{only}\t{asked}{rows}"

    def _group(self) -> Command:
        return self._script("group", [self._reserve() for _ in range(self.dice.choice([1, 2, 5, 24]))])

    def _changes(self) -> Command:
        some = ["confirm", "fulfil", "release"]
        return self._script("changes", [self._changed(some)[2] for _ in range(self.dice.choice([1, 2, 5, 24]))])

    def _tick(self) -> Command:
        """The clock goes on, stands still, or is shifted."""
        dice = self.dice
        horizon = dice.choice([0, 0, self.now_ms - 5_000, self.now_ms + 2_000, self.now_ms + TTL_MS])
        shift = dice.choice([0, 0, self.shift_ms, 5_000, -5_000, 900_000])
        seen = self.shift_ms if dice.random() < 0.9 else 77
        return self._script(
            "tick", [str(horizon), "2000", str(seen), str(shift), dice.choice(["0", "86400000"]), dice.choice("01")]
        )

    def _lease(self) -> Command:
        """A lease, or one that has ended already, and soon after it another."""
        if self.dice.random() < 0.7:
            return self._script("lease", [self.dice.choice(["0", str(TTL_MS)])])
        self._following = [self._group(), self._change(), self._tick(), self._settle(), self._script("lease", ["0"])]
        return self._script("lease", ["-5000"])

    def _restore(self) -> Command:
        """A generation that nobody reads is filled: mostly as it should be."""
        dice, keys = self.dice, Keys(self.keys.prefix, 0, 2)
        ids = [f"h{dice.randrange(40):015d}" for _ in range(dice.choice([1, 3, 8]))]
        name, location = f"{dice.choice(SHOPS)}/{dice.choice(SKUS)}", dice.choice(LOCATIONS)
        held = str(len(set(ids))) if dice.random() < 0.8 else self._number(1, 2)
        level = f"{dice.choice([5, 60])} {held} 0 0 0 1 1 1 1790000000000"
        deadlines = ["1790000000000", "1790000360000"] * 20 + [
            *NO_NUMBER
        ]  # what is no decimal is a number for some servers
        index = [word for id in ids for word in (dice.choice(deadlines), id)]
        made = {
            "restore_holds": [word for id in ids for word in (id, "h\t5\t1\t1")],
            "restore_index": ["=", name, *index, f"H{location}", held],
            "restore_skus": ["=", name, "*", "0 0 0 0 0\t", f"L{location}", level],
        }
        own = ["3", keys.meta, keys.log, keys.due, "r"]
        calls = [["FCALL", self.scripts[script].function, *own, "7", *words] for script, words in made.items()]
        if dice.random() < 0.2:
            calls.insert(dice.randrange(3), list(dice.choice(calls)))  # again, as after a lost reply, or too early
        ends = [["DEL", keys.restoring], ["HGETALL", keys.sku(*name.split("/", 1))], ["ZRANGE", keys.due, "0", "-1"]]
        gone = [["DEL", keys.sku(*name.split("/", 1)), f"{keys.base}d:{name}"]] if dice.random() < 0.5 else []
        self._following = [*calls, *ends, *gone]
        return ["SET", keys.restoring, dice.choice(["7"] * 9 + ["8"])]

    def _shut(self) -> Command:
        """The epoch is over; another begins after the log's end, wherever that is."""
        begun = self.open(is_right=True)
        begun[7:11] = ["0", "", str(self.seq + 1_000), self.digest]
        self._following = [self._group(), ["HMGET", self.keys.meta, "epoch", "shut"], ["DEL", self.keys.meta], begun]
        return self._script("shut", [])

    def _changed(
        self, names: Sequence[str] = ("extend", "confirm", "confirm", "fulfil", "release")
    ) -> tuple[str, str, str]:
        dice, id = self.dice, self._id()
        birth = self.births.get(id, "1-1") if dice.random() < 0.97 else "9-9"
        head = f"{dice.choice((*SHOPS, 'main', 'main'))}\t{id}\t{birth}\tkey:t"
        name = dice.choice(names)
        tier, ttl = dice.choice(["", "cart", "gone"]), dice.choice(["", "50", "5000", "10000000"])
        own = {
            "extend": f"\t{tier}\t{ttl}\ncart\t1000\t600000\t7200000",
            "confirm": f"\t{dice.choice('01')}\t{dice.choice('001')}\t{self._number(0, 86_400_000)}",
            "fulfil": "",
            "release": f"\t{dice.choice(['', 'changed my mind'])}",
        }[name]
        return name, id, f"{name}\t{head}{own}"

    def _change(self) -> Command:
        name, id, text = self._changed()
        return self._script(name, [text], [self.keys.reservation(id)])

    def _batch(self) -> Command:
        makers = [self._reserve, self._adjust, self._put, lambda: self._changed()[2], lambda: self._changed()[2]]
        return self._script("batch", [self.dice.choice(makers)() for _ in range(self.dice.choice([1, 3, 6]))])

    def _put(self) -> str:
        dice = self.dice
        numbers = "\t".join(dice.choice(["", self._number(0, 3, 100, 1000)]) for _ in range(3))
        reflects = "".join(
            f"\n{id}\t{self.births.get(id, '1-1')}" for id in {self._id() for _ in range(dice.choice([0, 0, 1, 2]))}
        )
        source, sequence = dice.choice(["erp", "wms", "shop"]), self._number(self._count, self._count, 3)
        if_match = dice.choice(["", "", "", "1", "x"])
        place = f"{dice.choice(SKUS)}\t{dice.choice(LOCATIONS)}"
        own = [dice.choice(SHOPS), "key:t", place, source, sequence, numbers, dice.choice(["ab", "cd"]), if_match]
        return "\t".join(["put", *own]) + reflects

    def _adjust(self) -> str:
        dice = self.dice
        key = dice.choice([f"a{dice.randrange(40)}", f"a{self._count}"])
        delta = self._number(1, 5, 100, -1, -3, 10**9)
        place = f"{dice.choice(SKUS)}\t{dice.choice(LOCATIONS)}"
        own = [dice.choice(SHOPS), "key:t", place, delta, "count", "", key, dice.choice(["f1", "f1", "f2"])]
        return "\t".join(["adjust", *own, dice.choice(["", "", "4"]), dice.choice("01")])

    def _pause(self) -> str:
        pick = self.dice.choice
        return "\t".join(["pause", pick(SHOPS), "key:t", pick(SKUS), pick("0001"), pick(["", "recall"])])

    def _read(self) -> Command:
        if self.dice.random() < 0.5:
            return self._script("read_reservation", [self._id()])
        return self._script("read_sku", [f"{self.dice.choice(SHOPS)}/{sku}" for sku in self.dice.sample(SKUS, 2)])

    def _expire(self) -> Command:
        passed = [self._id() for _ in range(self.dice.choice([0, 0, 0, 1, 3]))]
        return self._script("expire", [self._number(1, 3, 64), *passed])

    def _load(self) -> Command:
        """A ticket, or what it is for."""
        dice = self.dice
        name = (
            self.missing.pop(0)
            if self.missing and dice.random() < 0.95
            else f"s:{dice.choice(SHOPS)}/{dice.choice(SKUS)}"
        )
        ticket = self.keys.ticket(name)
        if dice.random() < 0.1:
            return self._script("ticket", [name, dice.choice(["t", "u"]), str(TTL_MS)], [ticket])
        level = f"{dice.choice([0, 5, 60, 1000])} 0 0 0 {dice.choice([0, 0, 2])} 1 1 1 1790000000000"
        contents = {
            "s": [
                "*",
                "0 1 0 0 0\t",
                *dice.choice([[], ["Lmain", level], ["Lmain", level, "Ldepot", level, "Xmain", "erp\t1\t0\tab"]]),
            ],
            "r": ["e\t5\t1\t1\t1\t1\t1\t\t5\tmain\tcart\t\t\t\t\ntee\tmain\t1\t0"],
            "q": [f"f1\treserve\t{self._id()}\t1\t1"],
        }[name[0]]
        keys = [self.keys.meta, self.keys.named(name), ticket]
        life = dice.choice(["0", str(TTL_MS)])
        own = ["l", str(self.epoch), dice.choice(["t"] * 9 + ["u"]), life, *contents]
        self._following = [["FCALL", self.scripts["load"].function, "3", *keys, *own]]
        return ["SET", ticket, "t", "PX", str(TTL_MS)]

    def _settle(self) -> Command:
        committed = str(max(self.seq - self.dice.choice([0, 0, 1, 10]), 0))
        names = self.dice.sample(self.touched, min(len(self.touched), 5))
        names += [f"s:{self.dice.choice(SHOPS)}/{self.dice.choice(SKUS)}"]
        return self._script("settle", [committed, str(TTL_MS), str(2 * TTL_MS), str(3 * TTL_MS), *names])

    def _hostile(self) -> Command:
        dice = self.dice
        name = dice.choice([script.name for script in self.scripts if script.name not in {"open", "load", "shut"}])
        how = dice.randrange(5)
        if how == 0:
            return ["FCALL", self.scripts[name].function, dice.choice(["0", "-1", "99", "x", "3"]), self.keys.meta]
        if how == 1:
            return ["FCALL", f"{name}_gone", "0"]
        return self._script(name, [dice.choice(GARBAGE) for _ in range(dice.choice([1, 1, 2, 4]))])

    # -- plain commands ---------------------------------------------------------------------------------------

    def _plain(self) -> Command:
        dice = self.dice
        if dice.random() < 0.35:
            return self._on_shard()
        key, other = (f"plain:{dice.choice('abcdef')}" for _ in range(2))
        number = dice.choice(["1", "5", "-2", "100", "0", *ODD])
        score = dice.choice(["1", "-3", "2.5", "1e20", "1790000000000", "inf", "nan", "x", "1e-7", "0.1"])
        id = dice.choice(
            [f"{dice.randrange(50)}-0", f"{dice.randrange(50)}-{dice.randrange(3)}", "7", "0-0", "x", "1-", "-"]
        )
        member, field = dice.choice("mnop"), dice.choice("uvw")
        return dice.choice(
            [
                ["SET", key, dice.choice(["v", "", "\u00ff\u0000"])],
                [
                    "SET",
                    key,
                    "v",
                    *dice.choice(
                        [
                            ["NX"],
                            ["PX", str(TTL_MS)],
                            ["PX", dice.choice(["-2", "0", *ODD])],
                            ["NX", "PX", str(TTL_MS)],
                            ["YY"],
                        ]
                    ),
                ],
                ["GET", key],
                ["MGET", key, other],
                ["MSET", key, "1", other, "2"],
                ["MSET", key, "1", other],
                ["EXISTS", key, other, key],
                ["DEL", key],
                ["UNLINK", key, other],
                ["PEXPIRE", key, dice.choice([str(TTL_MS), "0", "-1", "x"])],
                ["PERSIST", key],
                ["HSET", key, field, "1", dice.choice("uvw"), "2"],
                ["HSET", key, field],
                ["HGET", key, field],
                ["HMGET", key, field, "u", "none"],
                ["HDEL", key, field, "v"],
                ["HLEN", key],
                ["HEXISTS", key, field],
                ["HINCRBY", key, field, number],
                ["HINCRBY", "plain:counts", field, dice.choice(["1", "1", "-1", "9223372036854775807"])],
                ["TYPE", key],
                ["ZADD", key, score, member],
                ["ZADD", key, "1", member, score, "z"],
                ["ZREM", key, member, "z"],
                ["ZSCORE", key, member],
                ["ZCARD", key],
                [
                    "ZRANGE",
                    key,
                    number,
                    dice.choice(["-1", "0", "2", "-5"]),
                    *dice.choice([[], ["WITHSCORES"], ["withscores"], ["X"]]),
                ],
                ["ZRANGEBYSCORE", key, dice.choice(["-inf", "(1", "0", score]), dice.choice(["+inf", "(3", score])],
                ["ZRANGEBYSCORE", key, "-inf", "+inf", "LIMIT", dice.choice(["0", "1", "-1"]), number],
                ["XADD", key, *dice.choice([[], ["NOMKSTREAM"], ["MAXLEN", "2"]]), id, "e", "1"],
                ["XADD", key, "5-5", "e"],
                [
                    "XRANGE",
                    key,
                    dice.choice(["-", "(3-0", "5", id]),
                    dice.choice(["+", "9", "(9-0"]),
                    *dice.choice([[], ["COUNT", "2"]]),
                ],
                ["XLEN", key],
                ["XTRIM", key, dice.choice(["MINID", "MAXLEN"]), dice.choice(["3", "10", "x"])],
                ["XDEL", key, dice.choice(["3-0", "4-0", "x"])],
                ["GET"],
                ["HSET", key],
                ["NOSUCH", key],
            ]
        )

    def _on_shard(self) -> Command:
        """What somebody with a client may do to a shard's keys, and what a gateway reads."""
        dice, keys = self.dice, self.keys
        name = f"s:{dice.choice(SHOPS)}/{dice.choice(SKUS)}"
        return dice.choice(
            [
                ["SET", keys.ticket(name), "t", "PX", str(TTL_MS)],
                ["SET", keys.ticket(self.missing[0] if self.missing else name), "t", "PX", str(TTL_MS)],
                ["SET", keys.ticket(self.missing[-1] if self.missing else name), "t", "PX", str(TTL_MS)],
                ["XRANGE", keys.log, f"({max(self.seq - 5, 0)}-0", "+", "COUNT", "3"],
                ["HMGET", keys.meta, "epoch", "seq", "digest", "checkpoint", "clock", "poison", "totals", "gone"],
                ["EXISTS", keys.log, keys.meta, keys.due, keys.named(name)],
                ["ZRANGE", keys.due, "0", "-1", "WITHSCORES"],
                ["DEL", keys.named(name)],
                ["DEL", keys.reservation(self._id())],
                ["HGET", keys.named(name), "*"],
                ["GET", keys.reservation(self._id())],
            ]
        )
