"""Findings: what is wrong with a policy. Values, never raised."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from harness.model.source import Span


class Severity(StrEnum):
    """How bad a finding is; `error` means that the file cannot do what it says."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Subject:
    """What a finding is about: `kind` is alert, route, receiver, job, drill, target, component, file, …"""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with a policy.

    `id` is stable (`drill/unknown-alert`), `summary` one sentence, `details` what was expected, `fix` what to do.
    """

    id: str
    severity: Severity
    span: Span
    summary: str
    details: str = ""
    fix: str = ""
    subject: Subject | None = None

    def __str__(self) -> str:
        """`file:line:column: severity: summary (id)`, then the details and the fix, indented."""
        lines = [f"{self.span}: {self.severity}: {self.summary} ({self.id})"]
        if self.details:
            lines.append(f"    {self.details}")
        if self.fix:
            lines.append(f"    hint: {self.fix}")
        return "\n".join(lines)
