"""Every form that a report can be asked for in, as one explicit table."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from harness.report import junit, summary, terminal
from harness.report.recorded import Recorded


def _terminal(recorded: Recorded, colour: bool) -> str:
    return terminal.render(recorded.judgement, recorded.events, colour=colour)


def _json(recorded: Recorded, _: bool) -> str:
    return json.dumps(summary.summary(recorded.judgement, recorded.events), indent=2, allow_nan=False) + "\n"


def _junit(recorded: Recorded, _: bool) -> str:
    return junit.render(recorded.judgement, recorded.events)


FORMS: Mapping[str, Callable[[Recorded, bool], str]] = {"terminal": _terminal, "json": _json, "junit": _junit}


def render(form: str, recorded: Recorded, *, colour: bool) -> str:
    """A run in one of the forms; `colour` only where a person reads it on a terminal."""
    return FORMS[form](recorded, colour)
