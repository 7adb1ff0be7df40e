"""What is seen while a run goes on: a live bar on a terminal, else a line every few seconds."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from gateway.cli.play.invoice import clock
from gateway.cli.play.tally import Tally

LINE_SECONDS = 5.0


class Watch:
    """Told of each step and of each outcome; writes to `console`."""

    def __init__(self, console: Console, invoices: int) -> None:
        self._console = console
        self._invoices = invoices
        self._next_line = clock() + LINE_SECONDS
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[results]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("replay", total=invoices, results="")

    def __enter__(self) -> Self:
        """The bar is live."""
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The bar stays as it is."""
        self._progress.stop()

    def step(self, words: str) -> None:
        """The run does something else now."""
        self._progress.update(self._task, description=words)
        if not self._console.is_terminal:
            self._console.print(words, highlight=False)

    def advance(self, tally: Tally) -> None:
        """One more invoice is in the tally."""
        if self._console.is_terminal:
            self._progress.update(self._task, completed=tally.invoices, results=_words(tally))
        elif clock() >= self._next_line:
            self._next_line = clock() + LINE_SECONDS
            self._console.print(
                f"{tally.invoices:,} of {self._invoices:,}: {_words(tally)}", highlight=False, soft_wrap=True
            )


def _words(tally: Tally) -> str:
    return " ".join(f"{name} {count:,}" for name, count in tally.results.items() if count)
