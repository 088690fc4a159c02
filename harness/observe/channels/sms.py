"""SMS by Amazon SNS: its Publish action over HTTPS, answered as SNS answers, and messages as a phone shows them."""

from __future__ import annotations

import re
import secrets
import uuid
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import ClassVar
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from aiohttp import web

from harness.model.hops import Hop
from harness.model.notifications import Notification, RawMessage
from harness.model.sinks import Behaviour
from harness.model.stack import Address, ReceiverBinding
from harness.observe.attribution import CUT, status_of
from harness.observe.channels import Certificate, Deliver, Refuse
from harness.observe.channels.webhook import HttpSink, Service, serve

# Production's own account, by keys, a profile or a role, and a proxy or an authority of its own: none of that leads to
# the sandbox. The keys are replaced as one, for a role beside our keys would be asked for at Amazon.
_DROPPED = ("sigv4", "http_config")
_GLOBAL_DROPPED = ("http_config",)
_REGION = "us-east-1"

# https://docs.aws.amazon.com/sns/latest/api/API_Publish.html
MAX_SMS = 1_600
MAX_BYTES = 262_144
MAX_SUBJECT = 100

_NAMESPACE = "http://sns.amazonaws.com/doc/2010-03-31/"
_VERSION = "2010-03-31"
_E164 = re.compile(r"\+[1-9]\d{1,14}")
_ARN = re.compile(r"arn:aws[\w-]*:sns:[\w-]+:\d{12}:[\w/.-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_CREDENTIAL = re.compile(r"^AWS4-HMAC-SHA256 .*?\bCredential=([^/,\s]+)/\d{8}/[\w-]+/sns/aws4_request\b.*\bSignature=")
_TARGETS = ("PhoneNumber", "TopicArn", "TargetArn")


class SmsChannel:
    """SMS over Amazon SNS. A message has reached its person when SNS took it: nothing tells of the phone."""

    name: ClassVar[str] = "sms"
    receiver_key: ClassVar[str] = "sns_configs"
    terminal_hop: ClassVar[Hop] = Hop.NOTIFIED

    def open(self, certificate: Certificate, deliver: Deliver, refuse: Refuse) -> AbstractAsyncContextManager[HttpSink]:
        """Opens the service on a free port of loopback; leaving closes it and every connection to it.

        Raises:
            StackError: it cannot listen, or the certificate cannot be read.
        """
        key = f"SANDBOX{secrets.token_hex(6).upper()}"
        secret = secrets.token_urlsafe(18)

        def take(request: web.Request, body: bytes) -> tuple[str, web.Response]:
            return _taken(request, body, key)

        def bind(address: Address) -> ReceiverBinding:
            return _binding(address, key, secret)

        # An older client asks for `<api_url>/`, a newer one for `<api_url>` itself.
        paths = ("/", "/{receiver}", "/{receiver}/")
        service = Service(self.name, "the SMS service", paths, take, _unwell)
        return serve(service, bind, certificate, deliver, refuse)

    def read(self, raw: RawMessage) -> Notification:
        """The message as a phone shows it: the first line, and what is below. Nobody sees the subject on a phone."""
        form = dict(parse_qsl(raw.body, keep_blank_values=True))
        shown = form.get("Message", "")
        cut = ""
        if _attributes(form).get("truncated") == "true":
            cut = f"Alertmanager cut the message off at {MAX_SMS:,} bytes"
        if len(shown) > MAX_SMS:
            cut = f"the message has {len(shown):,} characters, a phone is sent {MAX_SMS:,}"
            shown = shown[:MAX_SMS]
        title, _, text = shown.strip().partition("\n")
        marks = {
            "recipient": next((form[target] for target in _TARGETS if form.get(target)), ""),
            CUT: cut,
        }
        return Notification(
            id=raw.id,
            channel=raw.channel,
            receiver=raw.receiver,
            arrived=raw.arrived,
            status=status_of(title, text),
            title=title.strip(),
            text=text.strip(),
            marks={name: value for name, value in marks.items() if value},
        )


def _binding(address: Address, key: str, secret: str) -> ReceiverBinding:
    return ReceiverBinding(
        key=SmsChannel.receiver_key,
        settings={
            "api_url": f"https://{address}/{{receiver}}",
            "sigv4.region": _REGION,
            "sigv4.access_key": key,
            "sigv4.secret_key": secret,
        },
        dropped=_DROPPED,
        global_dropped=_GLOBAL_DROPPED,
        secret=("sigv4.access_key", "sigv4.secret_key"),
    )


def _taken(request: web.Request, body: bytes, key: str) -> tuple[str, web.Response]:
    """The form, where SNS would take it, and SNS's answer.

    The form as it came is kept: bytes that are no UTF-8 (Alertmanager cuts by bytes) stay to be seen.

    Raises:
        HTTPException: the answer that SNS gives instead.
    """
    credential = _CREDENTIAL.match(request.headers.get("Authorization", ""))
    if credential is None:
        raise _refusal("MissingAuthenticationToken", "Request is missing Authentication Token", web.HTTPForbidden)
    if credential[1] != key:
        raise _refusal(
            "InvalidClientTokenId", "The security token included in the request is invalid.", web.HTTPForbidden
        )
    text = body.decode("ascii", "replace")
    form = dict(parse_qsl(text, keep_blank_values=True))
    if (form.get("Action"), form.get("Version")) != ("Publish", _VERSION):
        raise _refusal("InvalidAction", f"Could not find operation {form.get('Action', '')} for version {_VERSION}")
    why = _invalid(form)
    if why:
        raise _refusal("InvalidParameter", f"Invalid parameter: {why}")
    answer = (
        f'<PublishResponse xmlns="{_NAMESPACE}"><PublishResult><MessageId>{uuid.uuid4()}</MessageId></PublishResult>'
        f"<ResponseMetadata><RequestId>{uuid.uuid4()}</RequestId></ResponseMetadata></PublishResponse>"
    )
    return text, web.Response(text=answer, content_type="text/xml")


def _invalid(form: Mapping[str, str]) -> str:
    """What SNS would say of a form that it does not take; nothing of one that it does."""
    targets = [name for name in _TARGETS if form.get(name)]
    message, subject = form.get("Message", ""), form.get("Subject")
    if len(targets) != 1:
        return "TopicArn or TargetArn Reason: no value for required parameter" if not targets else ", ".join(targets)
    (target,) = targets
    if target == "PhoneNumber" and not _E164.fullmatch(form[target]):
        return f"PhoneNumber Reason: {form[target]} is not valid to publish to"
    if target != "PhoneNumber" and not _ARN.fullmatch(form[target]):
        return f"{target} Reason: An ARN must have at least 6 elements, not {form[target].count(':') + 1}"
    if not message.strip():
        return "Empty message"
    if len(message.encode()) > MAX_BYTES or (target == "PhoneNumber" and len(message) > MAX_SMS):
        return "Message too long"
    if subject is not None and (not subject.strip() or len(subject) > MAX_SUBJECT or _CONTROL.search(subject)):
        return "Subject"
    return ""


def _attributes(form: Mapping[str, str]) -> dict[str, str]:
    """Message attributes: `MessageAttributes.entry.1.Name` and `….Value.StringValue` by their number."""
    found: dict[str, str] = {}
    for field, name in form.items():
        if field.startswith("MessageAttributes.entry.") and field.endswith(".Name"):
            found[name] = form.get(f"{field.removesuffix('.Name')}.Value.StringValue", "")
    return found


def _refusal(code: str, why: str, kind: type[web.HTTPException] = web.HTTPBadRequest) -> web.HTTPException:
    return kind(text=_error("Sender", code, why), content_type="text/xml")


def _error(whose: str, code: str, why: str) -> str:
    return (
        f'<ErrorResponse xmlns="{_NAMESPACE}"><Error><Type>{whose}</Type><Code>{code}</Code>'
        f"<Message>{escape(why)}</Message></Error><RequestId>{uuid.uuid4()}</RequestId></ErrorResponse>"
    )


def _unwell(how: Behaviour) -> tuple[str, str]:
    # https://docs.aws.amazon.com/sns/latest/api/API_Publish.html#API_Publish_Errors: InternalError is 500; by the
    # service's model Throttled is 429.
    if how is Behaviour.THROTTLE:
        return "text/xml", _error("Sender", "Throttled", "Rate exceeded")
    return "text/xml", _error("Receiver", "InternalError", "The service is unwell")
