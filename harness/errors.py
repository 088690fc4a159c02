"""The one error tree: what *we* could not do.

A wrong policy is a `Finding` and a silent alert is a `Verdict`; neither is ever raised (the exception is
`PolicyError`, which carries findings when a policy is too broken to start with).

    HarnessError                     exit 4   we could not work
    ├── UsageError                   exit 2   the command was called wrongly
    │   └── PolicyError              exit 2   the policies cannot be run; carries the findings
    ├── ProvisionError               exit 4   a component could not be brought into the cache
    │   ├── Offline                  exit 3   no evidence can be had: the registry cannot be reached
    │   ├── CacheError               exit 4   the cache is corrupt, locked or cannot be written
    │   │   └── DiskFull             exit 4   no room is left
    │   └── BuildError               exit 4   a module did not build
    ├── StackError                   exit 4   the stack does not stand
    │   ├── ComponentDied            exit 4   a component ended when it should run
    │   ├── NotReady                 exit 4   a component did not become ready in time
    │   └── AddressTaken             exit 4   a port is held by somebody else
    ├── FaultError                   exit 4   a fault could not be applied or undone
    │   └── EffectNotProven          exit 3   a fault was applied and nothing of it was seen
    ├── LedgerError                  exit 4   a ledger cannot be read or written
    ├── Interrupted                  exit 4   somebody stopped the run
    └── Defect                       exit 4   a mistake of ours, that nobody foresaw

Nothing of a library's own exceptions leaves a seam: who calls a library at the edge of a room maps what it raises
onto this tree (`tests/test_errors.py` holds the tree and this drawing together).
"""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from harness.model.findings import Finding

_FRAMES = 6
"""How many of the innermost frames a defect is told with."""


class HarnessError(Exception):
    """Something that we could not do, told in sentences.

    Args:
        what: what went wrong, one sentence without a full stop at the end.
        expected: what we waited for or needed.
        seen: what was there instead, the last thing that was seen.
        waited_seconds: how long we waited for it.
        output: the last lines of the component that is to blame.
        hint: what the reader can do about it.
    """

    exit_code = 4

    def __init__(
        self,
        what: str,
        *,
        expected: str | None = None,
        seen: str | None = None,
        waited_seconds: float | None = None,
        output: Sequence[str] = (),
        hint: str | None = None,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.expected = expected
        self.seen = seen
        self.waited_seconds = waited_seconds
        self.output = tuple(output)
        self.hint = hint

    def __str__(self) -> str:
        """The whole message as a person reads it, several lines."""
        lines = [self.what]
        if self.expected:
            lines.append(f"  expected: {self.expected}")
        if self.seen:
            lines.append(f"  seen: {self.seen}")
        if self.waited_seconds is not None:
            lines.append(f"  waited: {self.waited_seconds:.1f} s")
        lines.extend(f"  | {line}" for line in self.output)
        if self.hint:
            lines.append(f"  hint: {self.hint}")
        return "\n".join(lines)


class UsageError(HarnessError):
    """The command was called wrongly, or a path cannot be read."""

    exit_code = 2


class PolicyError(UsageError):
    """The policies are too broken to be run; `findings` says where and why."""

    def __init__(self, what: str, findings: Sequence[Finding], *, hint: str | None = None) -> None:
        super().__init__(what, hint=hint)
        self.findings = tuple(findings)

    def __str__(self) -> str:
        """The sentence, then every finding on a line of its own."""
        return "\n".join([self.what, *(str(finding) for finding in self.findings)])


class ProvisionError(HarnessError):
    """A component could not be brought into the cache."""


class Offline(ProvisionError):
    """A registry cannot be reached and the cache does not hold what is needed: no evidence can be had."""

    exit_code = 3


class CacheError(ProvisionError):
    """The cache is corrupt, locked by another process for too long, or cannot be written."""


class DiskFull(CacheError):
    """No room is left where the cache lives."""


class BuildError(ProvisionError):
    """A module was fetched and did not build."""


class StackError(HarnessError):
    """The stack does not stand."""


class ComponentDied(StackError):
    """A component ended when it should be running."""


class NotReady(StackError):
    """A component runs and did not become ready in time."""


class AddressTaken(StackError):
    """A port that a component needs is held by somebody else."""


class FaultError(HarnessError):
    """A fault could not be applied, or could not be undone."""


class EffectNotProven(FaultError):
    """A fault was applied and its own observation did not see the effect: its injection is unverified."""

    exit_code = 3


class LedgerError(HarnessError):
    """A ledger cannot be written, or what is there is not a ledger."""


class Interrupted(HarnessError):
    """Somebody stopped the run; what was seen until then is in the ledger."""


class Defect(HarnessError):
    """What nobody foresaw: a mistake of ours, and never a verdict about the monitoring."""

    @classmethod
    def of(cls, error: Exception) -> Self:
        """The defect that an exception from anywhere speaks of, with the way to its place."""
        frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
        return cls(
            f"this is a defect of tocsin, not of your monitoring: {type(error).__name__}: {error}",
            output=[f"{Path(frame.filename).name}:{frame.lineno} in {frame.name}" for frame in frames],
            hint="please report it with these lines; TOCSIN_DEBUG=1 shows the whole trace",
        )


def in_a_line(error: Exception) -> str:
    """The whole message of an error in one line, its parts after semicolons, as events tell it."""
    return str(error).replace("\n  ", "; ")
