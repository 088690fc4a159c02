"""Which faults of the records' way a run plays, in which order, and what each may cost. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from random import Random

from harness.model.episodes import EpisodePlan, EpisodeTraits
from harness.model.plan import Profile
from harness.model.policy import RecordDrill

PHASE = timedelta(seconds=2)
"""The span from which is drawn how long an episode begins after the end of the one before."""


def plan_episodes(
    traits: Sequence[EpisodeTraits],
    drills: Sequence[RecordDrill],
    kinds: Collection[str],
    schemas: Mapping[str, str],
    *,
    profile: Profile,
    seed: int,
) -> tuple[tuple[EpisodePlan, ...], Mapping[str, str]]:
    """The episodes of a run in their order; and why the other faults are left out, by id.

    The nightly profile plays every fault for which the components are there; the gate those that are quick, unless the
    policy keeps one for the night or calls one in (`nightly: false`).

    Args:
        traits: of every fault that there is.
        drills: what the policy says of some.
        kinds: the kinds of component that all lanes share.
        schemas: the sources of records, by the file of their schema (`logs/system.schema.json`).
        profile: how much is tried.
        seed: fixes order and phases.
    """
    stated = {drill.fault: drill for drill in drills}
    chosen, left_out = [], {}
    for one in traits:
        lacking = sorted(one.needs - set(kinds))
        sources = tuple(source for file, source in schemas.items() if file.startswith(one.concerns))
        drill = stated.get(one.fault)
        nightly = one.gate_hold is None if drill is None or drill.nightly is None else drill.nightly
        if lacking:
            left_out[one.fault] = f"all lanes share no component of kind {', '.join(lacking)}"
        elif not sources:
            left_out[one.fault] = f"no schema of {one.concerns} says what its records are"
        elif nightly and profile is not Profile.NIGHTLY:
            left_out[one.fault] = "it is for the night"
        else:
            chosen.append((one, sources, drill))
    random = Random(f"{seed}/episodes")
    random.shuffle(chosen)
    plans = []
    for one, sources, drill in chosen:
        promise = one.promise
        if drill is not None and (drill.lost is not None or drill.ratio is not None):
            promise = replace(promise, lost=drill.lost or 0, ratio=drill.ratio, why=drill.why)
        in_gate = profile is not Profile.NIGHTLY and one.gate_hold is not None
        plans.append(
            EpisodePlan(
                id=f"episode-{one.fault}",
                fault=one.fault,
                summary=one.summary,
                signal=one.signal,
                sources=sources,
                phase=PHASE * random.random(),
                hold=one.gate_hold if in_gate and one.gate_hold is not None else one.hold,
                promise=promise,
                tolerates=drill.tolerates if drill is not None else (),
            )
        )
    return tuple(plans), left_out
