"""The one error of this floor."""

from __future__ import annotations

from collections.abc import Iterable


class SettingsInvalid(ValueError):
    """The configuration cannot be used; nothing of it was applied.

    `errors` names every bad key at once, as (the key as the operator wrote it, what is wrong and where it was
    read). No secret is among the words.
    """

    def __init__(self, errors: Iterable[tuple[str, str]]) -> None:
        self.errors: list[tuple[str, str]] = list(errors)
        super().__init__(self.errors)

    def __str__(self) -> str:
        count = len(self.errors)
        title = "1 setting is not valid:" if count == 1 else f"{count} settings are not valid:"
        return "\n".join([title, *(f"  {key}: {message}" for key, message in self.errors)])
