"""What channels that are spoken to over HTTPS share: the server, how it misbehaves, what is told of refusals."""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web
from aiohttp.typedefs import Middleware

from harness.errors import FaultError, StackError
from harness.model.notifications import RawMessage
from harness.model.sinks import LOOK_PATH, Behaviour
from harness.model.stack import Address, ReceiverBinding
from harness.model.time import Instant
from harness.observe.certificates import server_side
from harness.observe.channels import Certificate, Deliver, Refuse

HOST = "127.0.0.1"
RETRY_AFTER_SECONDS = 1
"""What a throttled client is asked to wait."""

_BACKLOG = 256
_AS_HTTP = frozenset({Behaviour.WELL, Behaviour.ERROR, Behaviour.THROTTLE, Behaviour.HANG})
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Service:
    """How one service is spoken to.

    `title` is the service as a sentence names it. `paths` are what it takes messages at, `{receiver}` for the
    receiver's name. `take` is given the request and its whole body and returns the text of the message and the answer;
    it raises the HTTPException by which the service refuses. `unwell` is what the service says when it fails or wants
    fewer messages: a content type and a body.
    """

    channel: str
    title: str
    paths: Sequence[str]
    take: Callable[[web.Request, bytes], tuple[str, web.Response]]
    unwell: Callable[[Behaviour], tuple[str, str]]


class HttpSink:
    """The far end of a channel over HTTPS while it is open."""

    def __init__(
        self, service: Service, address: Address, binding: ReceiverBinding, refused: Callable[[str], None]
    ) -> None:
        self.address = address
        self.binding = binding
        self._service = service
        self._refused = refused
        self._how = Behaviour.WELL
        self._changed = asyncio.Event()

    def behave(self, how: Behaviour) -> None:
        """From the next request on, answers like that; who was left hanging until now is hung up on.

        Raises:
            FaultError: HTTP has no recipient and no content to be refused apart from the whole request.
        """
        if how not in _AS_HTTP:
            raise FaultError(
                f"{self._service.title} cannot behave as `{how.value}`",
                expected=f"one of {', '.join(sorted(one.value for one in _AS_HTTP))}",
                hint="a recipient or a content is refused by a mail server alone",
            )
        self._how = how
        self._changed.set()
        self._changed = asyncio.Event()

    @property
    def middleware(self) -> Middleware:
        """Stands before every answer: misbehaves as it was told, and tells of everything that is not a message."""

        @web.middleware
        async def stand(request: web.Request, handler: _Handler) -> web.StreamResponse:
            # Our own look is no message that somebody lost: nothing of it is told.
            looks = request.path == LOOK_PATH and request.method in {"GET", "HEAD"}
            tell = _nobody if looks else self._refused
            said = f"{request.method} {request.path}"
            try:
                if self._how is Behaviour.HANG:
                    tell(f"{said} was taken and never answered, as the sink was told to")
                    return await self._hang(request)
                if self._how is not Behaviour.WELL:
                    await request.read()
                    raise self._unwell()
                return await handler(request)
            except web.HTTPException as answer:
                tell(f"{said} was answered {answer.status} `{answer.text}`")
                raise
            except (OSError, web.RequestPayloadError) as broken:
                tell(f"{said} broke off before its end: no message was taken ({broken})")
                raise

        return stand

    async def _hang(self, request: web.Request) -> web.StreamResponse:
        await self._changed.wait()
        if request.transport is not None:
            request.transport.abort()
        return web.Response()  # to nobody

    def _unwell(self) -> web.HTTPException:
        kind, text = self._service.unwell(self._how)
        if self._how is Behaviour.THROTTLE:
            wait = {"Retry-After": str(RETRY_AFTER_SECONDS)}
            return web.HTTPTooManyRequests(text=text, content_type=kind, headers=wait)
        return web.HTTPInternalServerError(text=text, content_type=kind)


@asynccontextmanager
async def serve(
    service: Service,
    bind: Callable[[Address], ReceiverBinding],
    certificate: Certificate,
    deliver: Deliver,
    refuse: Refuse,
) -> AsyncIterator[HttpSink]:
    """Serves it on a free port of loopback; leaving closes it and every connection to it.

    Args:
        service: how it is spoken to.
        bind: what the rewire must write, by where it listens.
        certificate: what it serves TLS with.
        deliver: called for each message.
        refuse: called whenever somebody spoke and no message could be taken.

    Raises:
        StackError: it cannot listen, or the certificate cannot be read.
    """

    def refused(why: str) -> None:
        refuse(service.channel, why)

    context = server_side(certificate, refused)
    try:
        listener = socket.create_server((HOST, 0), backlog=_BACKLOG)
    except OSError as failed:
        raise StackError(
            f"{service.title} of the sandbox cannot listen",
            expected=f"a free port on {HOST}",
            seen=str(failed),
        ) from failed
    address = Address(HOST, listener.getsockname()[1])
    sink = HttpSink(service, address, bind(address), refused)
    application = web.Application(middlewares=[sink.middleware])
    application.router.add_get(LOOK_PATH, _look)
    for path in service.paths:
        application.router.add_post(path, _taking(service, deliver))
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    await web.SockSite(runner, listener, ssl_context=context, backlog=_BACKLOG).start()
    try:
        yield sink
    finally:
        await runner.cleanup()  # who hangs is cut off after the time to shut down


def _taking(service: Service, deliver: Deliver) -> _Handler:
    async def take(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        arrived = Instant.now()
        text, answer = service.take(request, body)
        transport = request.transport
        tls = transport.get_extra_info("ssl_object") if transport is not None else None
        deliver(
            RawMessage(
                id=f"{service.channel}-{secrets.token_hex(8)}",
                channel=service.channel,
                receiver=request.match_info.get("receiver", ""),
                arrived=arrived,
                envelope={
                    "path": request.path,
                    "content_type": request.headers.get("Content-Type", ""),
                    "user_agent": request.headers.get("User-Agent", ""),
                    "tls": str(tls.version()) if tls is not None else "",
                },
                body=text,
            )
        )
        return answer

    return take


async def _look(_: web.Request) -> web.StreamResponse:
    return web.Response(text="well")


def _nobody(_: str) -> None:
    pass
