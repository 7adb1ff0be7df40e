"""From a method and a request target to a route, by dictionaries made once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from gateway.domain.errors import GatewayError, MethodNotAllowed, NotFound
from gateway.web.route import Route

TARGETS_KEPT: Final = 2_048
TARGET_CHARS_KEPT: Final = 160

#: The route, the values of its path's parameters as they were written, and the query.
Found = tuple[Route, tuple[str, ...], str]


@dataclass(slots=True)
class _Shape:
    """The paths of one length with parameters at the same places; a literal path has none."""

    places: tuple[int, ...]
    methods_of: dict[tuple[str, ...], dict[str, Route]] = field(default_factory=dict)


class Router:
    """Literal paths before those with parameters; HEAD wherever there is GET.

    Paths are compared as they were written: a parameter is still percent-encoded, so an encoded slash stays within it.
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        self._literal: dict[str, dict[str, Route]] = {}
        self._shapes: dict[int, list[_Shape]] = {}
        for route in routes:
            methods = self._methods(route.path)
            methods[route.method] = route
            if route.method == "GET":
                methods["HEAD"] = route
        for shapes in self._shapes.values():
            shapes.sort(key=lambda shape: len(shape.places))
        #: Readers of a sale ask for the same few skus; a changed reservation is asked for once or twice.
        self._begun_before = lru_cache(TARGETS_KEPT)(self._begun)

    def _methods(self, path: str) -> dict[str, Route]:
        words = path.split("/")
        places = tuple(place for place, word in enumerate(words) if word.startswith("{"))
        if not places:
            return self._literal.setdefault(path, {})
        shapes = self._shapes.setdefault(len(words), [])
        shape = next((shape for shape in shapes if shape.places == places), None)
        if shape is None:
            shape = _Shape(places)
            shapes.append(shape)
        return shape.methods_of.setdefault(_without(words, places), {})

    def begun(self, method: str, target: str) -> Found | None:
        """As `find`, where the route has a short way for this method; else None."""
        if method == "GET" and len(target) <= TARGET_CHARS_KEPT:
            return self._begun_before(method, target)
        return self._begun(method, target)

    def _begun(self, method: str, target: str) -> Found | None:
        path, _, query = target.partition("?")
        methods = self._literal.get(path)
        if methods is not None:
            route = methods.get(method)
            return None if route is None or route.begin is None else (route, (), query)
        try:
            found = self.find(method, target)
        except GatewayError:
            return None
        return found if found[0].begin is not None and found[0].method == method else None

    def find(self, method: str, target: str) -> Found:
        """The route, the values of its path's parameters as they were written, and the query.

        Raises:
            NotFound: no route has this path.
            MethodNotAllowed: some have, but not with this method; `allow` names theirs.
        """
        methods = self._literal.get(target)  # without a query nearly every target is a literal path as it stands
        if methods is not None and (route := methods.get(method)) is not None:
            return route, (), ""
        path, _, query = target.partition("?")
        methods = self._literal.get(path)
        if methods is not None and (route := methods.get(method)) is not None:
            return route, (), query
        allowed = set(methods or ())
        words = path.split("/")
        for shape in self._shapes.get(len(words), ()):
            methods = shape.methods_of.get(_without(words, shape.places))
            if methods is None:
                continue
            values = tuple([words[place] for place in shape.places])
            if not all(values):
                continue
            if (route := methods.get(method)) is not None:
                return route, values, query
            allowed.update(methods)
        if allowed:
            raise MethodNotAllowed(allow=sorted(allowed))
        if not path.startswith("/") and "://" in path:
            # A proxy's form of the target. What stands before the path is as good as the Host header: we serve one host.
            _, _, rest = target.partition("://")
            return self.find(method, "/" + rest.partition("/")[2])
        raise NotFound


def _without(words: list[str], places: tuple[int, ...]) -> tuple[str, ...]:
    kept = words.copy()
    for place in places:
        kept[place] = ""
    return tuple(kept)
