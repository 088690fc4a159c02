"""A server that Prometheus does not discover any more: the fault before a double of Prometheus, then the real one."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import aiohttp
import pytest
import yaml
from aiohttp import web

from harness.drive.faults import APPLICATION, Proof, Reach
from harness.drive.faults.target_withdrawn import TargetWithdrawn
from harness.errors import EffectNotProven, FaultError, StackError
from harness.model.stack import Address, Artifact, Lane
from harness.stack.announced import AnnouncedTargets
from harness.stack.handle import LaneHandle

SERVER = Address("127.0.0.1", 5001)
OTHER = Address("127.0.0.1", 5002)


@dataclass
class _Prometheus:
    """What `/api/v1/targets` answers: health by address, or a text in place of all that."""

    targets: dict[str, str] = field(default_factory=lambda: {str(SERVER): "up", str(OTHER): "up"})
    text: str | None = None

    async def answer(self, _: web.Request) -> web.Response:
        """Answers."""
        active = [{"discoveredLabels": {"__address__": one}, "health": is_} for one, is_ in self.targets.items()]
        body = json.dumps({"data": {"activeTargets": active}}) if self.text is None else self.text
        return web.Response(text=body)


class _Control(LaneHandle):
    """A lane whose server the small Prometheus lists."""

    def __init__(self, watched_by: _Prometheus, at: Address) -> None:
        super().__init__(Lane("lane-1", {"community-platform": SERVER}, {}), {}, {}, {}, prometheus=at)
        self.watched_by = watched_by
        self.broken = False
        self.deaf = False

    async def withdraw(self, component: str) -> None:
        """Takes the server out of the list."""
        assert component == "community-platform"
        if self.broken:
            raise StackError("The file is not there", output=("last line",))
        if not self.deaf:
            self.watched_by.targets.pop(str(SERVER), None)

    async def announce(self, component: str) -> None:
        """Puts it back, not scraped yet."""
        assert component == "community-platform"
        if self.broken:
            raise StackError("The file is not there", output=("last line",))
        if not self.deaf:
            self.watched_by.targets.setdefault(str(SERVER), "unknown")


@asynccontextmanager
async def served(path: str, answer: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[Address]:
    """Something that answers one path over HTTP."""
    app = web.Application()
    app.router.add_get(path, answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield Address(*runner.addresses[0][:2])
    finally:
        await runner.cleanup()


@pytest.fixture
async def control() -> AsyncIterator[_Control]:
    """A lane that is well."""
    prometheus = _Prometheus()
    async with served("/api/v1/targets", prometheus.answer) as address:
        yield _Control(prometheus, address)


FAULT = TargetWithdrawn()


def test_what_it_is() -> None:
    """A real fault of one lane that users of the application are touched by."""
    assert (FAULT.id, FAULT.signal, FAULT.reach, FAULT.touches) == ("target-withdrawn", "real", Reach.LANE, APPLICATION)


async def test_it_proves_itself_and_is_undone(control: _Control) -> None:
    """Applied, proven with an instant after it was applied, undone with proof, twice; then it can be used again."""
    for _ in range(2):
        begun = time.time()
        await FAULT.apply(control)
        proof = await FAULT.prove(control, 3)
        assert begun < proof.at <= time.time()
        assert proof.saw == f"Prometheus lists 1 active targets, and {SERVER} is none of them"
        healed = await FAULT.undo(control, 3)
        assert healed.at > proof.at
        assert isinstance(await FAULT.undo(control, 3), Proof)
        control.watched_by.targets[str(SERVER)] = "up"


async def test_undone_is_when_it_is_listed_not_when_it_is_scraped(control: _Control) -> None:
    """After undoing the target is `unknown` until its first scrape: the rest is Prometheus's."""
    await FAULT.apply(control)
    assert (await FAULT.undo(control, 3)).saw == f"Prometheus lists {SERVER}, unknown"


async def test_what_was_not_withdrawn_proves_nothing(control: _Control) -> None:
    """The twin: a server that is listed is EffectNotProven, in time, with what was seen."""
    begun = time.monotonic()
    with pytest.raises(EffectNotProven, match="still discovers") as told:
        await FAULT.prove(control, 0.3)
    assert time.monotonic() - begun < 2
    assert told.value.seen == f"Prometheus lists {SERVER}, up"


