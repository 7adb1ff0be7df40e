"""What a running gateway answered, or why there is no answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


class RemoteFailed(Exception):
    """A command cannot go on with the gateway it was told to use; the message says why, in one line."""


class UrlInvalid(RemoteFailed):
    """The address is not one of a web service."""


class GaveUp(RemoteFailed):
    """A request had no final answer within the patience; what became of it is not known."""


class AnswerUnreadable(RemoteFailed):
    """The answer is not one of this service: the address is somebody else's, or a proxy stands between."""


class Denied(RemoteFailed):
    """The call was refused for a reason that repeating it does not change; the message is the gateway's."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A final answer. `code` is empty on a success, else the problem's; `attempts` counts the requests it
    took.
    """

    is_success: bool
    code: str
    body: dict[str, Any]
    attempts: int

    def explain(self) -> str:
        """A refusal in words, with each wrong field."""
        detail = str(self.body.get("detail") or self.body.get("title") or "")
        errors = self.body.get("errors")
        fields = [f"{e.get('field')}: {e.get('message')}" for e in errors if isinstance(e, dict)] if errors else []
        return ": ".join(part for part in (self.code, detail, "; ".join(fields)) if part)

    def required(self, what: str) -> dict[str, Any]:
        """The body of a success.

        Raises:
            Denied: it was not one; `what` says what was tried.
        """
        if not self.is_success:
            raise Denied(f"{what}: {self.explain()}")
        return self.body
