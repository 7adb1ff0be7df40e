"""The `gateway` command: one file per subcommand. What is heavy is imported when a subcommand runs, so
`--help` is quick.
"""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """The command line was obeyed; the process ends with its status: 0 done, 1 the answer is no, 2 it could
    not be done.
    """
    from gateway.cli.command import build

    build()()
