"""A translated logstash.conf on the real store: what comes out is what Logstash's reference says, computed apart."""

from __future__ import annotations

import dataclasses
import random
import re
import shutil
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from log_stack import SHIPPED, loaded
from logstash_cases import CASES, DROPPED

from harness.errors import StackError
from harness.model.events import Payload
from harness.model.records import digest_of
from harness.model.stack import Artifact
from harness.policy.rewire.rewiring import rewire
from harness.policy.translate.pipeline import WHY, translated
from harness.stack.guard import Guard
from harness.stack.layout import lay_out
from harness.stack.runtimes.process import ProcessRuntime
from harness.stack.search import Search
from harness.stack.search_logstash import Rehearsal, rehearsal, rehearse
from harness.stack.search_setup import differences
from harness.stack.stack import Stack

pytestmark = pytest.mark.stack


@asynccontextmanager
async def store(folder: Path, artifacts: Mapping[str, Artifact]) -> AsyncIterator[Search]:
    """The store alone, told what the shipped policies say; its report says that Logstash is translated."""
    policies = loaded(SHIPPED)
    parts = tuple(one for one in policies.components if one.kind == "elasticsearch")
    policies = dataclasses.replace(policies, components=parts)
    async with Guard.open(f"test-{time.monotonic_ns()}", folder) as guard:
        layout = lay_out(
            policies, artifacts, (), run=guard.run, sandbox=guard.sandbox, logs=folder / "logs", cache=folder
        )
        events: list[Payload] = []
        async with Stack(layout, ProcessRuntime(guard), events.append) as stack:
            await stack.up(rewire(policies, layout.sandbox(())).files, deadline_seconds=120)
            site = layout.site("elasticsearch")
            assert WHY in {one.why for one in differences(site)}
            assert WHY in str(events)
            async with Search(site.address, within_seconds=60) as search:
                yield search


async def simulated(search: Search, body: Mapping[str, Any], records: Sequence[Mapping[str, Any]]) -> list[Any]:
    """What a pipeline makes of records; None for one that it drops."""
    docs = [{"_index": "tried", "_id": "1", "_source": one} for one in records]
    answer = await search.done("POST", "/_ingest/pipeline/_simulate", {"pipeline": body, "docs": docs}, what="no")
    return [None if one is None else one["doc"]["_source"] if "doc" in one else one for one in answer["docs"]]


def body_of(filters: str) -> dict[str, Any]:
    """The pipeline of some filters."""
    found = translated(f"filter {{ {filters} }}", "f")
    assert found.findings == ()
    assert found.value is not None
    return found.value.body()


async def test_records_become_what_logstash_makes_of_them(tmp_path: Path, artifacts: Mapping[str, Artifact]) -> None:
    """Every case, conditions by the dozen, and the shipped file; in one store."""
    async with store(tmp_path, artifacts) as search:
        for case in CASES:
            [made] = await simulated(search, body_of(case.filters), [case.given])
            assert made == case.made, case.name
        kept = {"level": "INFO"}
        dropped = await simulated(search, body_of(DROPPED.filters), [DROPPED.given, kept])
        assert dropped == [None, {**kept, "tags": ["kept"]}]
        await conditions(search)
        await the_shipped_file(search, tmp_path)
        await what_is_wrong_is_told(search, tmp_path)


VALUES: tuple[Any, ...] = (None, "", "false", "a", "ab", "5", 5, 5.0, 7, True, False, ["a", "b"], [5], {"c": "a"}, {})
LITERALS = ('"a"', '"ab"', '""', "5", "5.0", "-7", '"5"')


KINDS = ("truthy", "equal", "order", "in", "listed", "match")
JOINED = ("not", "and", "or", "xor")


Decides = Callable[[Mapping[str, Any]], Any]


def drawn(draw: random.Random, depth: int = 0) -> tuple[str, Decides]:
    """A condition as Logstash has it, and what decides it here: a function of a record."""
    kind = draw.choice((*KINDS, *JOINED) if depth == 0 else KINDS)
    name, literal = draw.choice(["x", "y", "z"]), draw.choice(LITERALS)
    text, value = ("[z][c]", inner) if draw.random() < 0.2 else (f"[{name}]", at(name))
    constant = orjson.loads(literal)
    match kind:
        case "truthy":
            return text, lambda r: truth(value(r))
        case "equal":
            sign = draw.choice(["==", "!="])
            return f"{text} {sign} {literal}", lambda r: same(value(r), constant) == (sign == "==")
        case "order":
            sign = draw.choice(["<", "<=", ">", ">="])
            return f"{text} {sign} {literal}", lambda r: ordered(sign, value(r), constant)
        case "in":
            no = draw.choice(["", "not "])
            return f"{literal} {no}in {text}", lambda r: contained(constant, value(r)) != bool(no)
        case "listed":
            return f'{text} in ["a", 5, "x"]', lambda r: contained(value(r), ["a", 5, "x"])
        case "match":
            sign = draw.choice(["=~", "!~"])
            held = re.compile(r"^a|5$", re.MULTILINE)
            return f"{text} {sign} /^a|5$/", lambda r: found(held, value(r)) == (sign == "=~")
    left, right = drawn(draw, depth + 1), drawn(draw, depth + 1)
    if kind == "not":
        return f"!({left[0]})", lambda r: not left[1](r)
    both: Callable[[list[bool]], bool] = {"and": all, "or": any, "xor": lambda sides: sides[0] != sides[1]}[kind]
    return f"({left[0]}) {kind} ({right[0]})", lambda r: both([bool(left[1](r)), bool(right[1](r))])