@pytest.mark.parametrize("health", ["down", "unknown", None])
async def test_a_server_that_is_not_scraped_before_is_not_touched(
    control: _Control, health: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Down, new or not listed: withdrawing it would prove nothing, so nothing is done."""
    monkeypatch.setattr("harness.drive.faults.target_withdrawn._WELL_SECONDS", 0.1)
    before = {str(OTHER): "up"} | ({str(SERVER): health} if health else {})
    control.watched_by.targets = dict(before)
    with pytest.raises(FaultError, match="before it was to be withdrawn"):
        await FAULT.apply(control)
    assert control.watched_by.targets == before


@pytest.mark.parametrize(
    "text", ["", "<html>", "{}", '{"data": {"activeTargets": [{}]}}', '{"data": {"activeTargets": []}}', "[1]"]
)
async def test_an_answer_without_targets_proves_nothing(control: _Control, text: str) -> None:
    """An empty list is what Prometheus says in its first seconds; what cannot be read says nothing at all."""
    control.watched_by.text = text
    with pytest.raises(EffectNotProven):
        await FAULT.prove(control, 0.1)
    with pytest.raises(FaultError, match="announced again"):
        await FAULT.undo(control, 0.1)


async def test_a_prometheus_that_is_gone_proves_nothing(control: _Control) -> None:
    """Nobody answers: the target may well be listed."""
    async with served("/", control.watched_by.answer) as gone:
        pass
    with pytest.raises(EffectNotProven) as told:
        await FAULT.prove(_Control(control.watched_by, gone), 0.1)
    assert "refused" in (told.value.seen or "")


async def test_what_the_stack_cannot_do_is_the_fault_s_own_failure(control: _Control) -> None:
    """A FaultError with what the stack said, for applying and for undoing."""
    control.broken = True
    for doing in (FAULT.apply(control), FAULT.undo(control, 0.1)):
        with pytest.raises(FaultError, match="could not be") as told:
            await doing
        assert told.value.seen == "The file is not there"
        assert told.value.output == ("last line",)


async def test_an_undo_that_does_nothing_is_noticed(control: _Control) -> None:
    """The stack says that it did it and Prometheus does not list the server: undoing is proven, not believed."""
    await FAULT.apply(control)
    control.deaf = True
    with pytest.raises(FaultError, match="does not discover") as told:
        await FAULT.undo(control, 0.2)
    assert not isinstance(told.value, EffectNotProven)


async def test_the_journal_gets_strings_and_nothing_is_left_to_undo(control: _Control) -> None:
    """The file dies with the sandbox."""
    facts = FAULT.facts(control)
    assert facts == {"host": "127.0.0.1", "port": "5001"}
    assert await FAULT.undo_from(facts) is False


# --- the lane's files -------------------------------------------------------------------------------------------

GROUPS = [
    {"targets": [str(SERVER), str(OTHER)], "labels": {"tier": "yes", "environment": "lane-1"}},
    {"targets": [str(OTHER)], "labels": {"environment": "lane-1", "n": "0x1f"}},
]


@pytest.fixture
def files(tmp_path: Path) -> Mapping[str, Path]:
    """The target files of two lanes and a rule file, in a copy."""
    (tmp_path / "targets").mkdir()
    names = {
        "own": "targets/all.lane-1.yml",
        "server": "targets/app.lane-1.yml",
        "neighbour": "targets/all.lane-2.yml",
        "rules": "rules.yml",
    }
    paths = {name: tmp_path / path for name, path in names.items()}
    for path in paths.values():
        # As the rewire writes it: unquoted where production's file is, though YAML reads something else than a text.
        path.write_text(yaml.safe_dump(GROUPS).replace("'", ""))
    paths["server"].write_text(yaml.safe_dump([{"targets": [str(SERVER)], "labels": {"environment": "lane-1"}}]))
    return paths


def test_only_the_lane_s_own_file_loses_the_target(tmp_path: Path, files: Mapping[str, Path]) -> None:
    """The server is taken out, whoever stands beside it stays with its labels, other files are not touched."""
    before = {name: path.read_bytes() for name, path in files.items()}
    targets = AnnouncedTargets(tmp_path, "lane-1")
    for _ in range(2):
        targets.withdraw("app", SERVER)
        assert yaml.safe_load(files["own"].read_text()) == [
            {"targets": [str(OTHER)], "labels": {"tier": "yes", "environment": "lane-1"}},
            GROUPS[1],
        ]
        assert files["server"].read_text() == "[]\n"
    assert {name for name, path in files.items() if path.read_bytes() != before[name]} == {"own", "server"}
    for _ in range(2):
        targets.announce("app", SERVER)
        assert {name: path.read_bytes() for name, path in files.items()} == before
    assert sorted(tmp_path.rglob("*.*")) == sorted(files.values())


def test_two_components_of_one_file_come_and_go_apart(tmp_path: Path, files: Mapping[str, Path]) -> None:
    """Announcing the one leaves the other withdrawn, in either order; another handle on the lane knows of it."""
    before = files["own"].read_bytes()
    AnnouncedTargets(tmp_path, "lane-1").withdraw("app", SERVER)
    AnnouncedTargets(tmp_path, "lane-1").withdraw("other", OTHER)
    assert files["own"].read_text() == "[]\n"
    AnnouncedTargets(tmp_path, "lane-1").announce("app", SERVER)
    assert yaml.safe_load(files["own"].read_text()) == [{"targets": [str(SERVER)], "labels": GROUPS[0]["labels"]}]
    AnnouncedTargets(tmp_path, "lane-1").announce("other", OTHER)
    assert files["own"].read_bytes() == before


def test_a_target_that_is_in_no_file_cannot_be_withdrawn(tmp_path: Path, files: Mapping[str, Path]) -> None:
    """A statically configured one, for example; announcing what was never withdrawn is nothing."""
    targets = AnnouncedTargets(tmp_path, "lane-1")
    with pytest.raises(FaultError, match="does not discover db of lane-1 in a file") as told:
        targets.withdraw("db", Address("127.0.0.1", 3306))
    assert "file_sd_configs" in (told.value.hint or "")
    targets.announce("db", Address("127.0.0.1", 3306))
    assert files["own"].read_text() == files["neighbour"].read_text()


async def test_a_lane_without_such_a_component_is_told(tmp_path: Path, files: Mapping[str, Path]) -> None:
    """A FaultError that names what there is; likewise where nothing watches the lane."""
    lane = Lane("lane-1", {"app": SERVER}, {})
    handle = LaneHandle(lane, {}, {}, {}, targets=AnnouncedTargets(tmp_path, "lane-1"))
    with pytest.raises(FaultError, match="Nothing can be done to db") as told:
        await handle.withdraw("db")
    assert told.value.expected == "one of app"
    with pytest.raises(FaultError, match="No Prometheus watches lane-1"):
        _ = handle.prometheus


# --- the real Prometheus ----------------------------------------------------------------------------------------

INTERVAL_SECONDS = 1.0


@asynccontextmanager
async def prometheus_of(folder: Path, artifact: Artifact) -> AsyncIterator[Address]:
    """A real Prometheus with the configuration in a folder, as soon as it answers."""
    async with served("/", _Prometheus().answer) as address:
        pass  # a port that was free just now
    command = [
        artifact.programs["prometheus"],
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address={address}",
    ]
    with (folder / "prometheus.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *command, stdout=log, stderr=log, env={**os.environ, **artifact.environment}
        )
    try:
        yield address
    finally:
        process.kill()
        await process.wait()


async def samples_of_up(prometheus: Address, seconds: int) -> dict[tuple[str, str], list[float]]:
    """The instants of the samples of `up`, by job and environment."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://{prometheus}/api/v1/query", params={"query": f"up[{seconds}s]"}) as response,
    ):
        found = (await response.json())["data"]["result"]
    return {
        (one["metric"]["job"], one["metric"]["environment"]): [float(at) for at, _ in one["values"]] for one in found
    }


