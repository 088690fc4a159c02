"""Which stages of a run may go on at the same time. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta

from harness.errors import UsageError
from harness.model.plan import Stage
from harness.policy.parse.suggest import hint


def next_stages(
    stages: Sequence[Stage], running: Collection[str], done: Collection[str], cores: float
) -> tuple[Stage, ...]:
    """The stages to start now, given those that run and those that ended.

    Of all that could start, the one with the longest chain of stages behind it comes first. A stage starts when all
    that it comes after has ended, nothing that runs excludes it, and the cores bear it; a stage that needs more cores
    than there are runs alone, so that every plan comes to its end.

    Raises:
        UsageError: the stages cannot be ordered (see `critical_path`).
    """
    tails = _tails(stages)
    by_name = {stage.name: stage for stage in stages}
    going = [by_name[name] for name in running]
    chosen: list[Stage] = []
    for stage in sorted(stages, key=lambda one: (-tails[one.name], one.name)):
        if stage.name in running or stage.name in done or not stage.after <= set(done):
            continue
        beside = [*going, *chosen]
        if any(_exclude(stage, other) for other in beside):
            continue
        if beside and stage.cpu_weight + sum(other.cpu_weight for other in beside) > cores:
            continue
        chosen.append(stage)
    return tuple(chosen)


def critical_path(stages: Sequence[Stage]) -> timedelta:
    """The longest chain of stages that must follow each other: no number of cores makes the run shorter.

    Raises:
        UsageError: two stages have one name, a stage comes after one that does not exist, or after itself.
    """
    return max(_tails(stages).values(), default=timedelta(0))


def _exclude(one: Stage, other: Stage) -> bool:
    """Exclusion holds both ways, whoever of the two declares it."""
    return other.name in one.excludes or one.name in other.excludes


def _tails(stages: Sequence[Stage]) -> Mapping[str, timedelta]:
    """For every stage the estimate of the longest chain that begins with it."""
    by_name = {stage.name: stage for stage in stages}
    if len(by_name) < len(stages):
        raise UsageError("two stages have the same name", seen=", ".join(sorted(stage.name for stage in stages)))
    behind: dict[str, list[str]] = {name: [] for name in by_name}
    for stage in stages:
        for name in sorted(stage.after):
            if name not in by_name:
                raise UsageError(
                    f"stage {stage.name} comes after {name}, and there is no such stage",
                    hint=hint(name, by_name),
                )
            behind[name].append(stage.name)
    tails: dict[str, timedelta] = {}
    for stage in stages:
        _measure(stage.name, by_name, behind, tails, ())
    return tails


def _measure(
    name: str,
    by_name: Mapping[str, Stage],
    behind: Mapping[str, Sequence[str]],
    tails: dict[str, timedelta],
    path: tuple[str, ...],
) -> timedelta:
    """The chain that begins with this stage; `path` is how we came here, which shows a circle."""
    if name in path:
        circle = (*path[path.index(name) :], name)
        raise UsageError(f"stages wait for each other in a circle: {' before '.join(circle)}")
    if name not in tails:
        longest = max(
            (_measure(other, by_name, behind, tails, (*path, name)) for other in behind[name]), default=timedelta(0)
        )
        tails[name] = by_name[name].estimate + longest
    return tails[name]
