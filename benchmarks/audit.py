"""How many records a second are audited, beside validators called in a loop: `python benchmarks/audit.py [RECORDS …]`.

Records are accounted for (announced, found, each given its fate), held against their schema and digested, from files,
by as many processes as there are cores. Beside that python jsonschema and jsonschema-rs only read and validate a part
of the same lines, one after the other, in one process. Ratios are of one run on one machine.

Memory is the sum of the most that each process of an audit ever held (`VmHWM`), so never too little. Ten million
records take 5.5 GB of disk and some minutes, most of which is writing them.

Exit code 1 where fewer than 300,000 records a second were audited on two cores, a record was counted wrongly, or an
audit of more records took more memory.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import jsonschema_rs
import orjson
import psutil
from jsonschema import Draft202012Validator

from harness.model.audit import Fates, RecordsAudited
from harness.model.records import Announced, RecordSchema, digest_of, identity, line_of
from harness.observe.records.auditing import Store, audit, labour, settings_for
from harness.policy.parse.records import parse

WANTED_PER_SECOND = 300_000
MEMORY_SLACK = 1.5
"""How much more memory the largest audit may take than the smallest."""

_BEGAN = 1_800_000_000.0
_SCHEMA = Path(__file__).parent.parent / "policies" / "logs" / "application.schema.json"
_SAMPLE = 20_000
_COMPARED = 1000
"""So many digests are computed in both ways."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One audit: how many records, wall and CPU seconds, what its processes took at most, together, in MiB."""

    records: int
    wall: float
    cpu: float
    mebibytes: float
    exact: bool


def schema() -> RecordSchema:
    """Production's own schema of the application's records."""
    found = parse(_SCHEMA.read_text(encoding="utf-8"), str(_SCHEMA), "logs/application.schema.json").value
    assert found is not None
    return found


def record(number: int) -> dict[str, Any]:
    """A record of the application."""
    second, millisecond = divmod(number, 1000)
    clock = f"{8 + second // 3600 % 15:02}:{second // 60 % 60:02}:{second % 60:02}"
    return {
        "timestamp": f"2027-01-15T{clock}.{millisecond:03}Z",
        "level": "ERROR" if number % 50 == 0 else "INFO",
        "service": "community-platform",
        "component": "posts",
        "userId": f"user-{number % 500}",
        "action": "view",
        "duration": 1.25 + number % 1000 / 16,
        "status": 200,
        "ip": "127.0.0.1",
        "userAgent": "Mozilla/5.0 (X11; Linux x86_64)",
        "metadata": {
            "sequence": identity("20270115T080000Z-0000", "application.lane-01.1", number),
            "sessionId": f"session-{number % 500}",
            "requestId": f"{number:032x}",
        },
    }


def write(folder: Path, count: int, of: RecordSchema) -> tuple[Path, Path]:
    """The manifest and the found records of so many records, all in time but the hundredth, which are missing."""
    manifest, found = folder / "application.lane-01.1.tsv", folder / "found.ndjson"
    with manifest.open("wb") as announced, found.open("wb") as lines:
        for number in range(1, count + 1):
            at, one = _BEGAN + number / 1000, record(number)
            text = orjson.dumps(one)
            digest = _digest_of(one, of) if number > _COMPARED else digest_of(one, of.fields)
            assert number > _COMPARED or digest == _digest_of(one, of)
            name = one["metadata"]["sequence"]
            announced.write(line_of(Announced(name, at, "application", "lane-01", one["level"], digest)))
            if number % 100:
                stamp = b'{"ingested":"%b"}' % one["timestamp"].encode()
                lines.write(b'%b,"event":%b,"host":{"name":"vm"}}\n' % (text[:-1], stamp))
    return manifest, found


def _digest_of(one: dict[str, Any], of: RecordSchema) -> str:
    """`digest_of`, quick enough for ten million records of which only the duration is a float."""
    duration = one["duration"]
    plain = {**one, "duration": int(duration)} if duration.is_integer() else one
    assert plain.keys() <= of.fields
    return hashlib.blake2b(orjson.dumps(plain, option=orjson.OPT_SORT_KEYS), digest_size=8).hexdigest()


