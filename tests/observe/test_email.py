"""E-mail: a real SMTP conversation with STARTTLS and AUTH, and mail as a person reads it."""

from __future__ import annotations

import asyncio
import smtplib
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import StackError
from harness.model.hops import Hop
from harness.model.notifications import RawMessage, Status
from harness.model.sinks import LOOK_USER, Behaviour
from harness.model.time import Instant
from harness.observe.attribution import speaks_of, status_of
from harness.observe.certificates import write_certificate
from harness.observe.channels import Certificate, Sink
from harness.observe.channels.email import EmailChannel

TIMEOUT_SECONDS = 5
GOLDEN = Path(__file__).parent / "golden"


@dataclass
class Post:
    """What a sink delivered and refused."""

    messages: list[RawMessage] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    _told: asyncio.Event = field(default_factory=asyncio.Event)

    def refuse(self, channel: str, why: str) -> None:
        """Keeps what was refused; the channel is always e-mail here."""
        assert channel == "email"
        self.refusals.append(why)
        self._told.set()

    async def refused(self) -> None:
        """Waits until something was refused."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await self._told.wait()


@dataclass
class Open:
    """An open sink with its post, and what a client needs to speak to it."""

    sink: Sink
    post: Post
    authority: Path

    @property
    def user(self) -> str:
        """The user name of the receiver `page`."""
        return self.sink.binding.settings["auth_username"].replace("{receiver}", "page")

    @property
    def password(self) -> str:
        """This sink's password."""
        return self.sink.binding.settings["auth_password"]

    def connect(self) -> smtplib.SMTP:
        """A client that has said nothing yet."""
        return smtplib.SMTP(self.sink.address.host, self.sink.address.port, timeout=TIMEOUT_SECONDS)

    def enter(self) -> smtplib.SMTP:
        """A client behind STARTTLS, the certificate checked against the sandbox's authority, and AUTH."""
        client = self.connect()
        client.starttls(context=ssl.create_default_context(cafile=str(self.authority)))
        client.login(self.user, self.password)
        return client


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """One certificate for all tests of this file."""
    return write_certificate(tmp_path_factory.mktemp("certificates"))


@asynccontextmanager
async def opened(certificate: Certificate) -> AsyncIterator[Open]:
    """An open mail server."""
    post = Post()
    async with EmailChannel().open(certificate, post.messages.append, post.refuse) as sink:
        yield Open(sink, post, certificate.authority)


def mail(subject: str = "[FIRING:1] HighErrorRatio lane-1", body: str = "the body") -> EmailMessage:
    """A plain mail."""
    message = EmailMessage()
    message["Subject"], message["From"], message["To"] = subject, "alerts@example.org", "oncall@example.org"
    message.set_content(body)
    return message


async def read(message: EmailMessage | bytes, certificate: Certificate) -> RawMessage:
    """Sends one message through a sink of its own and gives back what arrived."""
    content = message if isinstance(message, bytes) else message.as_bytes()
    async with opened(certificate) as door:

        def send() -> None:
            with door.enter() as client:
                client.sendmail("alerts@example.org", ["oncall@example.org", "second@example.org"], content)

        await asyncio.to_thread(send)
        assert door.post.refusals == []
        (raw,) = door.post.messages
        return raw


async def test_a_mail_with_tls_and_auth_arrives(certificate: Certificate) -> None:
    """The whole conversation as production has it ends in one message with its envelope, stamped at its end."""
    before = Instant.now()
    raw = await read(mail(), certificate)
    assert before.wall <= raw.arrived.wall <= time.time()
    assert before.monotonic <= raw.arrived.monotonic <= time.monotonic()
    assert (raw.channel, raw.receiver) == ("email", "page")
    assert raw.envelope["mail_from"] == "alerts@example.org"
    assert raw.envelope["recipients"] == "oncall@example.org, second@example.org"
    assert raw.envelope["tls"].startswith("TLSv1.")
    notification = EmailChannel().read(raw)
    assert (notification.title, notification.text) == ("[FIRING:1] HighErrorRatio lane-1", "the body")
    assert notification.status is Status.FIRING
    assert notification.marks["recipients"] == "oncall@example.org, second@example.org"


