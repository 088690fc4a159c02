"""stack.yaml: what production runs, under which addresses its own files know it."""

from __future__ import annotations

from dataclasses import dataclass

from harness.model.findings import Subject
from harness.model.source import Span
from harness.policy.parse import schema
from harness.policy.parse.reading import Parsed, Reading
from harness.policy.parse.yaml import Scalar, Table, value


@dataclass(frozen=True, slots=True)
class DeclaredComponent:
    """A component as stack.yaml declares it; `unit` is still a path."""

    name: str
    kind: Scalar
    addresses: tuple[str, ...]
    unit: Scalar | None
    per_lane: bool
    command: tuple[str, ...]
    span: Span


def parse(text: str, file: str) -> Parsed[tuple[DeclaredComponent, ...]]:
    """Reads a stack.yaml."""
    reading = Reading("stack", file)
    document = reading.document(text)
    if document is None:
        return Parsed((), tuple(reading.findings))
    reading.findings.extend(schema.validate(document, "stack"))
    if reading.findings:
        return Parsed((), tuple(reading.findings))
    components: dict[str, DeclaredComponent] = {}
    owners: dict[str, str] = {}
    for entry in reading.tables(document.get("components"), "components"):
        component = _component(reading, entry)
        if component is None:
            continue
        if component.name in components:
            reading.error(
                "duplicate-component",
                component.span,
                f"two components are called {component.name!r}",
                details=f"the first stands at {components[component.name].span}",
                about=Subject("component", component.name),
            )
            continue
        for address in component.addresses:
            if address in owners:
                reading.error(
                    "duplicate-address",
                    component.span,
                    f"{address} is an address of {owners[address]!r} and of {component.name!r}",
                    about=Subject("component", component.name),
                )
            owners[address] = component.name
        components[component.name] = component
    return Parsed(tuple(components.values()), tuple(reading.findings))


def _component(reading: Reading, entry: Table) -> DeclaredComponent | None:
    name = reading.scalar(entry.get("name"), "name")
    kind = reading.scalar(entry.get("kind"), "kind")
    per_lane = entry.get("per_lane")
    if name is None or kind is None:
        return None
    return DeclaredComponent(
        name=name.text,
        kind=kind,
        addresses=tuple(address.text for address in reading.scalars(entry.get("addresses"), "addresses")),
        unit=reading.scalar(entry.get("unit"), "unit"),
        per_lane=per_lane is not None and value(per_lane) is True,
        command=tuple(word.text for word in reading.scalars(entry.get("command"), "command")),
        span=entry.span,
    )