@pytest.mark.stack
async def test_the_real_prometheus_loses_this_target_and_no_other(
    tmp_path: Path, artifacts: Mapping[str, Artifact]
) -> None:
    """Withdrawn, gone within 10 s; announced, back within 10 s; nobody else's samples have a gap meanwhile."""
    (tmp_path / "targets").mkdir()

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(text="x 1\n")

    async with served("/metrics", metrics) as first, served("/metrics", metrics) as second:
        lanes = {"lane-1": first, "lane-2": second}
        for lane, address in lanes.items():
            group = {"targets": [str(address)], "labels": {"environment": lane}}
            (tmp_path / f"targets/app.{lane}.yml").write_text(yaml.safe_dump([group]))
        follows = {"files": [f"targets/app.{lane}.yml" for lane in lanes], "refresh_interval": "1s"}
        static = {"targets": [str(second)], "labels": {"environment": "lane-1"}}
        config = {
            "global": {"scrape_interval": f"{INTERVAL_SECONDS:g}s", "scrape_timeout": f"{INTERVAL_SECONDS:g}s"},
            "scrape_configs": [
                {"job_name": "app", "file_sd_configs": [follows]},
                {"job_name": "static", "static_configs": [static]},
            ],
        }
        (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
        async with prometheus_of(tmp_path, artifacts["prometheus"]) as prometheus:
            watched = Lane("lane-1", {"community-platform": first}, {})
            control = LaneHandle(
                watched, {}, {}, {}, targets=AnnouncedTargets(tmp_path, "lane-1"), prometheus=prometheus
            )
            begun = time.time()
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("harness.drive.faults.target_withdrawn._WELL_SECONDS", 20.0)  # it only just started
                await FAULT.apply(control)
            proof = await FAULT.prove(control, 12)
            healed = await FAULT.undo(control, 12)
            assert "is none of them" in proof.saw
            deadline = time.monotonic() + 5
            while True:
                samples = await samples_of_up(prometheus, int(time.time() - begun) + 1)
                again = [at for at in samples["app", "lane-1"] if at > healed.at]
                if again or time.monotonic() > deadline:
                    break
                await asyncio.sleep(0.1)
    assert again, "the target that was announced again is not scraped"
    gaps = {who: max(after - at for at, after in pairwise(instants)) for who, instants in samples.items()}
    assert {who for who, gap in gaps.items() if gap > 1.5 * INTERVAL_SECONDS} == {("app", "lane-1")}