async def test_no_credentials_are_kept(certificate: Certificate) -> None:
    """Neither the envelope nor the body of what is kept holds the password."""
    async with opened(certificate) as door:
        client = await asyncio.to_thread(door.enter)
        await asyncio.to_thread(client.send_message, mail())
        await asyncio.to_thread(client.quit)
        assert door.post.messages
        assert door.password not in repr(door.post.messages)


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
async def test_both_mechanisms_are_spoken(certificate: Certificate, mechanism: str) -> None:
    """AUTH PLAIN and AUTH LOGIN both let a client in."""
    async with opened(certificate) as door:

        def send() -> None:
            with door.connect() as client:
                client.starttls(context=ssl.create_default_context(cafile=str(door.authority)))
                client.ehlo()
                client.user, client.password = door.user, door.password
                code, _ = client.auth(mechanism, getattr(client, f"auth_{mechanism.lower()}"))
                assert code == 235
                client.send_message(mail())

        await asyncio.to_thread(send)
        assert len(door.post.messages) == 1


async def test_login_asks_in_the_words_that_alertmanager_knows(certificate: Certificate) -> None:
    """Alertmanager answers to `Username:` and `Password:` only; any other question ends its delivery."""
    async with opened(certificate) as door:

        def ask() -> list[str]:
            with door.connect() as client:
                client.starttls(context=ssl.create_default_context(cafile=str(door.authority)))
                client.ehlo()
                asked: list[str] = []

                def answer(challenge: bytes | None = None) -> str:
                    assert challenge is not None
                    asked.append(challenge.decode())
                    return door.user if len(asked) == 1 else door.password

                client.auth("LOGIN", answer, initial_response_ok=False)
                return asked

        assert [word.lower() for word in await asyncio.to_thread(ask)] == ["username:", "password:"]


@pytest.mark.parametrize(("user", "password"), [("page@sandbox", "wrong"), ("page@elsewhere", None), ("", "")])
async def test_wrong_credentials_are_refused(certificate: Certificate, user: str, password: str | None) -> None:
    """Whoever is not of this sandbox gets 535, and it is told."""
    async with opened(certificate) as door:

        def send() -> int:
            with door.connect() as client:
                client.starttls(context=ssl.create_default_context(cafile=str(door.authority)))
                with pytest.raises(smtplib.SMTPAuthenticationError) as refused:
                    client.login(user, door.password if password is None else password)
                return refused.value.smtp_code

        assert await asyncio.to_thread(send) == 535
        assert door.post.messages == []
        assert door.post.refusals
        assert all("wrong credentials" in why for why in door.post.refusals)
        assert door.password not in "".join(door.post.refusals)


async def test_a_client_without_tls_is_refused(certificate: Certificate) -> None:
    """A policy that sends in the clear loses its mail here, and the reason is told."""
    async with opened(certificate) as door:

        def send() -> int:
            with door.connect() as client:
                client.ehlo()
                assert not client.has_extn("auth"), "AUTH must not be offered before TLS"
                with pytest.raises(smtplib.SMTPSenderRefused) as refused:
                    client.send_message(mail())
                return refused.value.smtp_code

        assert await asyncio.to_thread(send) == 530
        assert door.post.messages == []
        assert "without STARTTLS" in door.post.refusals[0]


async def test_a_client_without_auth_is_refused(certificate: Certificate) -> None:
    """TLS alone does not let mail in."""
    async with opened(certificate) as door:

        def send() -> int:
            with door.connect() as client:
                client.starttls(context=ssl.create_default_context(cafile=str(door.authority)))
                with pytest.raises(smtplib.SMTPSenderRefused) as refused:
                    client.send_message(mail())
                return refused.value.smtp_code

        assert await asyncio.to_thread(send) == 530
        assert door.post.messages == []
        assert "without AUTH" in door.post.refusals[0]


async def test_a_client_that_does_not_trust_us_is_told_of(certificate: Certificate) -> None:
    """The handshake fails on the client's side, and the sink says why."""
    async with opened(certificate) as door:

        def send() -> None:
            with door.connect() as client, pytest.raises(ssl.SSLCertVerificationError):
                client.starttls(context=ssl.create_default_context())

        await asyncio.to_thread(send)
        await door.post.refused()
        assert "does not trust the sandbox's authority" in door.post.refusals[0]


async def test_a_connection_cut_in_data_is_no_message(certificate: Certificate) -> None:
    """Half a mail is none: nothing arrives, and it is told."""
    async with opened(certificate) as door:

        def send_half() -> None:
            client = door.enter()
            client.mail("alerts@example.org")
            client.rcpt("oncall@example.org")
            client.docmd("DATA")
            client.send(b"Subject: [FIRING:1] half\r\n\r\nhalf a line")
            assert client.sock is not None
            client.sock.close()

        await asyncio.to_thread(send_half)
        await door.post.refused()
        assert door.post.messages == []
        assert "before the end of DATA" in door.post.refusals[0]


