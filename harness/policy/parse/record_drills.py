"""record-drills.yaml: how many records a fault of their way may cost, and why."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from harness.model.findings import Finding, Subject
from harness.model.policy import RecordDrill
from harness.policy.parse import schema
from harness.policy.parse.files import Folder
from harness.policy.parse.reading import Parsed, Reading
from harness.policy.parse.suggest import hint
from harness.policy.parse.yaml import Table

NAMES: Final = ("record-drills.yaml", "record-drills.yml")


def load(
    folder: Folder, known: Collection[str] | None, alerts: Collection[str] | None, found: list[Finding]
) -> tuple[RecordDrill, ...]:
    """What a policies folder states; nothing where it has no such file.

    Args:
        folder: the policies folder.
        known: ids of the faults that there are; None where whatever is named is taken.
        alerts: names of the alerts that there are; None where nobody can say.
        found: takes what is wrong with the file.
    """
    name = next((name for name in NAMES if (folder.root / name).exists()), None)
    text = folder.read(name) if name else None
    if name is None or text is None:
        return ()
    parsed = parse(text, folder.shown(name), known, alerts)
    found.extend(parsed.findings)
    return parsed.value


def parse(
    text: str, file: str, known: Collection[str] | None = None, alerts: Collection[str] | None = None
) -> Parsed[tuple[RecordDrill, ...]]:
    """Reads a record-drills.yaml; nothing is stated where the file does not fit its schema.

    Args:
        text: the file's text.
        file: what findings call it.
        known: ids of the faults that there are; None where whatever is named is taken.
        alerts: names of the alerts that there are; None where whatever is named is taken.
    """
    reading = Reading("record-drill", file)
    document = reading.document(text)
    if document is None:
        return Parsed((), tuple(reading.findings))
    reading.findings.extend(schema.validate(document, "record-drills"))
    if reading.findings:
        return Parsed((), tuple(reading.findings))
    drills: dict[str, RecordDrill] = {}
    for entry in reading.tables(document.get("record_drills"), "record_drills"):
        drill = _drill(reading, entry)
        fault = entry.get("fault")
        at = fault.span if fault is not None else entry.span
        about = Subject("fault", drill.fault)
        if known is not None and drill.fault not in known:
            summary = f"there is no fault of the records' way {drill.fault!r}"
            reading.error("unknown-fault", at, summary, fix=hint(drill.fault, known), about=about)
        for named in reading.scalars(entry.get("tolerates"), "tolerates"):
            if alerts is not None and named.text not in alerts:
                summary = f"no rule defines an alert {named.text!r}"
                subject = Subject("alert", named.text)
                reading.error("unknown-alert", named.span, summary, fix=hint(named.text, alerts), about=subject)
        first = drills.setdefault(drill.fault, drill)
        if first is not drill:
            summary, details = f"{drill.fault!r} is stated twice", f"it stands first at {first.span}"
            reading.error("duplicate", at, summary, details=details, about=about)
    return Parsed(tuple(drills.values()), tuple(reading.findings))


def _drill(reading: Reading, entry: Table) -> RecordDrill:
    def text(key: str) -> str:
        node = entry.get(key)
        scalar = None if node is None else reading.scalar(node, key)
        return scalar.text if scalar else ""

    allowed, nightly = text("allowed_lost"), text("nightly")
    return RecordDrill(
        fault=text("fault"),
        lost=int(allowed, 0) if allowed and not allowed.endswith("%") else None,
        ratio=float(allowed.removesuffix("%")) / 100 if allowed.endswith("%") else None,
        why=text("why"),
        nightly=nightly.lower() == "true" if nightly else None,
        span=entry.span,
        tolerates=tuple(named.text for named in reading.scalars(entry.get("tolerates"), "tolerates")),
    )
