"""Kills a piece of work at each of its system calls, really: a child under ptrace, and SIGKILL.

The child is a fork, so what it has imported is there at once, and a whole sweep takes a second.
Source: ptrace(2), PTRACE_SYSCALL: the tracee stops at each entry to and exit from a call. It is
killed at exits: after one call and before the next, which is every state that a disk can be in.
"""

import ctypes
import os
import signal
from collections.abc import Callable
from typing import Final

_TRACEME: Final = 0
_SYSCALL: Final = 24
_SETOPTIONS: Final = 0x4200
_EXITKILL: Final = 0x00100000
_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_LIBC.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
_LIBC.ptrace.restype = ctypes.c_long


def killed_after(calls: int, work: Callable[[], object]) -> bool:
    """Do the work in a child that is killed after so many system calls; False: it was through.

    Raises:
        RuntimeError: the work failed by itself, or nothing may be traced here.
    """
    child = os.fork()
    if child == 0:
        try:
            if _LIBC.ptrace(_TRACEME, 0, None, None):
                os._exit(77)
            os.kill(os.getpid(), signal.SIGSTOP)
            work()
            os._exit(0)
        except BaseException:  # noqa: BLE001
            os._exit(78)
    _, status = os.waitpid(child, 0)
    if os.WIFSTOPPED(status):
        _LIBC.ptrace(_SETOPTIONS, child, None, _EXITKILL)
    passed = -1  # the first stop is the exit from the call that stopped it for us
    while os.WIFSTOPPED(status):
        if passed == 2 * calls:
            os.kill(child, signal.SIGKILL)
        else:
            passed += 1
            _LIBC.ptrace(_SYSCALL, child, None, None)
        _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return True
    code = os.waitstatus_to_exitcode(status)
    if code:
        raise RuntimeError({77: "ptrace is not allowed here"}.get(code, f"the work ended: {code}"))
    return False


def in_a_fresh_process(look: Callable[[], object]) -> None:
    """Do it in a child, as a process that starts then would.

    Raises:
        AssertionError: it failed there.
    """
    child = os.fork()
    if child == 0:
        try:
            look()
            os._exit(0)
        except BaseException as fault:  # noqa: BLE001
            print(repr(fault), flush=True)
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
