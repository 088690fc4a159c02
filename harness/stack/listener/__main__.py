"""The process: `python -m harness.stack.listener --config.file=FILE --web.listen-address=HOST:PORT`.

It listens as soon as it can. SIGTERM and SIGINT end it at once: what has not been said by then is not said.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import prometheus_client
from aiohttp import web

from harness.errors import AddressTaken, HarnessError, PolicyError, UsageError
from harness.policy.parse.dead_man import DeadMan, Secret, parse
from harness.stack.listener.app import Listener
from harness.stack.listener.metrics import Metrics
from harness.stack.listener.senders import DiscordSender, MailSender, Sender, SlackSender
from harness.stack.listener.speaker import Speaker

SHUTDOWN_SECONDS: Final = 0.1
"""For requests that are under way when we are told to end."""


def read(path: Path) -> DeadMan:
    """The settings in a file.

    Raises:
        UsageError: it cannot be read.
        PolicyError: it says something that cannot be done; carries what, with line and column.
    """
    parsed = parse(_text(path, "The configuration of the dead man's listener"), str(path))
    if parsed.value is None:
        raise PolicyError("The dead man's listener cannot work by its configuration", parsed.findings)
    return parsed.value


def senders(settings: DeadMan) -> dict[str, Sender]:
    """The way to every channel, with its secrets read.

    Raises:
        UsageError: a secret cannot be read.
    """
    found: dict[str, Sender] = {}
    if settings.email is not None:
        found["email"] = MailSender(settings.email, _secret(settings.email.password))
    if settings.slack is not None:
        found["slack"] = SlackSender(_secret(settings.slack.url), settings.slack.channel)
    if settings.discord is not None:
        found["discord"] = DiscordSender(_secret(settings.discord.url))
    return found


async def serve(settings: DeadMan, host: str, port: int, stop: asyncio.Event) -> None:
    """Hears and speaks until `stop` is set.

    Raises:
        AddressTaken: somebody else listens there.
        UsageError: a secret cannot be read.
    """
    metrics = Metrics()
    speakers = [Speaker(channel, sender, metrics) for channel, sender in senders(settings).items()]
    listener = Listener(settings, speakers, metrics)
    async with AsyncExitStack() as leaving:
        runner = web.AppRunner(listener.application(), access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
        leaving.push_async_callback(runner.cleanup)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise AddressTaken(
                f"The dead man's listener cannot listen on {host}:{port}", seen=error.strerror
            ) from error
        async with asyncio.TaskGroup() as working:
            work = working.create_task(listener.run())
            await stop.wait()
            work.cancel()


def _text(path: Path, what: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise UsageError(f"{what} cannot be read from {path}", seen=str(error)) from error


def _secret(secret: Secret) -> str:
    return secret.value or _text(Path(secret.file), "A secret of the dead man's listener").strip()


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or int(port) >= 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return host, int(port)


async def _run(settings: DeadMan, host: str, port: int) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve(settings, host, port, stop)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the process; the exit code is 0 after a wanted end, else that of the error, told on standard error."""
    parser = argparse.ArgumentParser(prog="python -m harness.stack.listener", description="The dead man's listener.")
    parser.add_argument("--config.file", dest="config", type=Path, required=True, metavar="FILE", help="dead-man.yaml")
    parser.add_argument("--web.listen-address", dest="address", type=_address, default=("", 9095), metavar="HOST:PORT")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # A counter's creation time would double the number of its series and nobody asks for it.
    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
    try:
        asyncio.run(_run(read(options.config), *options.address))
    except HarnessError as error:
        print(error, file=sys.stderr)  # noqa: T201  # this is the program's own standard error
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
