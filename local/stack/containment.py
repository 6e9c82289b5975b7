"""Ties child processes to this one, by the means of each system, so that none outlives it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

__all__ = ["adopt", "ask_to_stop", "command_of", "kill", "spawn_arguments"]

if sys.platform == "win32":
    from ctypes import wintypes

    _KILL_ON_JOB_CLOSE = 0x2000
    _EXTENDED_LIMITS = 9
    _ALL_ACCESS = 0x1F0FFF

    class _BasicLimits(ctypes.Structure):
        _fields_ = (
            ("PerProcessUserTimeLimit", ctypes.c_int64),
            ("PerJobUserTimeLimit", ctypes.c_int64),
            ("LimitFlags", wintypes.DWORD),
            ("MinimumWorkingSetSize", ctypes.c_size_t),
            ("MaximumWorkingSetSize", ctypes.c_size_t),
            ("ActiveProcessLimit", wintypes.DWORD),
            ("Affinity", ctypes.c_size_t),
            ("PriorityClass", wintypes.DWORD),
            ("SchedulingClass", wintypes.DWORD),
        )

    class _ExtendedLimits(ctypes.Structure):
        _fields_ = (
            ("BasicLimitInformation", _BasicLimits),
            ("IoInfo", ctypes.c_uint64 * 6),
            ("ProcessMemoryLimit", ctypes.c_size_t),
            ("JobMemoryLimit", ctypes.c_size_t),
            ("PeakProcessMemoryUsed", ctypes.c_size_t),
            ("PeakJobMemoryUsed", ctypes.c_size_t),
        )

    def _make_job() -> Any:
        """A job object whose processes end when the last handle to it closes: with this process."""
        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        kernel.CreateJobObjectW.restype = wintypes.HANDLE
        kernel.OpenProcess.restype = wintypes.HANDLE
        job = wintypes.HANDLE(kernel.CreateJobObjectW(None, None))
        limits = _ExtendedLimits()
        limits.BasicLimitInformation.LimitFlags = _KILL_ON_JOB_CLOSE
        kernel.SetInformationJobObject(job, _EXTENDED_LIMITS, ctypes.byref(limits), ctypes.sizeof(limits))
        return kernel, job

    _JOB: list[Any] = []

    def spawn_arguments() -> dict[str, Any]:
        """What a new child must be started with."""
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}

    def adopt(pid: int) -> None:
        """Make a child that was just started end with this process."""
        if not _JOB:
            _JOB.append(_make_job())
        kernel, job = _JOB[0]
        process = wintypes.HANDLE(kernel.OpenProcess(_ALL_ACCESS, False, pid))
        kernel.AssignProcessToJobObject(job, process)
        kernel.CloseHandle(process)

    def ask_to_stop(pid: int) -> None:
        """Ask a child to end by itself."""
        with contextlib.suppress(OSError):
            os.kill(pid, signal.CTRL_BREAK_EVENT)

    def kill(pid: int) -> None:
        """End a child at once."""
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGTERM)

    def command_of(pid: int) -> str:
        """Nothing: a job leaves no process behind whose command could be of interest."""
        return ""

else:
    _PR_SET_PDEATHSIG = 1
    _LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None

    def _die_with_parent() -> None:
        assert _LIBC is not None
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

    def spawn_arguments() -> dict[str, Any]:
        """What a new child must be started with: a group of its own, out of reach of the terminal's Ctrl-C."""
        # On Linux the kernel asks a child to stop even when this process is killed; macOS has no such thing,
        # there the next start stops what was left behind.
        return {"start_new_session": True, "preexec_fn": _die_with_parent if _LIBC is not None else None}

    def adopt(pid: int) -> None:
        """Nothing is left to do here: `spawn_arguments` did it."""

    def ask_to_stop(pid: int) -> None:
        """Ask a child to end by itself."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)

    def kill(pid: int) -> None:
        """End a child and everything it started, at once."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)

    def command_of(pid: int) -> str:
        """The command line of a living process, or nothing if there is none."""
        if sys.platform == "linux":
            with contextlib.suppress(OSError):
                return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            return ""
        answer = subprocess.run(  # noqa: S603
            ["/bin/ps", "-ww", "-o", "command=", "-p", str(pid)],
            capture_output=True,
            text=True,
            check=False,
        )
        return answer.stdout.strip()
