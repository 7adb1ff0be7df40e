"""The gateway's function library in a real Lua 5.1, as a server runs it.

One interpreter and one compiled library serve all servers and all runs of this process: `start_call` sets everything a call knows
anew, which is what the scripts rely on in production, too.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from functools import cache
from typing import Any, Final

from lupa.lua51 import LuaError, LuaRuntime

from tests.simulation.commands import Refusal, Status

_SHEBANG: Final = re.compile(r"#!lua name=(\w+)\n")

#: Made in Lua, so that errors are the tables that servers throw and scripts may catch.
_GLUE: Final = """
local dispatch, sha1hex = ...
local strings, numbers = 'string', 'number'
local function checked(...)
  for i = 1, select('#', ...) do
    local kind = type((select(i, ...)))
    if kind ~= strings and kind ~= numbers then
      return { err = 'ERR Command arguments must be strings or integers' }
    end
  end
  if select('#', ...) == 0 then return { err = 'ERR Please specify at least one argument for this redis.call() call' } end
  return dispatch(...)
end
local redis = { sha1hex = sha1hex, LOG_WARNING = 3, log = function() end }
function redis.call(...)
  local reply = checked(...)
  if type(reply) == 'table' and reply.err then error(reply) end
  return reply
end
function redis.pcall(...) return checked(...) end
function redis.error_reply(text) return { err = text } end
function redis.status_reply(text) return { ok = text } end
local functions, flags_of = {}, {}
function redis.register_function(told)
  functions[told.function_name], flags_of[told.function_name] = told.callback, told.flags or {}
end
local allowed = {
  redis = redis, string = string, table = table, math = math, pairs = pairs, ipairs = ipairs, next = next, type = type,
  tonumber = tonumber, tostring = tostring, unpack = unpack, select = select, error = error, pcall = pcall, xpcall = xpcall,
  assert = assert, rawget = rawget, rawset = rawset, rawequal = rawequal, setmetatable = setmetatable, getmetatable = getmetatable,
}
setmetatable(allowed, {
  __index = function(_, name) error("Script attempted to access nonexistent global variable '" .. tostring(name) .. "'", 2) end,
  __newindex = function() error('Attempt to modify a readonly table', 2) end,
})
local function load(text)
  local chunk, problem = loadstring(text, '@user_function')
  if not chunk then error(problem, 0) end
  setfenv(chunk, allowed)
  chunk()
  return functions, flags_of
end
local function finished(reply)
  if type(reply) ~= 'table' then return 'one', reply end
  if reply.err then return 'err', reply.err end
  if reply.ok then return 'ok', reply.ok end
  local count = 0
  while reply[count + 1] ~= nil do count = count + 1 end
  return 'many', unpack(reply, 1, count)
end
local function run(callback, keys, arguments)
  local is_done, reply = pcall(callback, keys, arguments)
  if is_done then return finished(reply) end
  if type(reply) == 'table' and reply.err then return 'thrown', reply.err end
  return 'broken', tostring(reply)
end
return load, run
"""

Call = Callable[[str, list[str]], Any]


class Library:
    """A loaded library: its functions with their flags."""

    def __init__(
        self, interpreter: Interpreter, name: str, functions: dict[str, Any], flags: dict[str, set[str]]
    ) -> None:
        self.name = name
        self.flags = flags
        self._interpreter = interpreter
        self._functions = functions

    def run(self, function: str, keys: list[str], arguments: list[str], call: Call) -> Any:
        """The reply; `call` runs the commands of the script. Raises Refusal for one that broke off."""
        return self._interpreter.run(function, self._functions[function], keys, arguments, call)


class Interpreter:
    """One Lua state."""

    def __init__(self) -> None:
        self._lua = LuaRuntime(encoding="latin-1", unpack_returned_tuples=True, register_eval=False)
        self._table = self._lua.table_from
        self._call: Call | None = None
        self._load, self._run = self._lua.compile(_GLUE)(self._dispatch, _sha1hex)

    def load(self, text: str) -> Library:
        """The library of this text, compiled. Raises Refusal."""
        found = _SHEBANG.match(text)
        if found is None:
            raise Refusal("ERR Missing library metadata")
        try:
            functions, flags = self._load("\n" + text[found.end() :])
        except LuaError as problem:
            raise Refusal(f"ERR Error compiling function: {problem}") from problem
        return Library(
            self,
            found[1],
            dict(functions.items()),
            {name: set(one.values()) for name, one in flags.items()},
        )

    def run(self, name: str, function: Any, keys: list[str], arguments: list[str], call: Call) -> Any:
        """As `Library.run`."""
        self._call = call
        how, *replies = self._run(function, self._table(keys), self._table(arguments))
        if how == "many":
            return [self._told(reply) for reply in replies]
        if how == "one":
            return self._told(replies[0]) if replies else None
        if how == "ok":
            return Status(replies[0])
        text: str = replies[0]
        if how == "broken":
            found = re.match(r"user_function:(\d+): ", text)
            where = f", on @user_function:{found[1]}." if found else "."
            text = f"ERR {text} script: {name}{where}"
        raise Refusal(text)

    def _dispatch(self, name: Any, *given: Any) -> Any:
        assert self._call is not None
        try:
            reply = self._call(str(name).upper(), [one if one.__class__ is str else _number_text(one) for one in given])
        except Refusal as problem:
            return self._table({"err": str(problem)})
        if reply is None:
            return False
        if reply.__class__ is list:
            return self._table([False if one is None else one for one in reply])
        if reply.__class__ is Status:
            return self._table({"ok": str(reply)})
        return reply

    def _told(self, reply: Any) -> Any:
        """A Lua value as a server answers it."""
        if reply.__class__ is str:
            return reply
        if reply is None or reply is False:
            return None
        if reply is True:
            return 1
        if isinstance(reply, int | float):
            return int(reply)
        told: list[Any] = []
        while (one := reply[len(told) + 1]) is not None:
            told.append(self._told(one))
        return told


def _sha1hex(text: str) -> str:
    return hashlib.sha1(text.encode("latin-1"), usedforsecurity=False).hexdigest()


def _number_text(number: float) -> str:
    return str(number) if isinstance(number, int) else f"{number:.17g}"


@cache
def _interpreter() -> Interpreter:
    return Interpreter()


@cache
def library_of(text: str) -> Library:
    """The library of this text; compiled once in this process."""
    return _interpreter().load(text)
