"""The small process between our fork and the server's exec."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.embedded import child
from gateway.embedded.child import LEASH, end_child, last_lines, start_child


def test_leash_of_a_starter_that_has_ended_starts_nothing(tmp_path: Path) -> None:
    """A starter that died before the kernel was asked sends no signal: then nothing may be started at all."""
    touched = tmp_path / "touched"
    starter = os.getpid() + 1  # any process that is not the leash's parent

    ran = subprocess.run(
        [sys.executable, "-I", "-S", LEASH, str(starter), "15", "-", "/usr/bin/touch", touched],
        capture_output=True,
        text=True,
        check=False,
    )

    assert ran.returncode != 0
    assert "has ended" in ran.stderr
    assert not touched.exists()


def test_child_inherits_no_file_of_ours(tmp_path: Path) -> None:
    """A server holds no descriptor of the gateway: no lock, no listening socket outlives it in a child."""
    log = tmp_path / "log"
    with (tmp_path / "mine").open("w") as mine:
        process = start_child(
            ["/bin/sh", "-c", "ls /proc/self/fd"], folder=tmp_path, log=log, death_signal=signal.SIGTERM
        )
        process.wait()

    # Three standard ones and the one by which `ls` reads the folder.
    assert last_lines(log) == ["0", "1", "2", "3"]
    assert mine.closed


def test_child_that_ignores_its_signals_is_killed(tmp_path: Path) -> None:
    """A stop has an end: after the polite signals comes the one that needs no answer."""
    log = tmp_path / "log"
    process = start_child(
        [sys.executable, "-c", "import signal; signal.signal(15, signal.SIG_IGN); print(1, flush=True);\n"
         "while True: signal.pause()"],
        folder=tmp_path,
        log=log,
        death_signal=signal.SIGTERM,
    )  # fmt: skip
    while last_lines(log) != ["1"]:
        pass

    assert end_child(process, [(signal.SIGTERM, 0.1)]) == -signal.SIGKILL


def test_log_over_its_limit_begins_anew_and_keeps_the_older_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log does not grow over the years; the part before the last start stays beside it."""
    log = tmp_path / "server.log"
    log.write_text("older words\n")
    monkeypatch.setattr(child, "LOG_BYTES_MAX", 5)

    start_child(["/bin/echo", "new"], folder=tmp_path, log=log, death_signal=signal.SIGTERM).wait()

    assert last_lines(log) == ["new"]
    assert (tmp_path / "server.old.log").read_text() == "older words\n"
