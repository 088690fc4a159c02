"""E-mail: a mail server as production would have it, with STARTTLS and AUTH required, and mail as a person reads it."""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from email import message_from_bytes
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.message import Message
from typing import AnyStr, ClassVar, cast
from urllib.parse import unquote

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from harness.errors import StackError
from harness.model.hops import Hop
from harness.model.notifications import Notification, RawMessage
from harness.model.sinks import LOOK_USER, Behaviour
from harness.model.stack import Address, ReceiverBinding
from harness.model.time import Instant
from harness.observe.attribution import LINKS, status_of
from harness.observe.certificates import server_side
from harness.observe.channels import Certificate, Deliver, Refuse
from harness.observe.hypertext import visible_text

_DOMAIN = "@sandbox"
_HOST = "127.0.0.1"

# What production has beside the smarthost and its credentials, and what means nothing in the sandbox: keys of another
# kind, an authority and a server name of its own, and implicit TLS, which belongs to port 465.
_DROPPED = (
    "auth_password_file",
    "auth_secret",
    "auth_secret_file",
    "auth_identity",
    "tls_config",
    "force_implicit_tls",
)

# aiosmtpd warns of its own deprecations at every AUTH; what matters here is told through `refuse`.
logging.getLogger("mail.log").addHandler(logging.NullHandler())

_REASONS = {
    "451 4.3.2": "the sink was told to fail",
    "550 5.1.1": "the sink was told to refuse recipients",
    "554 5.6.0": "the sink was told to refuse contents",
    "530 Must": "the client went on without STARTTLS (is `require_tls` false?)",
    "530 5.7.0": "the client sent mail without AUTH",
    "535": "wrong credentials",
    "538": "the client wanted to authenticate without TLS",
    "500": "a command that is not understood",
    "552": "the message is too large",
    "451": "the message could not be kept",
}


_THROTTLED = "421 4.7.0 too many connections, try again later"


class EmailSink:
    """The mail server while it is open."""

    def __init__(self, address: Address, binding: ReceiverBinding) -> None:
        self.address = address
        self.binding = binding
        self.how = Behaviour.WELL
        self.visitors: set[_TurnedAway | _Conversation] = set()

    def behave(self, how: Behaviour) -> None:
        """From the next connection or command on, answers like that; who was left hanging until now is hung up on."""
        self.how = how
        for visitor in tuple(self.visitors):
            if isinstance(visitor, _TurnedAway):
                visitor.abort()


class EmailChannel:
    """E-mail over SMTP. A message has reached its person when the mail server took it."""

    name: ClassVar[str] = "email"
    receiver_key: ClassVar[str] = "email_configs"
    terminal_hop: ClassVar[Hop] = Hop.NOTIFIED

    @asynccontextmanager
    async def open(self, certificate: Certificate, deliver: Deliver, refuse: Refuse) -> AsyncIterator[EmailSink]:
        """Opens a mail server on a free port of loopback; leaving closes it and every connection to it.

        Raises:
            StackError: it cannot listen, or the certificate cannot be read.
        """
        password = secrets.token_urlsafe(18)

        def refused(why: str) -> None:
            refuse(self.name, why)

        context = server_side(certificate, refused)
        sink: EmailSink

        def visited() -> asyncio.Protocol:
            if sink.how is Behaviour.THROTTLE:
                return _TurnedAway(refused, sink.visitors, _THROTTLED)
            if sink.how is Behaviour.HANG:
                return _TurnedAway(refused, sink.visitors)
            return _Conversation(_Postman(deliver, sink), _door(password), refused, context, sink)

        try:
            # A socket of our own would answer each line of EHLO 40 ms late: asyncio sets TCP_NODELAY on its own alone.
            server = await asyncio.get_running_loop().create_server(visited, _HOST, 0, start_serving=False)
        except OSError as failed:
            raise StackError(
                "the mail server of the sandbox cannot listen",
                expected=f"a free port on {_HOST}",
                seen=str(failed),
            ) from failed
        address = Address(_HOST, server.sockets[0].getsockname()[1])
        sink = EmailSink(address, _binding(address, password))
        await server.start_serving()
        try:
            yield sink
        finally:
            server.close()
            for visitor in tuple(sink.visitors):
                await visitor.hang_up()
            await server.wait_closed()

    def read(self, raw: RawMessage) -> Notification:
        """The message as a mail program shows it: the subject, and the richest part that it has."""
        charset = "latin-1" if raw.envelope.get("charset") == "latin-1" else "utf-8"
        mail = _parsed(raw.body.encode(charset, errors="replace"))
        title = _header(mail, "Subject")
        text, links = _body(mail)
        marks = {
            "from": _header(mail, "From") or raw.envelope.get("mail_from", ""),
            "recipients": raw.envelope.get("recipients", ""),
            "to": _header(mail, "To"),
            LINKS: "\n".join(links),
        }
        return Notification(
            id=raw.id,
            channel=raw.channel,
            receiver=raw.receiver,
            arrived=raw.arrived,
            status=status_of(title, text),
            title=title,
            text=text,
            marks={name: value for name, value in marks.items() if value},
        )


