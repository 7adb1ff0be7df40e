"""One route: everything the router, the dispatcher and the OpenAPI document need to know of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from pydantic import BaseModel

from gateway.domain.errors import GatewayError
from gateway.web.exchange import Exchange
from gateway.web.site import Site
from gateway.web.wire import Answer

Handler = Callable[[Site, Exchange], Awaitable[Answer]]
#: Told what makes the answer, the refusal, or None when nothing was done and the handler is to be asked.
Ended = Callable[[Callable[[], Answer] | GatewayError | None], None]
Begin = Callable[[Site, Exchange, Ended], bool]
#: What an answer holds: a model of JSON, or a media type.
Content = type[BaseModel] | str
#: A parameter's name, its JSON schema, what it means, and whether it must be there.
Parameter = tuple[str, Mapping[str, object], str, bool]


@dataclass(frozen=True, slots=True)
class Route:
    """A method on a path. Without `scope` it is open to everybody; with `query` None it ignores its query."""

    method: str
    path: str
    handler: Handler
    operation: str
    summary: str
    answers: Mapping[int, Content]
    scope: str | None = None
    body: type[BaseModel] | None = None
    is_body_optional: bool = False
    #: Where the body is not JSON: its media types, each with the schema of one row.
    rows: Mapping[str, type[BaseModel]] = field(default_factory=dict)
    query: tuple[Parameter, ...] | None = None
    headers: tuple[Parameter, ...] = ()
    errors: tuple[type[GatewayError], ...] = ()
    #: The handler's short way for the ordinary request: it returns at once, True when it will tell how it ended, once and
    #: later; False when nothing was done.
    begin: Begin | None = None
    query_names: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "query_names", frozenset(name for name, _, _, _ in self.query or ()))

    @property
    def noun(self) -> str:
        """The group it stands in on the page: the first word of its path behind the version."""
        words = self.path.strip("/").split("/")
        return words[1] if words[0] == "v1" else "operations"

    @property
    def path_names(self) -> tuple[str, ...]:
        """The names of the path's parameters, in order."""
        return tuple(word[1:-1] for word in self.path.split("/") if word.startswith("{"))
