"""Runs a command that dies with the process that started it.

`python -I -S leash.py PARENT PROGRAM ARGUMENT …`: the command takes this process's
place, so that its pid, its signals and its exit status are those of the command. The
kernel sends it SIGKILL when the thread that started it ends (prctl(2)).
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1

if __name__ == "__main__":
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    # A shell starts what runs in its background with Ctrl-C ignored; it is inherited.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if os.getppid() != int(sys.argv[1]):
        sys.exit("who started this was gone before it could be watched")
    os.execvp(sys.argv[2], sys.argv[2:])