async def test_two_messages_on_one_connection(certificate: Certificate) -> None:
    """Each is a message of its own, with its own id and instant."""
    async with opened(certificate) as door:

        def send() -> None:
            with door.enter() as client:
                client.send_message(mail(subject="first"))
                client.send_message(mail(subject="second"))

        await asyncio.to_thread(send)
        first, second = door.post.messages
        assert [EmailChannel().read(raw).title for raw in (first, second)] == ["first", "second"]
        assert first.id != second.id
        assert first.arrived < second.arrived


async def test_arrival_is_the_end_of_data_and_not_its_beginning(certificate: Certificate) -> None:
    """A mail that is long under way arrives when its last line does."""
    async with opened(certificate) as door:
        begun, ended = 0.0, 0.0

        def send() -> None:
            nonlocal begun, ended
            with door.enter() as client:
                client.mail("alerts@example.org")
                client.rcpt("oncall@example.org")
                client.docmd("DATA")
                client.send(b"Subject: slow\r\n\r\n")
                begun = time.monotonic()
                while time.monotonic() < begun + 0.15:
                    client.send(b"line\r\n")
                    time.sleep(0.01)
                ended = time.monotonic()
                client.send(b".\r\n")
                assert client.getreply()[0] == 250

        await asyncio.to_thread(send)
        (raw,) = door.post.messages
        assert raw.arrived.monotonic >= ended


async def test_non_ascii_mail_is_read(certificate: Certificate) -> None:
    """Encoded words and quoted-printable come out as what was written."""
    raw = await read(mail(subject="[RESOLVED] Fehlerquote zu hoch — 오류", body="Über 5 % — 오류율"), certificate)
    notification = EmailChannel().read(raw)
    assert notification.title == "[RESOLVED] Fehlerquote zu hoch — 오류"
    assert notification.text == "Über 5 % — 오류율"
    assert notification.status is Status.RESOLVED


async def test_html_is_read_as_it_is_shown(certificate: Certificate) -> None:
    """Of two alternatives the richer one is shown: without tags, styles and hidden parts, entities as characters."""
    message = mail(body="the plain alternative")
    message.add_alternative(
        "<html><head><title>never shown</title><style>p { color: red }</style></head><body>"
        "<h1>Alerts&nbsp;firing</h1><div style='display: none'>pre<b>header</b></div>"
        "<table><tr><td>summary</td><td>5&nbsp;% of requests fail &amp; more</td></tr></table>"
        "<p>see <a href='https://runbooks.example.org/errors?a=1&amp;b=2'>the runbook</a></p></body></html>",
        subtype="html",
    )
    notification = EmailChannel().read(await read(message, certificate))
    assert notification.text == "Alerts firing\nsummary 5 % of requests fail & more\nsee the runbook"
    assert notification.marks["links"] == "https://runbooks.example.org/errors?a=1&b=2"


async def test_bytes_of_no_known_charset_survive(certificate: Certificate) -> None:
    """A body that is not UTF-8 is kept byte for byte and read by the charset that it names."""
    content = b"Subject: x\r\nContent-Type: text/plain; charset=iso-8859-1\r\n\r\nf\xfcnf Prozent\r\n"
    raw = await read(content, certificate)
    assert raw.body.encode(raw.envelope["charset"]) == content
    assert EmailChannel().read(raw).text == "fünf Prozent"


async def test_the_receiver_is_known_by_the_user_name(certificate: Certificate) -> None:
    """A receiver's name with any character in it comes back from the user name that the rewire wrote."""
    async with opened(certificate) as door:

        def send() -> None:
            with door.connect() as client:
                client.starttls(context=ssl.create_default_context(cafile=str(door.authority)))
                client.login("team%20%C3%BC%2Fpage@sandbox", door.password)
                client.send_message(mail())
            with door.connect() as client:
                client.starttls(context=ssl.create_default_context(cafile=str(door.authority)))
                binding = door.sink.binding.global_settings
                assert binding is not None
                client.login(binding["smtp_auth_username"], binding["smtp_auth_password"])
                client.send_message(mail())

        await asyncio.to_thread(send)
        assert [raw.receiver for raw in door.post.messages] == ["team ü/page", ""]


