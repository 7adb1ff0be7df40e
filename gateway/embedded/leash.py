"""Become a server that ends when the process that started it ends.

Run as a script by `child.start_child`, never imported: `python -I -S leash.py PARENT SIGNAL OWNER
COMMAND...`. The steps stand here, between fork and exec of an own small process, because code that runs in
the fork of a threaded Python (`preexec_fn`) can hang for ever on a lock that another thread held.

PARENT   pid of the starter; when it is gone already there is nobody to serve
SIGNAL   number of the signal that the kernel sends us when the starter's thread ends
OWNER    `uid:gid` to become first, or `-`. It must come before the request for the signal, which a change of
         user clears
"""

from __future__ import annotations

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """The process is the command now; returns only by an exception."""
    parent_pid, death_signal, owner, *command = arguments
    if owner != "-":
        uid, gid = map(int, owner.split(":"))
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if sys.platform == "linux":
        # Elsewhere there is no such request; an orphan is met and ended by the next start in its folder.
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(int(death_signal)), 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    # A starter that ended before the request was in force sends no signal: then the parent is another process
    # by now.
    if os.getppid() != int(parent_pid):
        raise SystemExit("the process that wanted this server has ended")
    os.execv(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
