"""What must not be read in a ledger: known secrets, and what by its form can only be one.

Secrets of the sandbox are generated and worthless afterwards; those of a user's policies are not, and a ledger is
uploaded by CI and mailed around. So every string passes here before it is written, and who listens hears the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import quote

REDACTED = "[redacted]"
"""What stands where a secret stood."""

SHORTEST_SECRET = 4
"""Shorter secrets are not looked for: replacing every `ab` would make the ledger unreadable and protect nothing."""

_SECRET_ENTRIES = frozenset({"authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key"})
"""Headers whose whole value is a credential, by RFC 9110 and RFC 6265 or by custom."""

_FORMS = (
    # user:password@ of a URL (RFC 3986, 3.2.1); the last @ before the path ends it, so a password may hold one.
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^\s/?#]+@", re.IGNORECASE), rf"\1{REDACTED}@"),
    # Incoming webhooks: the path is the credential.
    (re.compile(r"(/services/)T\w+/B\w+/\w+"), rf"\1{REDACTED}"),
    (re.compile(r"(/(?:workflows|triggers)/)T\w+/[\w/]+"), rf"\1{REDACTED}"),
    (re.compile(r"(/api/(?:v\d+/)?webhooks/\d+/)[\w-]+"), rf"\1{REDACTED}"),
    # A header quoted in a body or in a component's output: to the end of the line, for schemes with parameters.
    (
        re.compile(
            r"(\b(?:proxy-)?authorization\b[\"']?\s*[:=]\s*[\"']?"
            r"(?:(?:basic|bearer|digest|negotiate|aws4-hmac-sha256)\s+)?)[^\s\"'][^\r\n\"']*",
            re.IGNORECASE,
        ),
        rf"\1{REDACTED}",
    ),
)


class Redactor:
    """Takes secrets out of strings: the known values given here, and whatever has the form of a credential.

    Args:
        secrets: values that must not be written, with their percent-encoded spelling; shorter ones than
            `SHORTEST_SECRET` are left alone.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._known: frozenset[str] = frozenset()
        self._pattern: re.Pattern[str] | None = None
        self._escaped: tuple[str, ...] = ()
        self.learn(secrets)

    def learn(self, secrets: Iterable[str]) -> None:
        """Adds secrets that came to exist after the run had started, a lane's passwords for example."""
        new = {spelling for secret in secrets for spelling in (secret, quote(secret, safe="")) if secret}
        self._known |= {spelling for spelling in new if len(spelling) >= SHORTEST_SECRET}
        if self._known:
            longest_first = sorted(self._known, key=lambda secret: (-len(secret), secret))
            self._pattern = re.compile("|".join(re.escape(secret) for secret in longest_first))
            self._escaped = tuple(_json_spelling(secret) for secret in longest_first)

    def text(self, value: str) -> str:
        """The string without secrets."""
        if self._pattern is not None:
            value = self._pattern.sub(REDACTED, value)
        for form, instead in _FORMS:
            value = form.sub(instead, value)
        return value

    def entry(self, key: str, value: str) -> str:
        """The value of a mapping's entry without secrets; nothing of it is left where the key names a credential."""
        return REDACTED if key.lower() in _SECRET_ENTRIES else self.text(value)

    def suspects(self, line: str) -> bool:
        """Whether a line of JSON may hold something to redact. Cheap, and never wrong when it says no.

        Most events hold nothing: this spares them the patterns.
        """
        lower = line.lower()
        return (
            ("://" in lower and "@" in lower)
            or any(hint in lower for hint in _HINTS)
            or any(secret in line for secret in self._escaped)
        )


_HINTS = (
    "/services/t",
    "/workflows/t",
    "/triggers/t",
    "/webhooks/",
    *sorted(_SECRET_ENTRIES - {"proxy-authorization"}),
)

_JSON_ESCAPES: Mapping[int, str] = {
    **{code: f"\\u{code:04x}" for code in range(0x20)},
    **{
        ord(char): spelling
        for char, spelling in zip('"\\\n\r\t\f\b', (r"\"", r"\\", r"\n", r"\r", r"\t", r"\f", r"\b"), strict=True)
    },
}


def redact_file(path: Path, redactor: Redactor) -> None:
    """Takes secrets out of a text that others wrote, a component's log; its lines stay where they are.

    A file that holds none is not touched. The whole is replaced in one step, so that a reader never finds half of it.

    Raises:
        OSError: it cannot be read or replaced.
    """
    clean = path.with_name(f".{path.name}.clean")
    changed = False
    try:
        with (
            path.open(encoding="utf-8", errors="surrogateescape") as source,
            clean.open("w", encoding="utf-8", errors="surrogateescape") as target,
        ):
            for line in source:
                text = redactor.text(line)
                changed = changed or text != line
                target.write(text)
        if changed:
            clean.replace(path)
    finally:
        clean.unlink(missing_ok=True)


def _json_spelling(text: str) -> str:
    """A string as it stands between the quotes of a line of the ledger (RFC 8259, nothing escaped without need)."""
    return text.translate(_JSON_ESCAPES)