async def test_the_binding_redirects_and_repairs_nothing(certificate: Certificate) -> None:
    """Addresses and credentials are replaced; whether TLS is required stays as the policy has it."""
    async with opened(certificate) as door:
        binding = door.sink.binding
        assert binding.key == "email_configs"
        assert binding.settings["smarthost"] == str(door.sink.address)
        assert "auth_password" in binding.secret
        assert binding.global_settings is not None
        touched = {*binding.settings, *binding.dropped, *binding.global_settings, *binding.global_dropped}
        assert not touched & {"require_tls", "smtp_require_tls", "headers", "to", "from", "smtp_from", "html", "text"}
        assert {"auth_password_file", "smtp_auth_password_file", "auth_secret"} <= touched
        assert door.sink.address.host == "127.0.0.1"


async def test_leaving_closes_everything(certificate: Certificate) -> None:
    """After the sink is closed nobody listens, an open connection is ended, and our own leaving is no refusal."""
    async with opened(certificate) as door:

        def begin() -> smtplib.SMTP:
            client = door.enter()
            client.mail("alerts@example.org")
            client.rcpt("oncall@example.org")
            client.docmd("DATA")
            return client

        client = await asyncio.to_thread(begin)
        idle = await asyncio.to_thread(door.connect)
    for left in (client, idle):
        with pytest.raises((smtplib.SMTPException, OSError)):
            left.noop()
        left.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((door.sink.address.host, door.sink.address.port), timeout=TIMEOUT_SECONDS)
    assert door.post.refusals == []


async def test_a_lost_certificate_is_told_in_a_sentence(certificate: Certificate, tmp_path: Path) -> None:
    """Nothing of the library's own exceptions leaves the seam."""
    gone = Certificate(tmp_path / "no.pem", tmp_path / "no.key", certificate.authority)
    with pytest.raises(StackError, match="cannot serve TLS"):
        async with EmailChannel().open(gone, Post().messages.append, Post().refuse):
            pass


def test_the_key_is_its_owners_alone(tmp_path: Path) -> None:
    """Nobody else may read the key; a folder that cannot be written is told in a sentence."""
    written = write_certificate(tmp_path / "new")
    assert written.key.stat().st_mode & 0o077 == 0
    assert b"PRIVATE" not in written.authority.read_bytes() + written.chain.read_bytes()
    (tmp_path / "file").write_text("")
    with pytest.raises(StackError, match="could not be written"):
        write_certificate(tmp_path / "file")


def test_a_message_has_reached_its_person_at_notified() -> None:
    """Nothing tells when a mail is opened: the mail server is the last station."""
    assert EmailChannel().terminal_hop is Hop.NOTIFIED


def raw_of(body: str) -> RawMessage:
    """A message with this body."""
    return RawMessage("email-1", "email", "page", Instant(0, 0), {"charset": "utf-8"}, body)


@given(
    st.one_of(
        st.text(),
        st.builds(
            "Subject: {}\r\nContent-Type: {}\r\nContent-Transfer-Encoding: {}\r\n\r\n{}".format,
            st.text(),
            st.sampled_from(["text/html", "text/plain; charset=nonsense", "multipart/mixed; boundary=x", "a/b/c", "="]),
            st.sampled_from(["base64", "quoted-printable", "x-uuencode", "none"]),
            st.text(alphabet="<![CDATA[no]>&;#=?-x\r\n\ud800 abc"),
        ),
    )
)
def test_reading_never_raises(body: str) -> None:
    """Whatever comes in, somebody can look at it."""
    EmailChannel().read(raw_of(body))


@pytest.mark.parametrize("subject", ["=?nonsense?q?=5BFIRING=5D?=", "=?utf-8?b?%%%?=", "=?utf-8?q?=ff?="])
def test_a_broken_header_is_shown_raw(subject: str) -> None:
    """A subject that cannot be decoded is still there to be seen."""
    assert EmailChannel().read(raw_of(f"Subject: {subject}\r\n\r\n")).title


@pytest.mark.parametrize("status", [Status.FIRING, Status.RESOLVED])
def test_alertmanagers_own_template_is_understood(status: Status) -> None:
    """A mail as Alertmanager 0.34.2 sent it with its own template: nothing that a reader needs is missing from it."""
    sent = (GOLDEN / f"alertmanager-0.34.2-default-{status.value}.eml").read_bytes().decode()
    notification = EmailChannel().read(raw_of(sent))
    word = {Status.FIRING: "[FIRING:1]", Status.RESOLVED: "[RESOLVED]"}[status]
    assert notification.title == f"{word} HighErrorRatio lane-1 (critical)"
    assert notification.status is status
    assert status_of("", notification.text) is status
    assert speaks_of(notification, "HighErrorRatio", "lane-1")
    assert "severity = critical" in notification.text
    assert 'description = more than 5 % & "rising", <5 min' in notification.text
    assert "summary = 5.4% of requests fail in lane-1 — über dem Ziel" in notification.text
    assert "font-family" not in notification.text
    assert "http://prometheus/graph" in notification.marks["links"]


