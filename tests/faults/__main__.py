"""All fault scenarios: those that mostly wait two at a time, then one by one those that judge by time. Arguments are pytest's.

    python -m tests.faults -k frozen

What each of them printed stands at the end of its part: seeds, and how long a shard was closed. Status 0 when all passed that were
selected, and some were.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Final

PARTS: Final = (
    ("faults and not alone", ("-n", "2", "--dist", "worksteal")),
    ("faults and alone", ("-n", "0")),
)
NOTHING_SELECTED: Final = 5  # pytest's status


def main(arguments: list[str]) -> int:
    """The status of the first part that failed; that nothing was selected is a failure where it is true of both."""
    found = []
    for marks, way in PARTS:
        command = [
            sys.executable,
            "-m",
            "pytest",
            "tests/faults",
            "tests/simulation",
            "-m",
            marks,
            "-rA",
            *way,
            *arguments,
        ]
        found.append(subprocess.run(command, check=False).returncode)
    failed = [status for status in found if status not in (0, NOTHING_SELECTED)]
    if failed:
        return failed[0]
    return 0 if 0 in found else NOTHING_SELECTED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