def at(name: str) -> Decides:
    """`[name]`."""
    return lambda record: record.get(name)


def inner(record: Mapping[str, Any]) -> Any:
    """`[z][c]`."""
    return record["z"].get("c") if isinstance(record.get("z"), dict) else None


def found(pattern: re.Pattern[str], value: Any) -> bool:
    """In a text alone."""
    return isinstance(value, str) and pattern.search(value) is not None


def is_number(value: Any) -> bool:
    """A number, which a boolean is not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def same(one: Any, other: Any) -> bool:
    """Equal, and of a kind."""
    return bool(one == other) and is_number(one) == is_number(other)


def truth(value: Any) -> bool:
    """There, not false, not empty as a text."""
    return value is not None and value is not False and value not in ("", "false")


def ordered(sign: str, one: Any, other: Any) -> bool:
    """Numbers, or texts."""
    if not (is_number(one) and is_number(other)) and not (isinstance(one, str) and isinstance(other, str)):
        return False
    return bool({"<": one < other, "<=": one <= other, ">": one > other, ">=": one >= other}[sign])


def contained(one: Any, other: Any) -> bool:
    """A member of a list, or a part of a text."""
    if isinstance(other, list):
        return any(same(one, member) for member in other)
    return isinstance(one, str) and isinstance(other, str) and one in other


async def conditions(search: Search) -> None:
    """Eighty conditions on forty records, decided by the store and here; each way often."""
    draw = random.Random(20261130)
    asked = [drawn(draw) for _ in range(80)]
    records = [{name: value for name in "xyz" if (value := draw.choice(VALUES)) is not None} for _ in range(40)]
    filters = " ".join(f'if {text} {{ mutate {{ add_tag => ["c{n}"] }} }}' for n, (text, _) in enumerate(asked))
    made = await simulated(search, body_of(filters), records)
    held = 0
    for record, one in zip(records, made, strict=True):
        tags = set(one.get("tags", ()))
        for number, (text, decide) in enumerate(asked):
            assert (f"c{number}" in tags) == bool(decide(record)), (text, record)
            held += bool(decide(record))
    assert 0.15 < held / (len(asked) * len(records)) < 0.85


def shipped(folder: Path, edit: tuple[str, str] = ("", "")) -> Rehearsal:
    """The shipped logstash.conf and schemas, with an edit."""
    to = folder / "edited"
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(SHIPPED, to)
    text = (to / "logstash.conf").read_text()
    assert edit[0] in text
    (to / "logstash.conf").write_text(text.replace(*edit))
    found = rehearsal(to, "community-platform", then="community-platform")
    assert found is not None
    return found


async def the_shipped_file(search: Search, folder: Path) -> None:
    """Records come out as they were written, at their own time, errors tagged, with the instant of intake."""
    told = shipped(folder)
    assert await rehearse(search, told) == len(told.tried)
    made = await simulated(search, told.body, [one.document for one in told.tried])
    errors = 0
    for one, out in zip(told.tried, made, strict=True):
        line = one.document.get("message") if one.form == "line" else None
        written = orjson.loads(line) if line is not None else one.document
        assert digest_of(out, one.schema.fields) == digest_of(written, one.schema.fields)
        assert ("error" in out.get("tags", ())) == (written["level"] == "ERROR")
        assert instant(out["@timestamp"]) == instant(written["timestamp"])
        assert out["event"]["ingested"]
        assert "message" not in out
        errors += written["level"] == "ERROR"
    assert 0 < errors < len(made)
    syslog = {"message": "Nov  3 04:05:06 web-1 sshd[42]: Failed password", "fields": {"log": "system"}}
    torn = {"message": '{"torn', "fields": {"log": "application"}}
    [text, broken] = await simulated(search, told.body, [syslog, torn])
    assert (text["component"], text["text"], text["process"]["pid"]) == ("sshd", "Failed password", 42)
    assert (broken["message"], broken["tags"]) == ('{"torn', ["_jsonparsefailure"])


def instant(text: str) -> float:
    """An instant, whatever its offset."""
    return datetime.fromisoformat(text).timestamp()


async def what_is_wrong_is_told(search: Search, folder: Path) -> None:
    """The twins: each slip of the shipped file is seen before a record comes, by the source and the field."""
    end = '    mutate { add_tag => ["error"] }\n  }'
    for edit, says in (
        ((end, end + '\n  mutate { convert => { "duration" => "string" } }'), r"duration: .* is not of type"),
        ((end, end + '\n  mutate { remove_field => ["[metadata][sequence]"] }'), "metadata: .*sequence"),
        (("ISO8601", "yyyy"), "_dateparsefailure"),
        ((end, end + "\n  drop { }"), "drops every record of 'application'"),
        (("%{SYSLOGHOST:", "%{NOSUCHPATTERN:"), "did not take logstash.conf.*|NOSUCHPATTERN"),
    ):
        with pytest.raises(StackError) as refused:
            await rehearse(search, shipped(folder, edit))
        assert re.search(says, f"{refused.value} {refused.value.seen}"), refused.value
