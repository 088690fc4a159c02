"""The emitter: every mishap leaves what it should in the log, and all of it was announced before."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from aiohttp import ClientSession
from stack_doubles import HERE, unit, until

from harness.errors import UsageError
from harness.model.policy import ComponentPolicy
from harness.model.records import Announced, announced_from, digest_of
from harness.stack.components.emitter import SystemEmitter
from harness.stack.emitter.__main__ import Settings
from harness.stack.emitter.log import Announcing, SystemLog
from harness.stack.emitter.mishaps import MISHAPS, asked
from harness.stack.guard import Guard
from harness.stack.ports import Ports
from harness.stack.readiness import until_ready
from harness.stack.runtimes.process import ProcessRuntime
from harness.stack.site import Site

SCHEMA: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "policies/logs/system.schema.json").read_text(encoding="utf-8")
)


def announced(folder: Path, life: int = 1) -> list[Announced]:
    """What a life's manifest says."""
    lines = (folder / f"system.shared.{life}.tsv").read_bytes().splitlines(keepends=True)
    return [found for found in map(announced_from, lines) if found is not None]


def read(*files: Path) -> dict[str, dict[str, Any]]:
    """The whole records of files, as a shipper reads them that takes a brace in the first column for a beginning."""
    found = {}
    for file in files:
        text = file.read_bytes().decode(errors="replace")
        for piece in text.replace("\n{", "\n\0{").split("\0"):
            try:
                record = json.loads(piece)
            except ValueError:
                continue
            found[record["metadata"]["sequence"]] = record
    return found


@dataclass
class Written:
    """A log in this process, and how its census stands."""

    root: Path
    log: SystemLog

    @property
    def files(self) -> list[Path]:
        """The log and what was put aside of it."""
        return sorted(self.log.path.parent.glob("*.log"))

    def missing(self) -> set[str]:
        """Identities that were announced, not withdrawn, and are in no file; all others are whole and valid."""
        found, told = read(*self.files), announced(self.root / "m")
        back = {one.identity for one in told if one.is_withdrawal}
        judge = jsonschema_rs.validator_for(SCHEMA, validate_formats=True)
        for one in told:
            if one.identity in found:
                judge.validate(found[one.identity])
                assert digest_of(found[one.identity], SCHEMA["properties"]) == one.digest
                assert found[one.identity]["level"] == one.level
        assert found.keys() <= {one.identity for one in told} - back
        return {one.identity for one in told} - back - found.keys()


@pytest.fixture
def written(tmp_path: Path) -> Iterator[Written]:
    """An open log with twenty records in it."""
    with SystemLog(tmp_path / "logs", Announcing(tmp_path / "m", "run", "shared")) as log:
        log.write(20)
        yield Written(tmp_path, log)


@pytest.mark.parametrize(
    "happens",
    [
        lambda log: log.write(500),
        lambda log: log.rotate_by_rename(),
        lambda log: log.rotate_by_copy(),
        lambda log: log.half()(),
        lambda log: log.torn(),
        lambda log: log.not_utf_8(),
        lambda log: log.long(),
        lambda log: log.stack_trace(),
    ],
    ids=["burst", "rename", "copytruncate", "half", "torn", "not-utf-8", "long", "stack-trace"],
)
def test_what_loses_nothing_leaves_every_record_in_a_file(
    written: Written, happens: Callable[[SystemLog], object]
) -> None:
    """Announced before, whole, valid, and followed by ordinary ones."""
    happens(written.log)
    written.log.write(20)
    assert written.missing() == set()
    assert len(announced(written.root / "m")) >= 40


@pytest.mark.parametrize(
    ("happens", "lost"),
    [(lambda log: log.truncate(), 20), (lambda log: log.rotate_by_copy(between=7), 7)],
    ids=["truncate", "copytruncate"],
)
def test_what_loses_records_is_missed_exactly(
    written: Written, happens: Callable[[SystemLog], object], lost: int
) -> None:
    """The twin: what no file holds any more was announced, and nothing else is missed."""
    happens(written.log)
    written.log.write(20)
    assert len(written.missing()) == lost


def test_mishaps_look_as_they_should(written: Written) -> None:
    """Bytes that are no UTF-8, a line of a megabyte, many lines of one record, half a line, other names."""
    written.log.not_utf_8()
    written.log.long()
    before = written.log.path.read_bytes()
    written.log.stack_trace(frames=30)
    trace = written.log.path.read_bytes()[len(before) :]
    assert b"\xff" in before
    assert max(map(len, before.splitlines())) > 1_000_000
    assert trace.count(b"\n{") == 0
    assert len(trace.splitlines()) > 5
    finish = written.log.half()
    assert not written.log.path.read_bytes().endswith(b"\n")
    finish()
    assert written.log.path.read_bytes().endswith(b"\n")
    inode = written.log.path.stat().st_ino
    assert written.log.rotate_by_rename().stat().st_ino == inode != written.log.path.stat().st_ino
    inode = written.log.path.stat().st_ino
    assert written.log.rotate_by_copy().stat().st_ino != inode == written.log.path.stat().st_ino
    assert written.log.path.stat().st_size == 0


