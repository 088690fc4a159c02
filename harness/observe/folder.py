"""The folder of a run: `runs/<id>`, with the link `runs/latest` to the newest whole one."""

from __future__ import annotations

import secrets
import subprocess
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from harness.errors import HarnessError, LedgerError, UsageError
from harness.model.events import RunStarted
from harness.observe.ledger import read


def new_folder(out: Path) -> tuple[str, Path]:
    """A new run's id and its folder, made; the id begins with the instant, so that names sort by time.

    Raises:
        UsageError: the folder cannot be made.
    """
    while True:
        run = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
        folder = (out / run).absolute()
        try:
            folder.mkdir(parents=True)
            (folder / "logs").mkdir()
        except FileExistsError as error:
            # One of 65,536 runs that begin in the same second: the next draw is another. A file in the way stays one.
            if folder.is_dir():
                continue
            raise _not_made(folder, error) from error
        except OSError as error:
            raise _not_made(folder, error) from error
        return run, folder


def _not_made(folder: Path, error: OSError) -> UsageError:
    return UsageError(
        f"the folder of this run cannot be made at {folder}",
        seen=error.strerror or str(error),
        hint="choose a folder of yours by --out",
    )


def point_latest(out: Path, folder: Path) -> None:
    """Leads `latest` to a run that is whole, in one step: a reader never finds it missing.

    Raises:
        LedgerError: the link cannot be made, e.g. because something else is called `latest`.
    """
    latest = out / "latest"
    fresh = out / f".latest-{folder.name}"
    try:
        fresh.symlink_to(folder.name)
        fresh.replace(latest)
    except OSError as error:
        with suppress(OSError):
            fresh.unlink()
        raise LedgerError(
            f"{latest} cannot be made to lead to the run in {folder}",
            expected="nothing at that path, or the link of an earlier run",
            seen=error.strerror or str(error),
            hint=f"move what is there away; the run itself is whole: tocsin report {folder}",
        ) from error


def write_whole(path: Path, text: str) -> None:
    """Writes a file of a run in one step, in a folder that is made if need be: a reader finds it whole or not at all.

    Raises:
        LedgerError: it cannot be written.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        raise unwritable(path, error) from error


def unwritable(path: Path, error: OSError) -> LedgerError:
    """What the system's refusal to write a file of a run means."""
    return LedgerError(
        f"{path} cannot be written",
        seen=error.strerror or str(error),
        hint="make room on that disk, or choose another folder with --out",
    )


def commit_of(folder: Path) -> str:
    """The commit that a folder is checked out at; empty where that cannot be told."""
    with suppress(OSError, subprocess.TimeoutExpired):
        asked = subprocess.run(
            ["git", "-C", str(folder), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=False
        )
        if asked.returncode == 0:
            return asked.stdout.strip()
    return ""


def attempt(out: Path, commit: str) -> int:
    """How often a commit has been tried here, the run that begins now included.

    Ledgers that cannot be read count for nothing; without a commit every run is the first.
    """
    tried = 1
    for ledger in out.glob("*/ledger.jsonl"):
        if not commit or ledger.parent.is_symlink():
            continue
        with suppress(HarnessError, StopIteration):
            first = next(read(ledger)).payload
            tried += isinstance(first, RunStarted) and first.commit == commit
    return tried
