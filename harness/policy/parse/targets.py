"""targets.yaml: the success targets, one OpenSLO v1 document of kind SLO each.

Where OpenSLO has the word it is used: `objectives[0].target` is the share that must be good, `op` and `value` are the
threshold of what counts as good. What it has no word for stands in annotations: `tocsin/basis` (what the verdict rests
on), `tocsin/unit`, `tocsin/excluded` (the visible line that sets a target aside).
Source: https://github.com/OpenSLO/OpenSLO, version v1.
"""

from __future__ import annotations

import math
from typing import Final

from harness.model.findings import Subject
from harness.model.policy import Basis, Target
from harness.policy.parse import schema
from harness.policy.parse.reading import Parsed, Reading
from harness.policy.parse.yaml import Node, Scalar, Table, compose, value

TARGET_IDS: Final = (
    "metrics-collected",
    "logs-collected",
    "alerts-delivered",
    "collection-delay",
    "alert-delivery-time",
    "dashboard-load",
    "availability",
    "retention",
    "restore-time",
)
"""The targets of the plan. Each stands in targets.yaml: one that is not judged is set aside there, in sight."""

# The share means something for these alone; a maximum or a boundary must hold for every one.
_SHARED = {Basis.BINOMIAL, Basis.QUANTILE}


def parse(text: str, file: str) -> Parsed[tuple[Target, ...]]:
    """Reads a targets.yaml."""
    reading = Reading("target", file)
    composed = compose(text, file)
    reading.findings.extend(composed.findings)
    targets: dict[str, Target] = {}
    refused: set[str] = set()
    for document in composed.documents:
        if isinstance(document, Scalar) and document.tag == "null":
            continue  # `---` at the end of a file opens an empty document
        wrong = schema.validate(document, "targets")
        reading.findings.extend(wrong)
        if wrong or not isinstance(document, Table):
            refused.add(_name(document))
            continue
        target = _target(reading, document)
        if target.id in targets:
            first = targets[target.id].span
            reading.error(
                "duplicate",
                target.span,
                f"the target {target.id!r} is declared twice",
                details=f"it stands first at {first}",
                about=Subject("target", target.id),
            )
            continue
        targets[target.id] = target
    if not any(finding.id.startswith("yaml/") for finding in reading.findings):
        for missing in TARGET_IDS:
            if missing not in targets and missing not in refused:
                reading.error(
                    "missing",
                    reading.start(),
                    f"the target {missing!r} is not declared: a target must not vanish unseen",
                    fix="declare it; to set it aside give it the annotation `tocsin/excluded` with the reason",
                    about=Subject("target", missing),
                )
    return Parsed(tuple(targets.values()), tuple(reading.findings))


def _target(reading: Reading, document: Table) -> Target:
    metadata = reading.table(document.get("metadata"), "metadata") or document
    annotations = reading.strings(metadata.get("annotations"), "annotations")
    spec = reading.table(document.get("spec"), "spec") or document
    description = spec.get("description")
    objective = next(reading.tables(spec.get("objectives"), "objectives"), document)
    share = _number(objective.get("target"))
    threshold = _number(objective.get("value"))
    basis = Basis(annotations["tocsin/basis"])
    return Target(
        id=_name(document),
        basis=basis,
        objective=share if math.isnan(threshold) else threshold,
        unit=annotations.get("tocsin/unit", "ratio" if math.isnan(threshold) else "seconds"),
        description=" ".join(description.text.split()) if isinstance(description, Scalar) else "",
        span=metadata.span,
        share=share if basis in _SHARED else None,
        excluded=annotations.get("tocsin/excluded"),
    )


def _number(node: Node | None) -> float:
    found = value(node) if node is not None else None
    return float(found) if isinstance(found, int | float) else math.nan


def _name(document: Node) -> str:
    metadata = document.get("metadata") if isinstance(document, Table) else None
    name = metadata.get("name") if isinstance(metadata, Table) else None
    return name.text if isinstance(name, Scalar) else ""
