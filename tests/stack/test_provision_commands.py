"""Children of the provisioner: they die with us, and what they say becomes one of our errors."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

import pytest
from fake_registry import alive, eventually, start

from harness.errors import BuildError, DiskFull, HarnessError, Offline, ProvisionError
from harness.stack.provision.commands import failure_of, prove_start, run

# Writes its own process id and that of a child, then waits for a long time.
_HANG = 'sleep 100 & echo "$$ $!" > pids; wait'


async def pids_of(folder: Path) -> list[int]:
    """The processes that a hanging command tells of, once it tells."""
    path = folder / "pids"
    await eventually(lambda: path.exists() and len(path.read_text().split()) == 2)
    return [int(text) for text in path.read_text().split()]


async def test_output_is_returned_and_lines_are_watched(tmp_path: Path) -> None:
    """Standard output is the result; standard error goes to whoever watches, line by line."""
    seen: list[str] = []
    output = await run(
        ["sh", "-c", "echo out; echo one >&2; echo two >&2"],
        what="x",
        directory=tmp_path,
        environment=os.environ,
        watch=seen.append,
    )
    assert output.strip() == "out"
    assert seen == ["one", "two"]


async def test_a_line_of_any_length_is_read(tmp_path: Path) -> None:
    """Build systems write lines longer than a stream's buffer."""
    output = await run(
        ["sh", "-c", "head -c 300000 /dev/zero | tr '\\0' x"], what="x", directory=tmp_path, environment=os.environ
    )
    assert len(output.strip()) == 300000


async def test_a_failure_carries_the_last_lines(tmp_path: Path) -> None:
    """The sentence is ours, the last lines are the command's, the type is the caller's."""
    with pytest.raises(BuildError) as caught:
        await run(
            ["sh", "-c", "seq 30; echo boom >&2; exit 3"],
            what="it does not build",
            directory=tmp_path,
            environment=os.environ,
            otherwise=BuildError,
        )
    assert caught.value.output[-1] == "boom"
    assert len(caught.value.output) == 12


async def test_a_program_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    """No FileNotFoundError leaves the room."""
    with pytest.raises(ProvisionError, match="it is gone"):
        await run(["no-such-program-at-all"], what="it is gone", directory=tmp_path, environment=os.environ)


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("E: Write error - write (28: No space left on device)", DiskFull),
        ("write /x/y: no space left on device", DiskFull),
        ("E: You don't have enough free space in /x/archives/.", DiskFull),
        ("cp: error writing 'x': Disk quota exceeded", DiskFull),
        ("W: Failed to fetch http://m/InRelease  Temporary failure resolving 'm'", Offline),
        ("Could not connect to 127.0.0.1:9 (127.0.0.1). - connect (111: Connection refused)", Offline),
        ('Get "https://p/x": dial tcp: lookup p on 1.1.1.1:53: no such host', Offline),
        ("proxyconnect tcp: EOF", Offline),
        ("503  Service Unavailable [IP: 1.2.3.4 80]", Offline),
        ("E: The repository 'http://m trixie InRelease' is not signed.", ProvisionError),
        ("verifying module: checksum mismatch", ProvisionError),
    ],
)
def test_what_a_failed_command_says_decides_the_error(output: str, expected: type[HarnessError]) -> None:
    """A full disk and a missing network are told apart from everything else, and from each other."""
    assert type(failure_of("x", output, Path("/c"))) is expected


async def test_a_cancelled_command_and_its_children_are_gone(tmp_path: Path) -> None:
    """Ctrl-C leaves no downloader and no compiler behind."""
    task = asyncio.create_task(run(["sh", "-c", _HANG], what="x", directory=tmp_path, environment=os.environ))
    pids = await pids_of(tmp_path)
    assert all(alive(pid) for pid in pids)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await eventually(lambda: not any(alive(pid) for pid in pids))


async def test_a_command_that_never_ends_is_killed_at_its_deadline(tmp_path: Path) -> None:
    """A registry that accepts and never answers does not hold us for ever."""
    started = time.monotonic()
    with pytest.raises(Offline) as caught:
        await run(["sh", "-c", _HANG], what="x", directory=tmp_path, environment=os.environ, deadline_seconds=0.5)
    assert caught.value.waited_seconds == 0.5
    assert time.monotonic() - started < 5
    pids = await pids_of(tmp_path)
    await eventually(lambda: not any(alive(pid) for pid in pids))


async def test_children_die_when_we_are_killed(tmp_path: Path) -> None:
    """A kill -9 of the harness ends its commands and what these started."""
    code = (
        "import asyncio, os, pathlib\n"
        "from harness.stack.provision.commands import run\n"
        f"asyncio.run(run(['sh', '-c', {_HANG!r}], what='x', directory=pathlib.Path('.'), environment=os.environ))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    with start(sys.executable, "-c", code, environment=environment, directory=tmp_path) as harness:
        pids = await pids_of(tmp_path)
        assert all(alive(pid) for pid in pids)
        harness.kill()
    await eventually(lambda: not any(alive(pid) for pid in pids))


async def test_a_program_that_does_not_start_is_found_before_it_is_published(tmp_path: Path) -> None:
    """A missing library is told at once, with what the loader said."""
    program = tmp_path / "redis-server"
    program.write_text("#!/bin/sh\necho 'cannot open shared object file' >&2; exit 127\n")
    program.chmod(0o755)
    with pytest.raises(ProvisionError, match="redis-server was brought and does not start") as caught:
        await prove_start(program, {}, tmp_path)
    assert caught.value.output == ("cannot open shared object file",)
