"""Patterns of Logstash in the words of a store: regular expressions, times, dissections, grok; or why not.

A reason is raised as `Untranslatable`; who calls knows the place.
"""

from __future__ import annotations

import re
from typing import Final

REFERENCE: Final = re.compile(r"%\{([^}]*)\}")
"""What `%{…}` asks for, in a text of Logstash."""

_FIELD = re.compile(r"(?:\[[^\[\],]+\])+")


class Untranslatable(Exception):
    """Something that the store has no word for; its text is a sentence's end: why."""


def path_of(reference: str) -> tuple[str, ...]:
    """The names of a reference to a field: `[a][b]`, or `a` for a field at the top.

    Raises:
        Untranslatable: it is no reference, or names a field that a store cannot hold as Logstash does.
    """
    names = tuple(reference[1:-1].split("][")) if _FIELD.fullmatch(reference) else (reference,)
    if "%{" in reference:
        raise Untranslatable(f"the name of the field depends on the record: {reference!r}")
    if any(not name or "[" in name or "]" in name for name in names):
        raise Untranslatable(f"{reference!r} is no reference to a field")
    if any("." in name for name in names):
        nested = "".join(f"[{part}]" for name in names for part in name.split("."))
        raise Untranslatable(
            f"{reference!r} names one field with a dot in it, which a store takes for a nested one; write {nested}"
        )
    return names


# Constructs of Ruby's regular expressions (Onigmo) that Java has not, or reads otherwise. Source: Onigmo's doc/RE and
# java.util.regex.Pattern. A class of POSIX (`[[:alpha:]]`), `\h` for hexadecimal digits, calls, `\K`, `\R`, `\X`, `\y`.
_ONLY_RUBY: Final = re.compile(r"\[\[:|(?<!\\)(?:\\\\)*(\\[hHKRXyYgkG]|\\p\{\^)|\(\?[a-z-]*[xa-du]|\(\?~|&&")


def java(pattern: str) -> str:
    """A regular expression of Ruby as Java's, where lines have no option of their own (`^` is the start of a line).

    Raises:
        Untranslatable: it says something that Java has no word for.
    """
    strange = _ONLY_RUBY.search(pattern)
    if strange is not None:
        raise Untranslatable(f"the store's regular expressions read {strange.group().strip()!r} otherwise")
    if "%{" in pattern:
        raise Untranslatable("the pattern depends on the record")
    # Ruby's `m` is Java's `s`: a dot is a line's end too. Its `^` and `$` are always those of a line.
    return re.sub(r"\(\?([im]+)(-[im]+)?([:)])", lambda found: found.group().replace("m", "s"), pattern)


def literal(pattern: str) -> str:
    """A regular expression as a literal of Painless, in which it searches.

    Raises:
        Untranslatable: as `java`.
    """
    body = re.sub(r"(?s)(\\.)|/", lambda found: found.group(1) or r"\/", java(pattern))
    body = body.replace("\n", "\\n").replace("\r", "\\r")
    return f"/{body or '(?:)'}/m"


def replacement(text: str) -> str:
    r"""What Ruby puts in place of a match, as Java writes it: `\1` is `$1`.

    Raises:
        Untranslatable: it depends on the record, or on what stands around the match.
    """
    if "%{" in text:
        raise Untranslatable("what is put in place depends on the record")
    made = []
    for part in re.findall(r"(?s)\\.|.", text):
        if re.fullmatch(r"\\\d", part):
            made.append(f"${part[1]}")
        elif part in {r"\&", r"\`", r"\'", r"\k"}:
            raise Untranslatable(f"{part!r} is a word of Ruby's alone")
        elif part in {"\\\\", "\\"}:
            made.append("\\\\")
        elif part == "$":
            made.append("\\$")
        else:
            made.append(part.replace("\\", "\\\\"))
    return "".join(made)


_NAMED_TIMES: Final = ("ISO8601", "UNIX", "UNIX_MS", "TAI64N")
_PARTS: Final = re.compile(r"'(?:[^']|'')*'|([A-Za-z])\1*|[^A-Za-z']+|'")
_SAME_LETTERS: Final = frozenset("yMdDHhKkmsSaEz")


def time_format(text: str) -> str:
    """A format of Joda's, which Logstash's dates have, as java.time's.

    Raises:
        Untranslatable: it has a letter that means something else there.
    """
    if text in _NAMED_TIMES:
        return text
    made = []
    for found in _PARTS.finditer(text):
        part = found.group()
        letter = part[0]
        if part == "'":
            raise Untranslatable(f"the format {text!r} has a quote that is not closed")
        if letter == "'" or not letter.isalpha():
            made.append(re.sub(r"([\[\]{}#]+)", r"'\1'", part) if letter != "'" else part)
        elif letter == "Y":
            made.append("y" * len(part))
        elif letter == "Z":
            made.append("VV" if len(part) > 2 else "[XXX][XX]")
        elif letter in _SAME_LETTERS:
            made.append(part)
        else:
            raise Untranslatable(f"the store's dates have no {part!r} as the format {text!r} means it")
    return "".join(made)


_CAPTURE: Final = re.compile(r"%\{(\w+)(?::([^:}]+))?(?::(\w+))?\}")


def grok(pattern: str) -> tuple[str, tuple[str, ...]]:
    """A pattern of grok as the store has it, and the fields (with dots) that it names itself.

    Raises:
        Untranslatable: a name or a type that the store has not.
    """
    names: list[str] = []

    def one(found: re.Match[str]) -> str:
        name, field, kind = found.groups()
        if kind not in {None, "int", "float"}:
            raise Untranslatable(f"grok knows no type {kind!r}: int and float are those that there are")
        if field is None:
            return found.group()
        names.append(".".join(path_of(field)))
        return f"%{{{name}:{names[-1]}{f':{kind}' if kind else ''}}}"

    made = _CAPTURE.sub(one, pattern)
    left = next((part for part in REFERENCE.findall(made) if not _CAPTURE.fullmatch(f"%{{{part}}}")), None)
    if left is not None:
        raise Untranslatable(f"%{{{left}}} is no part of a grok pattern")
    custom = re.findall(r"\(\?<([^=!>][^>]*)>", made)
    names += custom
    strange = next((name for name in custom if not re.fullmatch(r"[A-Za-z_]\w*", name)), None)
    if strange is not None:
        raise Untranslatable(f"a group of a pattern cannot be called {strange!r} in the store")
    return made, tuple(names)


def dissect(pattern: str) -> str:
    """A dissection as the store has it.

    Raises:
        Untranslatable: an operation that the store does otherwise.
    """

    def one(found: re.Match[str]) -> str:
        key = found.group(1)
        if key[:1] in {"+", "&"} or "/" in key:
            raise Untranslatable(f"the store's dissection does %{{{key}}} otherwise")
        skipped, name, padded = re.fullmatch(r"(\??)(.*?)((?:->)?)", key, re.DOTALL).groups()  # type: ignore[union-attr]
        if skipped or not name:
            return f"%{{?{name}{padded}}}" if name else f"%{{{padded}}}"
        return f"%{{{'.'.join(path_of(name))}{padded}}}"

    if not REFERENCE.search(pattern):
        raise Untranslatable("the dissection names no field")
    return REFERENCE.sub(one, pattern)
