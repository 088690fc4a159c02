"""Success targets: one file each. A target says which sample it rests on, what success is, and what green claims.

`TARGETS` in `harness/verdict/targets/registry.py` is the one tuple of all that can be judged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from harness.model.plan import Injection
from harness.model.policy import Target
from harness.model.verdicts import InjectionVerdict, TargetVerdict
from harness.verdict.record import Record

SMOKE_CLAIMS_NOTHING = "a smoke run claims nothing of it"
"""What a smoke run says of a target whose sample it is too short for."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What targets are judged on: the run's injections, negative controls left out, and the whole record of it.

    `planned` maps an injection's id to what was planned; `broken` names the cells that are, `evidence` is what the
    alerts rest on: real, simulated or mixed.
    """

    profile: str
    injections: tuple[InjectionVerdict, ...]
    planned: Mapping[str, Injection]
    broken: tuple[str, ...]
    evidence: str
    record: Record


def evidence_of(parts: Iterable[str]) -> str:
    """What several parts of evidence are together: what they all are, else mixed; of nothing nothing is simulated."""
    kinds = set(parts) or {"real"}
    return kinds.pop() if len(kinds) == 1 else "mixed"


class TargetJudge(Protocol):
    """One success target."""

    @property
    def id(self) -> str:
        """Its name in targets.yaml and in summary.json."""

    def judge(self, target: Target, sample: Sample) -> TargetVerdict:
        """The target as the policy states it, against the sample."""