def _binding(address: Address, password: str) -> ReceiverBinding:
    # The user name carries the receiver's, since nothing else in a mail says which one of them sent it.
    # `require_tls` is left as the policy has it: a policy that sends in the clear must go red, not be repaired.
    return ReceiverBinding(
        key=EmailChannel.receiver_key,
        settings={
            "smarthost": str(address),
            "auth_username": "{receiver}" + _DOMAIN,
            "auth_password": password,
        },
        dropped=_DROPPED,
        global_settings={
            "smtp_smarthost": str(address),
            "smtp_auth_username": _DOMAIN,
            "smtp_auth_password": password,
        },
        global_dropped=tuple(f"smtp_{name}" for name in _DROPPED),
        secret=("auth_password", "smtp_auth_password"),
    )


def _door(password: str) -> Callable[..., AuthResult]:
    """Checks who comes in: any receiver's name, and the password of this sink."""
    expected = password.encode()

    def check(_server: SMTP, _session: Session, _envelope: Envelope, _how: str, said: LoginPassword) -> AuthResult:
        known = said.login.endswith(_DOMAIN.encode()) and hmac.compare_digest(said.password, expected)
        return AuthResult(success=known, handled=False, auth_data=said)

    return check


class _Postman:
    """Hands each message on, stamped with the instant at which its last line was read."""

    def __init__(self, deliver: Deliver, sink: EmailSink) -> None:
        self._deliver = deliver
        self._sink = sink

    async def handle_DATA(self, _server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        arrived = Instant.now()
        if self._sink.how is Behaviour.REFUSE_CONTENT:
            return "554 5.6.0 the message is refused for its content"
        user = _user(session)
        if user == LOOK_USER:
            return "250 OK"
        content = envelope.original_content or b""
        body, charset = _as_text(content)
        self._deliver(
            RawMessage(
                id=f"email-{secrets.token_hex(8)}",
                channel=EmailChannel.name,
                receiver=unquote(user.removesuffix(_DOMAIN)),
                arrived=arrived,
                envelope={
                    "mail_from": envelope.mail_from or "",
                    "recipients": ", ".join(envelope.rcpt_tos),
                    "tls": _tls_version(session),
                    "user": user,
                    "charset": charset,
                },
                body=body,
            )
        )
        return "250 OK"

    async def handle_exception(self, error: Exception) -> str:
        return f"451 4.3.0 the sandbox failed: {type(error).__name__}: {error}"


class _TurnedAway(asyncio.Protocol):
    """A connection that is taken and gets no further: to one sentence that ends it, or to nothing at all."""

    def __init__(
        self, refused: Callable[[str], None], visitors: set[_TurnedAway | _Conversation], sentence: str = ""
    ) -> None:
        self._refused = refused
        self._visitors = visitors
        self._sentence = sentence
        self._transport: asyncio.Transport | None = None
        self._gone = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._visitors.add(self)
        if self._sentence:
            self._refused(f"answered `{self._sentence}`: the sink was told to throttle")
            self._transport.write(f"{self._sentence}\r\n".encode())
            self._transport.close()
        else:
            self._refused("took the connection and never greeted, as the sink was told to")

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - asyncio's name
        self._visitors.discard(self)
        self._gone.set()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    async def hang_up(self) -> None:
        """Ends the connection from our side and waits until it is gone."""
        self.abort()
        await self._gone.wait()


class _Conversation(SMTP):
    """One client's conversation; every refusal in it is told with a reason."""

    # The words by which Alertmanager knows what it is asked for (notify/email/email.go, loginAuth).
    AuthLoginUsernameChallenge = "Username:"
    AuthLoginPasswordChallenge = "Password:"

    def __init__(
        self,
        postman: _Postman,
        door: Callable[..., AuthResult],
        refused: Callable[[str], None],
        context: ssl.SSLContext,
        sink: EmailSink,
    ) -> None:
        super().__init__(
            postman,
            hostname="localhost",
            ident="Tocsin sandbox",
            tls_context=context,
            require_starttls=True,
            auth_required=True,
            auth_require_tls=True,
            authenticator=door,
            enable_SMTPUTF8=True,
            loop=asyncio.get_running_loop(),
        )
        self._refused = refused
        self._visitors = sink.visitors
        self._sink = sink
        self._in_data = False
        self._ours = False
        self._gone = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._visitors.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        if self._in_data and not self._ours:
            self._in_data = False
            self._refused("the connection was cut before the end of DATA: no message was taken")
        self._visitors.discard(self)
        super().connection_lost(error)
        self._gone.set()

    async def push(self, status: AnyStr) -> None:
        reply = status.decode("utf-8", "replace") if isinstance(status, bytes) else status
        # Our own look is no message that somebody lost: nothing of it is told.
        looks = self.session is not None and _user(self.session) == LOOK_USER
        if reply[:1] in {"4", "5"} and not looks:
            reason = next((why for start, why in _REASONS.items() if reply.startswith(start)), "no message was taken")
            # A command that is not understood may be half of a password: it is not repeated.
            self._refused(f"answered `{reply[:3] if reply.startswith('500') else reply}`: {reason}")
        await super().push(status)

    async def smtp_MAIL(self, arg: str) -> None:  # noqa: N802 - aiosmtpd's name
        if self._sink.how is Behaviour.ERROR:
            await self.push("451 4.3.2 the mail server fails")
        else:
            await super().smtp_MAIL(arg)

    async def smtp_RCPT(self, arg: str) -> None:  # noqa: N802 - aiosmtpd's name
        if self._sink.how is Behaviour.REFUSE_RECIPIENT:
            await self.push("550 5.1.1 there is no such mailbox")
        else:
            await super().smtp_RCPT(arg)

    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802 - aiosmtpd's name
        self._in_data = True
        await super().smtp_DATA(arg)
        self._in_data = False

    async def hang_up(self) -> None:
        """Ends the conversation from our side, in whatever state it is."""
        self._ours = True
        # The socket's own transport: TLS on top of it would wait for the other side to say good-bye.
        transport = self._original_transport or self.transport
        if isinstance(transport, asyncio.WriteTransport):
            transport.abort()
            await self._gone.wait()


def _user(session: Session) -> str:
    """Who logged in; "" before that."""
    said = session.auth_data
    return said.login.decode("utf-8", "replace") if isinstance(said, LoginPassword) else ""


def _tls_version(session: Session) -> str:
    return str(session.ssl["ssl_object"].version()) if session.ssl else ""


def _as_text(content: bytes) -> tuple[str, str]:
    """Bytes as text that gives the same bytes again, and the charset by which it does."""
    try:
        return content.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        return content.decode("latin-1"), "latin-1"


def _parsed(content: bytes) -> Message:
    try:
        return message_from_bytes(content)
    except RecursionError:  # parts within parts without end: nobody's mail program shows that
        return Message()


def _header(mail: Message, name: str) -> str:
    """A header with its encoded words decoded, on one line; "" where it is not there."""
    value = mail.get(name)
    if value is None:
        return ""
    try:
        decoded = str(make_header(decode_header(value)))
    except (HeaderParseError, LookupError, ValueError):
        decoded = str(value)  # a mail program shows the raw words, too
    return " ".join((decoded or str(value)).split())


def _body(mail: Message) -> tuple[str, tuple[str, ...]]:
    """What a mail program shows below the headers, and where its links lead."""
    shown = [part for part in mail.walk() if not part.is_multipart() and part.get_content_disposition() != "attachment"]
    rich = [part for part in shown if part.get_content_type() == "text/html"]
    if not rich:
        return "\n".join(_decoded(part) for part in shown if part.get_content_type() == "text/plain").strip(), ()
    pages = [visible_text(_decoded(part)) for part in rich]
    return "\n".join(page.text for page in pages), tuple(link for page in pages for link in page.links)


def _decoded(part: Message) -> str:
    payload = part.get_payload(decode=True)
    content = payload if isinstance(payload, bytes) else b""
    try:
        return content.decode(part.get_content_charset() or "utf-8", errors="replace")
    except LookupError:
        return content.decode("utf-8", errors="replace")
