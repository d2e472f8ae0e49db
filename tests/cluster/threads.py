"""Freezes single threads of another process, by thread id.

SIGSTOP always stops the whole process, so this uses ptrace: a seized and interrupted thread stays
where it is until it is detached. Only the Python thread that froze a thread can let it go; if we
die, the kernel lets all of them go.
"""

import contextlib
import ctypes
import os
import time

_PTRACE_SEIZE = 0x4206
_PTRACE_INTERRUPT = 0x4207
_PTRACE_DETACH = 17
_WALL = 0x40000000  # __WALL: also threads that did not come from a plain fork

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.restype = ctypes.c_long
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


def threads(pid):
    """{tid: name} of a process."""
    found = {}
    for tid in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(OSError):
            with open(f"/proc/{pid}/task/{tid}/comm", encoding="utf-8") as file:
                found[int(tid)] = file.read().strip()
    return found


def _ptrace(request, tid):
    if _libc.ptrace(request, tid, None, None) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"ptrace of thread {tid}: {os.strerror(error)}")


@contextlib.contextmanager
def frozen(pid, tids):
    """Keeps these threads stopped inside the `with` block."""
    held = []
    try:
        for tid in tids:
            _ptrace(_PTRACE_SEIZE, tid)
            _ptrace(_PTRACE_INTERRUPT, tid)
            # Take the stop event at once: Popen.poll() must not see it as the end of the process.
            os.waitpid(tid, _WALL)
            held.append(tid)
        yield held
    finally:
        for tid in held:
            with contextlib.suppress(OSError):
                _ptrace(_PTRACE_DETACH, tid)
        _wait_running(pid, held)


def _wait_running(pid, tids):
    end = time.monotonic() + 2
    for tid in tids:
        while time.monotonic() < end:
            try:
                with open(f"/proc/{pid}/task/{tid}/stat", encoding="latin-1") as file:
                    state = file.read().rpartition(")")[2].split()[0]
            except OSError:
                break
            if state not in "tT":
                break
            time.sleep(0.005)
