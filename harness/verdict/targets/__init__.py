"""Success targets: one file each. A target says which sample it rests on, what success is, and what green claims.

`TARGETS` in `harness/verdict/targets/registry.py` is the one tuple of all that can be judged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from harness.model.plan import Injection
from harness.model.policy import Target
from harness.model.verdicts import InjectionVerdict, TargetVerdict


@dataclass(frozen=True, slots=True)
class Sample:
    """What targets over alerts are judged on: the run's injections, negative controls left out.

    `planned` maps an injection's id to what was planned; `broken` names the cells that are, `evidence` is real,
    simulated or mixed.
    """

    profile: str
    injections: tuple[InjectionVerdict, ...]
    planned: Mapping[str, Injection]
    broken: tuple[str, ...]
    evidence: str


class TargetJudge(Protocol):
    """One success target."""

    @property
    def id(self) -> str:
        """Its name in targets.yaml and in summary.json."""

    def judge(self, target: Target, sample: Sample) -> TargetVerdict:
        """The target as the policy states it, against the sample."""
