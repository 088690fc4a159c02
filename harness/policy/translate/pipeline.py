"""A logstash.conf as an ingest pipeline: its filters in order, its conditions asked when Logstash asks them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from harness.model.findings import Subject
from harness.policy.parse import logstash
from harness.policy.parse.logstash_nodes import Branch, Pipeline, Plugin, Step
from harness.policy.parse.reading import Parsed, Reading
from harness.policy.parse.suggest import hint
from harness.policy.translate.conditions import expression
from harness.policy.translate.emitting import ALWAYS, SCRATCH, Emitter, both
from harness.policy.translate.filters import FILTERS, NOBODY
from harness.policy.translate.settings import Settings
from harness.policy.translate.texts import decorate

WHY: Final = "translated into an ingest pipeline; Logstash is not here"
"""Why a store is told what Logstash was."""

_ERROR: Final = "event.ingest_error"


@dataclass(frozen=True, slots=True)
class Translation:
    """A pipeline of Logstash in a store's words.

    Args:
        processors: what a record goes through, in order; the last takes away what Logstash would not have sent on.
        reads_lines: whether a filter reads JSON from `message`: then a record may come as the line that it was.
    """

    processors: tuple[Mapping[str, Any], ...]
    reads_lines: bool

    def body(self, *, then: str = "") -> dict[str, Any]:
        """The body of `PUT _ingest/pipeline/<name>`; `then` is the store's own pipeline, which comes after Logstash."""
        following: list[Mapping[str, Any]] = [{"pipeline": {"name": then}}] if then else []
        return {
            "description": "logstash.conf, translated",
            "processors": [*self.processors, *following],
            "on_failure": [{"set": {"field": _ERROR, "value": "{{{_ingest.on_failure_message}}}"}}],
        }


def translated(text: str, file: str) -> Parsed[Translation | None]:
    """Reads and translates a logstash.conf; None where it cannot be read. What has no counterpart is an error."""
    parsed = logstash.parse(text, file)
    if parsed.value is None:
        return Parsed(None, parsed.findings)
    made = translate(parsed.value, file)
    return Parsed(made.value, (*parsed.findings, *made.findings))


def translate(pipeline: Pipeline, file: str) -> Parsed[Translation]:
    """Translates the filters of a pipeline."""
    reading, emitter = Reading(logstash.AREA, file), Emitter()
    steps = pipeline.steps("filter")
    _body(reading, emitter, steps, ALWAYS)
    gone = {"field": ["@metadata", SCRATCH], "ignore_missing": True}
    emitter.emit("remove", gone)
    lines = any(plugin.name.text == "json" and _source(plugin) == "message" for plugin in pipeline.plugins("filter"))
    return Parsed(Translation(tuple(emitter.processors), lines), tuple(reading.findings))


def _source(plugin: Plugin) -> str:
    return str(getattr(plugin.get("source"), "text", "")).strip("[]")


def _body(reading: Reading, emitter: Emitter, steps: Sequence[Step], guard: str) -> None:
    for step in steps:
        if isinstance(step, Branch):
            _branch(reading, emitter, step, guard)
        else:
            _filter(reading, emitter, step, guard)


def _branch(reading: Reading, emitter: Emitter, branch: Branch, guard: str) -> None:
    """Which arm is taken is decided before any of their bodies changes the record."""
    taken = emitter.name()
    undecided = f"ctx.{SCRATCH}?.{taken.rpartition('.')[2]} == null"
    for number, arm in enumerate(branch.arms, start=1):
        asked = [guard, *([undecided] if number > 1 else [])]
        if arm.condition is not None:
            asked.append(expression(reading, arm.condition))
        emitter.decide(taken, number, both(*asked))
    for number, arm in enumerate(branch.arms, start=1):
        _body(reading, emitter, arm.body, emitter.decided(taken, number))


def _filter(reading: Reading, emitter: Emitter, plugin: Plugin, guard: str) -> None:
    name = plugin.name.text
    translator = FILTERS.get(name)
    if translator is None:
        reading.error(
            "untranslated",
            plugin.name.span,
            f"the filter `{name}` cannot be translated here",
            details="a record that went without it would be another one than Logstash makes",
            fix=hint(name, FILTERS),
            about=Subject("filter", name),
        )
        return
    settings = Settings(reading, plugin)
    matched = translator(settings, emitter, guard)
    if matched == NOBODY:
        quiet = Emitter()  # read all the same, so that only what has no counterpart is told
        decorate(settings, quiet, matched)
    else:
        decorate(settings, emitter, matched)
    settings.finish()