def test_an_empty_mail_says_nothing() -> None:
    """Alertmanager ends DATA empty-handed where a template fails in the middle: that is no firing message."""
    assert EmailChannel().read(raw_of("")).status is Status.UNKNOWN


# --- A mail server that does not do its work ---------------------------------------------------------------------


async def turned_away(door: Open, user: str | None = None) -> str:
    """Sends a mail and says at which step, and with which code, it was turned away."""

    def send() -> str:
        try:
            client = door.connect()
            client.starttls(context=ssl.create_default_context(cafile=str(door.authority)))
            client.login(user or door.user, door.password)
            client.send_message(mail())
        except smtplib.SMTPSenderRefused as refused:
            return f"MAIL {refused.smtp_code}"
        except smtplib.SMTPRecipientsRefused as refused:
            ((code, _),) = refused.recipients.values()
            return f"RCPT {code}"
        except smtplib.SMTPDataError as refused:
            return f"DATA {refused.smtp_code}"
        except smtplib.SMTPConnectError as refused:
            return f"greeting {refused.smtp_code}"
        return "taken"

    return await asyncio.to_thread(send)


MISBEHAVIOURS = {
    Behaviour.ERROR: ("MAIL 451", "told to fail"),
    Behaviour.THROTTLE: ("greeting 421", "told to throttle"),
    Behaviour.REFUSE_RECIPIENT: ("RCPT 550", "told to refuse recipients"),
    Behaviour.REFUSE_CONTENT: ("DATA 554", "told to refuse contents"),
}


@pytest.mark.parametrize("how", MISBEHAVIOURS, ids=lambda how: how.value)
async def test_a_mail_server_misbehaves_as_it_is_told(certificate: Certificate, how: Behaviour) -> None:
    """At the step and by the code of its kind; nothing is taken, it is told, and well again the next mail arrives."""
    step, why = MISBEHAVIOURS[how]
    async with opened(certificate) as door:
        door.sink.behave(how)
        assert await turned_away(door) == step
        assert door.post.messages == []
        assert any(why in refusal for refusal in door.post.refusals)
        told = len(door.post.refusals)
        door.sink.behave(Behaviour.WELL)
        assert await turned_away(door) == "taken"
        assert (len(door.post.messages), len(door.post.refusals)) == (1, told)


async def test_a_mail_server_that_hangs_takes_the_connection_and_never_greets(certificate: Certificate) -> None:
    """Until it is well again: then who hung is hung up on, and the next mail arrives."""
    async with opened(certificate) as door:
        door.sink.behave(Behaviour.HANG)
        reader, writer = await asyncio.open_connection(door.sink.address.host, door.sink.address.port)
        await door.post.refused()
        assert "never greeted" in door.post.refusals[0]
        listening = asyncio.create_task(reader.read())
        assert (await asyncio.wait({listening}, timeout=0.3))[0] == set()
        door.sink.behave(Behaviour.WELL)
        assert await asyncio.wait_for(listening, TIMEOUT_SECONDS) == b""
        writer.close()
        assert await turned_away(door) == "taken"


async def test_a_mail_server_can_be_closed_while_clients_hang(certificate: Certificate) -> None:
    """Closing does not wait for who waits for us."""
    async with opened(certificate) as door:
        door.sink.behave(Behaviour.HANG)
        reader, writer = await asyncio.open_connection(door.sink.address.host, door.sink.address.port)
        await door.post.refused()
        begun = time.monotonic()
    assert time.monotonic() - begun < 2
    assert await asyncio.wait_for(reader.read(), TIMEOUT_SECONDS) == b""
    writer.close()
    assert len(door.post.refusals) == 1


@pytest.mark.parametrize("how", [Behaviour.ERROR, Behaviour.REFUSE_RECIPIENT, Behaviour.REFUSE_CONTENT])
async def test_a_look_is_answered_like_everybody_and_told_to_nobody(certificate: Certificate, how: Behaviour) -> None:
    """A fault looks with a mail that nobody gets; the twin: anybody else's arrives, and is missed when refused."""
    async with opened(certificate) as door:
        assert await turned_away(door, LOOK_USER) == "taken"
        assert (door.post.messages, door.post.refusals) == ([], [])
        door.sink.behave(how)
        assert await turned_away(door, LOOK_USER) == MISBEHAVIOURS[how][0]
        assert door.post.refusals == []
        assert await turned_away(door) == MISBEHAVIOURS[how][0]
        assert len(door.post.refusals) == 1