def test_a_stepped_clock_is_in_the_records_alone(tmp_path: Path) -> None:
    """Their own time is an hour back; that of their announcement is not."""
    with SystemLog(tmp_path / "logs", Announcing(tmp_path / "m", "run", "shared"), clock=lambda: 7200.0) as log:
        log.clock_offset_seconds = -3600
        log.write()
        [record] = read(log.path).values()
    assert record["timestamp"] == "1970-01-01T01:00:00.000Z"
    assert announced(tmp_path / "m")[0].at > 1e9


def test_without_manifests_records_have_no_identity(tmp_path: Path) -> None:
    """A log like any other."""
    with SystemLog(tmp_path) as log:
        log.write(2)
        log.torn()
        assert b"metadata" not in log.path.read_bytes()


@pytest.mark.parametrize(
    ("name", "given", "told"),
    [
        ("fire", {}, "There is no mishap 'fire'"),
        ("burst", {"count": "many"}, "count of burst is no such number"),
        ("burst", {"count": "0"}, "between 1 and"),
        ("burst", {"seconds": "1"}, "burst knows no 'seconds'"),
        ("rename", {"count": "1"}, "no number at all"),
    ],
)
def test_what_cannot_be_asked_is_a_sentence(name: str, given: dict[str, str], told: str) -> None:
    """What there is instead."""
    with pytest.raises(UsageError, match=told):
        asked(name, given)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"LISTEN": "9"}, "LISTEN is not an address"),
        ({"LOG_DIR": ""}, "LOG_DIR is not set"),
        ({"RECORDS_PER_SECOND": "nan"}, "RECORDS_PER_SECOND is not a rate"),
        ({"MANIFEST_DIR": "m"}, "RUN_ID is not set"),
    ],
)
def test_a_wrong_variable_is_a_sentence(change: dict[str, str], told: str) -> None:
    """Which one."""
    with pytest.raises(UsageError, match=told):
        Settings.from_environment({"LISTEN": "127.0.0.1:1", "LOG_DIR": "l", **change})


@dataclass
class Running:
    """An emitter as the stack starts it."""

    site: Site
    client: ClientSession

    async def suffer(self, mishap: str, *, number: str = "", status: int = 200) -> dict[str, Any]:
        """Asks for a mishap."""
        async with self.client.post(f"http://{self.site.address}/mishap/{mishap}?{number}") as answer:
            assert answer.status == status
            body = await answer.json()
            assert isinstance(body, dict)
            return body


@pytest.fixture
async def emitter(tmp_path: Path) -> AsyncIterator[Running]:
    """One of a hundred records a second."""
    ports = Ports()
    policy = ComponentPolicy(
        "system", "emitter", ("system:514",), unit("rsyslogd -n", {"RECORDS_PER_SECOND": "100"}), False, HERE
    )
    async with Guard.open(f"test-emitter-{os.getpid()}", tmp_path / "cache") as guard, ClientSession() as client:
        runtime = ProcessRuntime(guard)
        site = Site(
            run="run", component=policy, lane=None, address=ports.take(), data=guard.sandbox / "system",
            log=tmp_path / "log", cache=tmp_path, project=tmp_path, manifests=tmp_path / "m",
        )  # fmt: skip
        site.data.mkdir()
        await SystemEmitter().prepare(site)
        launch = SystemEmitter().launch(site)
        assert [difference.before for difference in launch.differences] == ["rsyslogd -n"]
        await until_ready(SystemEmitter(), site, await runtime.start(launch), 20)
        yield Running(site, client)
        await runtime.close()
    ports.close()


async def test_it_writes_at_a_rate_and_suffers_what_it_is_told(emitter: Running) -> None:
    """Every mishap that loses nothing, one after the other, under its ordinary records; asked wrongly it says so."""
    for name in MISHAPS:
        if name != "truncate":
            await emitter.suffer(name, number="seconds=0.2" if name == "half" else "")
    assert "There is no mishap" in (await emitter.suffer("fire", status=400))["error"]
    logs, manifests = emitter.site.data / "logs", emitter.site.manifests
    assert manifests is not None
    written = (await emitter.suffer("burst", number="count=1200"))["written"]
    assert written > 2200
    await until(lambda: len(announced(manifests)) > written + 20)

    async with emitter.client.get(f"http://{emitter.site.address}/health") as answer:
        assert (await answer.json())["lost"] == 0
    # What is announced is written a moment later: the first so many are.
    told = announced(manifests)[:written]
    back = {one.identity for one in announced(manifests) if one.is_withdrawal}
    await until(lambda: {one.identity for one in told} - back <= read(*logs.glob("*.log")).keys())
    assert Counter(one.identity for one in told if not one.is_withdrawal).most_common(1)[0][1] == 1
    assert len(back) == 1


async def test_a_wrong_environment_ends_it_with_a_sentence() -> None:
    """Exit code 2, no traceback."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "harness.stack.emitter", env={"LISTEN": "x"}, stderr=asyncio.subprocess.PIPE
    )
    _, told = await process.communicate()
    assert process.returncode == 2
    assert told.decode().startswith("LISTEN is not an address\n")
