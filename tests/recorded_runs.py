"""Folders of runs as a run would have left them, from synthetic ledgers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from harness.model.events import Event
from harness.model.time import rfc3339
from harness.observe.codec import encode
from harness.observe.ledger import SCHEMA


def lines(events: Iterable[Event]) -> str:
    """Events as the lines of a ledger, at their own instants."""
    told = []
    for event in events:
        assert event.payload is not None
        head = {"seq": event.seq, "wall": rfc3339(event.wall), "monotonic": event.monotonic, "kind": event.kind}
        told.append(json.dumps({"schema": SCHEMA, **head, **encode(event.payload)}))
    return "".join(f"{line}\n" for line in told)


def write_run(folder: Path, events: Iterable[Event], logs: Mapping[str, str] | None = None) -> Path:
    """The folder of a run with its ledger and the logs of components."""
    (folder / "logs").mkdir(parents=True)
    (folder / "ledger.jsonl").write_text(lines(events), encoding="utf-8")
    for name, text in (logs or {}).items():
        (folder / "logs" / name).write_text(text, encoding="utf-8")
    return folder