def audited(count: int) -> Measured:
    """The audit of so many records; in a process of its own, so that memory is its own."""
    of = schema()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        writer = multiprocessing.get_context("spawn").Process(target=write, args=(folder, count, of))
        writer.start()
        writer.join()
        manifest, found = folder / "application.lane-01.1.tsv", folder / "found.ndjson"
        before = _cpu()
        began = time.perf_counter()
        (folder / "sorted").mkdir()
        settings = settings_for([manifest], [of], folder / "sorted", _BEGAN * 2)
        with labour(settings, [manifest, found], os.cpu_count() or 1) as by:
            (event,) = audit([manifest], [found], settings, by, Store())
            mebibytes = sum(map(_peak, (psutil.Process(), *psutil.Process().children(recursive=True)))) / 1024
        wall = time.perf_counter() - began
    assert isinstance(event, RecordsAudited)
    missing = count // 100
    exact = event.control.exact and event.fates == Fates(count, in_time=count - missing, lost=missing)
    return Measured(count, wall, _cpu() - before, mebibytes, exact)


def _peak(process: psutil.Process) -> int:
    """The most memory that a process has taken so far (resident), in KiB."""
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0])


def _cpu() -> float:
    return sum(
        used.ru_utime + used.ru_stime
        for used in (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    )


def in_a_loop(valid: Callable[[Any], bool], loads: Callable[[bytes], Any], lines: list[bytes]) -> tuple[float, float]:
    """Records a second that one process reads and validates, and the CPU seconds that each costs."""
    began, spent = time.perf_counter(), time.process_time()
    assert all(valid(loads(line)) for line in lines)
    return len(lines) / (time.perf_counter() - began), (time.process_time() - spent) / len(lines)


def peers(lines: list[bytes]) -> Iterator[tuple[str, float, float]]:
    """Validators called in a loop, with records a second and CPU seconds a record."""
    document = dict(schema().document)
    yield (
        "python jsonschema, json",
        *in_a_loop(Draft202012Validator(document).is_valid, json.loads, lines[: _SAMPLE // 5]),
    )
    yield "jsonschema-rs, json", *in_a_loop(jsonschema_rs.Draft202012Validator(document).is_valid, json.loads, lines)
    yield (
        "jsonschema-rs, orjson",
        *in_a_loop(jsonschema_rs.Draft202012Validator(document).is_valid, orjson.loads, lines),
    )


def missed(runs: list[Measured]) -> Iterator[str]:
    """What an audit must do and did not."""
    for run in runs:
        if not run.exact:
            yield f"of {run.records} records some were counted wrongly"
    largest = max(runs, key=lambda run: run.records)
    if largest.records / largest.wall < WANTED_PER_SECOND:
        yield f"{largest.records / largest.wall:.0f} records a second, and {WANTED_PER_SECOND} are wanted"
    least = min(runs, key=lambda run: run.records)
    if largest.mebibytes > least.mebibytes * MEMORY_SLACK:
        yield f"{largest.records} records took {largest.mebibytes:.0f} MiB, {least.records} {least.mebibytes:.0f} MiB"


def main(arguments: list[str]) -> int:
    """Measures, prints, and says what was missed."""
    counts = [int(one) for one in arguments] or [100_000, 1_000_000, 10_000_000]
    runs = [_in_a_process(count) for count in counts]
    with tempfile.TemporaryDirectory() as temporary:
        _, found = write(Path(temporary), _SAMPLE, schema())
        lines = list(islice(found.open("rb"), _SAMPLE))
    others = list(peers(lines))
    best = max(run.records / run.wall for run in runs)
    sys.stdout.write(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n")
    for run in runs:
        sys.stdout.write(
            f"audit of {run.records:>10,} records  {run.records / run.wall:>9,.0f}/s  {run.wall:6.2f} s wall  "
            f"{run.cpu / run.records * 1e6:5.2f} us CPU each  {run.mebibytes:4.0f} MiB\n"
        )
    for name, per_second, cpu in others:
        sys.stdout.write(
            f"{name:<28}  {per_second:>9,.0f}/s  {cpu * 1e6:5.2f} us CPU each; "
            f"the audit does {best / per_second:.1f} times as many\n"
        )
    told = list(missed(runs))
    for sentence in told:
        sys.stdout.write(f"missed: {sentence}\n")
    return 1 if told else 0


def _in_a_process(count: int) -> Measured:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_send, args=(theirs, count))
    process.start()
    measured = ours.recv()
    process.join()
    assert isinstance(measured, Measured)
    return measured


def _send(to: Any, count: int) -> None:
    to.send(audited(count))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
