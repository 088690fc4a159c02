"""systemd unit files: what production runs and how it is restarted.

Sources: systemd.syntax(7), systemd.service(5) for ExecStart and Restart, systemd.unit(5) for StartLimit,
systemd.time(7) for time spans.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from harness.model.findings import Subject
from harness.model.policy import RestartPolicy, RestartWhen, Unit
from harness.model.source import Span
from harness.policy.parse.reading import Parsed, Reading
from harness.policy.parse.suggest import hint

_SECONDS: Final[Mapping[str, float]] = {
    **dict.fromkeys(("usec", "us", "µs", "μs"), 1e-6),
    **dict.fromkeys(("msec", "ms"), 1e-3),
    **dict.fromkeys(("seconds", "second", "sec", "s", ""), 1.0),
    **dict.fromkeys(("minutes", "minute", "min", "m"), 60.0),
    **dict.fromkeys(("hours", "hour", "hr", "h"), 3600.0),
    **dict.fromkeys(("days", "day", "d"), 86400.0),
    **dict.fromkeys(("weeks", "week", "w"), 604800.0),
    **dict.fromkeys(("months", "month", "M"), 2629800.0),
    **dict.fromkeys(("years", "year", "y"), 31557600.0),
}
_TERM = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-zµμ]+|(?=\s|$))")
_ESCAPES: Final[Mapping[str, str]] = {
    **{"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "s": " "},
    **{"\\": "\\", '"': '"', "'": "'"},
}
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|([0-7]{3})|(.))", re.DOTALL)
_EXEC_PREFIX = "@-:+!|"


@dataclass(frozen=True, slots=True)
class _Setting:
    """One assignment: its value with continuation lines joined."""

    value: str
    span: Span


@dataclass(slots=True)
class _Sections:
    """Every assignment of a unit file in order, by section and key."""

    settings: dict[tuple[str, str], list[_Setting]] = field(default_factory=dict)

    def all(self, section: str, key: str) -> list[_Setting]:
        """All values of a key that may repeat; an empty assignment forgets those before it."""
        values: list[_Setting] = []
        for setting in self.settings.get((section, key), []):
            if setting.value:
                values.append(setting)
            else:
                values.clear()
        return values

    def last(self, *places: tuple[str, str]) -> _Setting | None:
        """The last value of a key that counts once, looked for in each place in turn."""
        for section, key in places:
            values = self.all(section, key)
            if values:
                return values[-1]
        return None


def parse(text: str, file: str) -> Parsed[Unit]:
    """Reads a service unit."""
    reading = Reading("unit", file)
    sections = _sections(reading, text)
    commands = sections.all("Service", "ExecStart")
    argv: tuple[str, ...] = ()
    span = reading.start()
    if not commands:
        reading.error("no-exec-start", span, "the unit has no ExecStart in its [Service] section")
    else:
        span = commands[0].span
        argv = _command(reading, commands[0])
        for extra in commands[1:]:
            reading.error("exec-start-twice", extra.span, "a second ExecStart; only Type=oneshot may have several")
    environment: dict[str, str] = {}
    for setting in sections.all("Service", "Environment"):
        for word in _words(reading, setting):
            name, equals, content = word.partition("=")
            if equals:
                environment[name] = content
            else:
                reading.warning("environment", setting.span, f"Environment={word!r} assigns nothing")
    return Parsed(Unit(file, argv, environment, _restart(reading, sections), span), tuple(reading.findings))


def time_span(text: str) -> timedelta:
    """A time span as systemd writes it: `500ms`, `1min 30s`, `infinity`; a bare number is seconds.

    Raises:
        ValueError: the text is not a time span.
    """
    stripped = text.strip()
    if stripped == "infinity":
        return timedelta.max
    if not stripped:
        raise ValueError("an empty time span")
    position, seconds = 0, 0.0
    while position < len(stripped):
        term = _TERM.match(stripped, position)
        if term is None or term.group(2) not in _SECONDS:
            raise ValueError(f"not a time span: {text!r}")
        seconds += float(term.group(1)) * _SECONDS[term.group(2)]
        position = term.end()
    try:
        return timedelta(seconds=seconds)
    except OverflowError:
        return timedelta.max


def _sections(reading: Reading, text: str) -> _Sections:
    found = _Sections()
    section: str | None = None
    for number, column, line, end_line in _logical_lines(text):
        span = Span(reading.file, number, column, end_line, column + len(line))
        if line.startswith("["):
            if not line.endswith("]"):
                reading.error("syntax", span, "a section header does not end with ]")
            section = line.strip("[]")
            continue
        key, equals, value = line.partition("=")
        if not equals:
            reading.error("syntax", span, f"neither a section, a comment nor an assignment: {line[:40]!r}")
        elif section is None:
            reading.error("syntax", span, f"{key.strip()}= stands before any section")
        else:
            found.settings.setdefault((section, key.strip()), []).append(_Setting(value.strip(), span))
    return found


def _logical_lines(text: str) -> list[tuple[int, int, str, int]]:
    """(line, column, joined text, last line) of everything that is not blank or a comment."""
    found: list[tuple[int, int, str, int]] = []
    pending: list[str] = []
    first = column = 0
    lines = text.removeprefix("\ufeff").split("\n")
    for number, raw in enumerate(lines, start=1):
        stripped = raw.strip()
        # A comment between continuation lines is left out and does not end them (systemd.syntax(7)).
        if stripped.startswith(("#", ";")) or (not stripped and not pending):
            continue
        if not pending:
            first, column = number, len(raw) - len(raw.lstrip()) + 1
        continued = stripped.endswith("\\")
        pending.append(stripped[:-1].rstrip() if continued else stripped)
        if not continued:
            found.append((first, column, " ".join(pending).strip(), number))
            pending = []
    if pending:
        found.append((first, column, " ".join(pending).strip(), len(lines)))
    return [entry for entry in found if entry[2]]


def _command(reading: Reading, setting: _Setting) -> tuple[str, ...]:
    words = _words(reading, setting)
    if words:
        words[0] = words[0].lstrip(_EXEC_PREFIX)
    if not words or not words[0]:
        reading.error("no-exec-start", setting.span, "ExecStart names no program")
        return ()
    return tuple(words)


def _words(reading: Reading, setting: _Setting) -> list[str]:
    """Splits as systemd does: blanks part words, quotes hold them together and vanish, C escapes are resolved."""
    words: list[str] = []
    text, position = setting.value, 0
    while True:
        while position < len(text) and text[position].isspace():
            position += 1
        if position >= len(text):
            return words
        word, quote = "", ""
        while position < len(text):
            char = text[position]
            escape = _ESCAPE.match(text, position) if char == "\\" else None
            if escape is not None:
                word += _unescape(escape)
                position = escape.end()
                continue
            position += 1
            if quote:
                if char == quote:
                    quote = ""
                    continue
            elif char.isspace():
                break
            elif char in "\"'":
                quote = char
                continue
            word += char
        if quote:
            reading.error("syntax", setting.span, f"a quote {quote} is not closed")
        if any(char == "\0" or "\ud800" <= char <= "\udfff" for char in word):
            reading.error("syntax", setting.span, "an escape stands for a character that no command line can hold")
        else:
            words.append(word.replace("%%", "%"))


def _unescape(match: re.Match[str]) -> str:
    two, four, octal, other = match.groups()
    if two or four:
        return chr(int(two or four, 16))
    if octal:
        return chr(int(octal, 8) & 0xFF)
    return _ESCAPES.get(other, "\\" + other)


def _restart(reading: Reading, sections: _Sections) -> RestartPolicy:
    default = RestartPolicy()
    when = default.when
    setting = sections.last(("Service", "Restart"))
    if setting is not None:
        if setting.value == "on-watchdog":
            reading.warning(
                "restart",
                setting.span,
                "Restart=on-watchdog cannot be honoured here and counts as no",
                fix="use always or on-failure where a crash must heal by itself",
            )
        elif setting.value in set(RestartWhen):
            when = RestartWhen(setting.value)
        else:
            reading.error(
                "restart",
                setting.span,
                f"Restart={setting.value} is unknown",
                fix=hint(setting.value, [*RestartWhen, "on-watchdog"]),
                about=Subject("unit", reading.file),
            )
    return RestartPolicy(
        when=when,
        pause=_span(reading, sections.last(("Service", "RestartSec")), default.pause),
        burst=_count(
            reading, sections.last(("Unit", "StartLimitBurst"), ("Service", "StartLimitBurst")), default.burst
        ),
        interval=_span(
            reading,
            sections.last(
                ("Unit", "StartLimitIntervalSec"), ("Unit", "StartLimitInterval"), ("Service", "StartLimitInterval")
            ),
            default.interval,
        ),
    )


def _span(reading: Reading, setting: _Setting | None, default: timedelta) -> timedelta:
    if setting is None:
        return default
    try:
        return time_span(setting.value)
    except ValueError:
        reading.error(
            "time-span", setting.span, f"{setting.value!r} is not a time span", fix="write e.g. 500ms, 5s or 1min 30s"
        )
        return default


def _count(reading: Reading, setting: _Setting | None, default: int) -> int:
    if setting is None:
        return default
    if not (setting.value.isascii() and setting.value.isdigit() and len(setting.value) <= 9):
        reading.error("number", setting.span, f"StartLimitBurst={setting.value} is not a whole number")
        return default
    return int(setting.value)
