"""The process that outlives the harness by a moment: it ends what a dead harness left running and removes its sandbox.

Run as `python -I -S guardian.py RUN SANDBOX LOCK`: standard library only, and only modules that the interpreter loads
anyway, so that it stands within a few hundredths of a second. `harness/stack/guard.py` starts it and speaks to it over
its standard input, one line a message:

    + PID START    a process was started; START is its start time in clock ticks since boot (proc(5), field 22)
    - PID          that process is gone
    end            the harness closes in order

At `end` or at end of file (the harness is gone, however that came) every process that was named and is still the same
one is killed, and so is whatever carries TOCSIN_RUN=RUN in its environment; then the sandbox is removed.
"""

from __future__ import annotations

import os
import signal
import sys
import time

PATIENCE_SECONDS = 0.7
"""How long killing and removing are repeated at most."""
QUIET_SECONDS = 0.1
"""After a harness that died: how long nothing may turn up before we believe that nothing will. A child that was forked
and has not yet called exec carries the harness's own environment and shows itself only then."""
SCAN_SECONDS = 0.01
ENDED_STATES = (b"Z", b"X")


def start_time(pid: int) -> int | None:
    """A process's start in clock ticks since boot, by which a reused pid is told apart; None where it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - pathlib would triple the start-up time
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if not fields or fields[0] in ENDED_STATES else int(fields[19])


def carriers(run: str) -> list[int]:
    """Every process of ours that carries this run's mark in its environment."""
    mark = b"TOCSIN_RUN=" + os.fsencode(run)
    found = []
    for name in os.listdir("/proc"):  # noqa: PTH208 - see above
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            with open(f"/proc/{name}/environ", "rb") as file:  # noqa: PTH123 - see above
                environment = file.read()
        except OSError:
            continue
        if mark in environment.split(b"\0"):
            found.append(int(name))
    return found


def kill(pid: int) -> None:
    """Kills a process, and its group where it leads one."""
    for send in (os.killpg, os.kill):
        try:
            send(pid, signal.SIGKILL)
        except OSError:
            continue


def remove(path: str) -> None:
    """Removes a tree as far as it can be removed; what stays is swept at the start of the next run."""
    for folder, folders, files in os.walk(path, topdown=False):
        for name in files:
            _attempt(os.unlink, os.path.join(folder, name))  # noqa: PTH118 - see above
        for name in folders:
            inner = os.path.join(folder, name)  # noqa: PTH118 - see above
            _attempt(os.unlink if os.path.islink(inner) else os.rmdir, inner)  # noqa: PTH114 - see above
    _attempt(os.rmdir, path)


def _attempt(act: object, path: str) -> None:
    try:
        act(path)  # type: ignore[operator]
    except OSError:
        return


def clear(run: str, known: dict[int, int], sandbox: str, lock: str, quiet_seconds: float) -> None:
    """Ends every process of the run and removes its sandbox, until nothing turned up for a while."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    quiet_since = time.monotonic()
    while True:
        alive = [pid for pid, start in known.items() if start_time(pid) == start]
        alive += carriers(run)
        for pid in alive:
            kill(pid)
        # A late child finds no sandbox to start in; what it made meanwhile is removed at the next round.
        there = os.path.lexists(sandbox)
        if there:
            remove(sandbox)
        now = time.monotonic()
        if alive or there:
            quiet_since = now
        elif now - quiet_since >= quiet_seconds:
            break
        if now >= deadline:
            break
        time.sleep(SCAN_SECONDS)
    if not os.path.lexists(sandbox):
        _attempt(os.unlink, lock)


def main(run: str, sandbox: str, lock: str) -> None:
    """Listens until the harness ends, then clears up after it."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    known: dict[int, int] = {}
    in_order = False
    pending = b""
    while chunk := os.read(0, 65536):
        *lines, pending = (pending + chunk).split(b"\n")
        for line in lines:
            word, *rest = line.split()
            if word == b"+":
                known[int(rest[0])] = int(rest[1])
            elif word == b"-":
                known.pop(int(rest[0]), None)
            elif word == b"end":
                in_order = True
    clear(run, known, sandbox, lock, 0.0 if in_order else QUIET_SECONDS)


if __name__ == "__main__":
    main(*sys.argv[1:4])
