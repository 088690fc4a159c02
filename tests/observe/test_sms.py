"""SMS: SNS's Publish as SNS takes it, a real SNS client and a second opinion, and messages as a phone shows them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from xml.etree import ElementTree

import boto3
import pytest
import yaml
from botocore.config import Config
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st
from moto.server import ThreadedMotoServer
from open_sinks import Open, opened

from harness.model.hops import Hop
from harness.model.notifications import Notification, RawMessage, Status
from harness.model.sinks import Behaviour
from harness.model.stack import Address, Sandbox
from harness.model.time import Instant
from harness.observe.attribution import speaks_of
from harness.observe.certificates import write_certificate
from harness.observe.channels import Certificate
from harness.observe.channels.sms import MAX_SMS, MAX_SUBJECT, SmsChannel
from harness.policy.parse.yaml import compose
from harness.policy.rewire.alertmanager import rewire
from harness.policy.rewire.document import Edits, dump, settings, values

GOLDEN = Path(__file__).parent / "golden"
PHONE = "+491700000000"
TOPIC = "arn:aws:sns:us-east-1:123456789012:oncall"
NAMESPACE = "{http://sns.amazonaws.com/doc/2010-03-31/}"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """One certificate for all tests of this file."""
    return write_certificate(tmp_path_factory.mktemp("certificates"))


def form(**fields: str) -> bytes:
    """A Publish with these parameters."""
    return urlencode({"Action": "Publish", "Version": "2010-03-31", **fields}).encode()


def shown(body: bytes | str) -> Notification:
    """The message as a phone shows it."""
    text = body if isinstance(body, str) else body.decode()
    return SmsChannel().read(RawMessage("sms-1", "sms", "page", Instant(1, 1), {}, text))


def code_of(xml: str) -> str:
    """The error's code in SNS's answer."""
    return ElementTree.fromstring(xml).findtext(f"{NAMESPACE}Error/{NAMESPACE}Code") or ""  # noqa: S314 - our own answer


async def test_what_is_taken_is_answered_as_sns_answers(certificate: Certificate) -> None:
    """XML with an id for the message and one for the request, new ones every time."""
    async with opened(SmsChannel(), certificate) as door:
        answers = [await door.send(), await door.send()]
        ids: set[str | None] = set()
        for answer in answers:
            assert answer.headers["Content-Type"].startswith("text/xml")
            root = ElementTree.fromstring(answer.text)  # noqa: S314 - our own answer
            assert root.tag == f"{NAMESPACE}PublishResponse"
            ids.add(root.findtext(f"{NAMESPACE}PublishResult/{NAMESPACE}MessageId"))
            ids.add(root.findtext(f"{NAMESPACE}ResponseMetadata/{NAMESPACE}RequestId"))
        assert None not in ids
        assert len(ids) == 4


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"PhoneNumber": PHONE, "Message": "x"}, ""),
        ({"TopicArn": TOPIC, "Message": "x"}, ""),
        ({"TargetArn": TOPIC, "Message": "x"}, ""),
        ({"Message": "x"}, "InvalidParameter"),
        ({"PhoneNumber": PHONE, "TopicArn": TOPIC, "Message": "x"}, "InvalidParameter"),
        ({"PhoneNumber": "0170 0000000", "Message": "x"}, "InvalidParameter"),
        ({"TopicArn": "oncall", "Message": "x"}, "InvalidParameter"),
        ({"PhoneNumber": PHONE}, "InvalidParameter"),
        ({"PhoneNumber": PHONE, "Message": " \n"}, "InvalidParameter"),
        ({"PhoneNumber": PHONE, "Message": "x" * MAX_SMS}, ""),
        ({"PhoneNumber": PHONE, "Message": "x" * (MAX_SMS + 1)}, "InvalidParameter"),
        ({"TopicArn": TOPIC, "Message": "x" * (MAX_SMS + 1)}, ""),
        ({"TopicArn": TOPIC, "Message": "x" * 262_145}, "InvalidParameter"),
        ({"TopicArn": TOPIC, "Message": "x", "Subject": "x" * MAX_SUBJECT}, ""),
        ({"TopicArn": TOPIC, "Message": "x", "Subject": "x" * (MAX_SUBJECT + 1)}, "InvalidParameter"),
        ({"TopicArn": TOPIC, "Message": "x", "Subject": "two\nlines"}, "InvalidParameter"),
        ({"PhoneNumber": PHONE, "Message": "x", "Action": "Subscribe"}, "InvalidAction"),
        ({"PhoneNumber": PHONE, "Message": "x", "Version": "2000-01-01"}, "InvalidAction"),
    ],
    ids=lambda value: str(value)[:80],
)
async def test_what_sns_would_not_take_is_refused(
    certificate: Certificate, fields: Mapping[str, str], code: str
) -> None:
    """With SNS's own code; a refused message is none, and it is told."""
    async with opened(SmsChannel(), certificate) as door:
        answer = await door.send(form(**fields))
        assert answer.status == (400 if code else 200)
        assert len(door.post.messages) == (not code)
        assert [code in why for why in door.post.refusals] == [True] * bool(code)
        if code:
            assert code_of(answer.text) == code


@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        (None, "MissingAuthenticationToken"),
        ("Basic dXNlcjpwYXNz", "MissingAuthenticationToken"),
        ("another account's", "InvalidClientTokenId"),
    ],
)
async def test_a_request_of_nobody_is_refused(certificate: Certificate, authorization: str | None, code: str) -> None:
    """Who does not sign, or signs with a key of another account, is answered 403 as by SNS."""
    async with opened(SmsChannel(), certificate) as door:
        headers = door.headers("AKIAOTHER") if authorization == "another account's" else {}
        if authorization and not headers:
            headers = {"Authorization": authorization}
        answer = await door.send(headers=headers)
        assert (answer.status, code_of(answer.text)) == (403, code)
        assert door.post.messages == []
        assert code in door.post.refusals[0]


async def test_what_an_unwell_service_says_is_what_sns_says(certificate: Certificate) -> None:
    """Its codes, so that an SDK knows what it may try again."""
    async with opened(SmsChannel(), certificate) as door:
        for how, code in ((Behaviour.ERROR, "InternalError"), (Behaviour.THROTTLE, "Throttled")):
            door.sink.behave(how)
            assert code_of((await door.send()).text) == code


async def test_the_binding_brings_keys_of_its_own(certificate: Certificate) -> None:
    """Production's account is replaced as a whole; to whom is sent, and what, stays the policy's own."""
    async with opened(SmsChannel(), certificate) as door, opened(SmsChannel(), certificate) as other:
        binding = door.sink.binding
        assert set(binding.settings) == {"api_url", "sigv4.region", "sigv4.access_key", "sigv4.secret_key"}
        assert "sigv4" in binding.dropped
        assert {"sigv4.access_key", "sigv4.secret_key"} == set(binding.secret)
        assert not {"phone_number", "topic_arn", "target_arn", "message", "subject", "attributes"} & {
            *binding.settings,
            *binding.dropped,
        }
        for key in binding.secret:
            assert binding.settings[key] != other.sink.binding.settings[key]


async def test_a_copy_is_rewired_within_its_settings(certificate: Certificate) -> None:
    """A profile and a role are gone, the keys stand where Alertmanager looks for them, and none of them is listed."""
    production = """
receivers:
  - name: team
    sns_configs:
      - phone_number: "+491700000000"
        sigv4: {profile: oncall, role_arn: "arn:aws:iam::123456789012:role/x", secret_key: production}
"""
    async with opened(SmsChannel(), certificate) as door:
        document = settings(values(compose(production, "alertmanager.yml").documents[0]))
        edits = Edits("alertmanager.yml")
        rewire(document, edits, Sandbox((), {}, Address("127.0.0.1", 9), (door.sink.binding,)))
        (copied,) = yaml.safe_load(dump(document))["receivers"][0]["sns_configs"]
        wanted = door.sink.binding.settings
        assert copied == {
            "phone_number": PHONE,
            "api_url": f"https://{door.sink.address}/team",
            "sigv4": {name: wanted[f"sigv4.{name}"] for name in ("region", "access_key", "secret_key")},
        }
        told = {difference.path: f"{difference.before} {difference.after}" for difference in edits.differences}
        assert {f"receivers[0].sns_configs[0].sigv4.{name}" for name in ("region", "access_key", "secret_key")} < set(
            told
        )
        assert not [text for text in told.values() if "production" in text or wanted["sigv4.secret_key"] in text]


# --- A second opinion: moto's SNS, asked by Amazon's own client --------------------------------------------------


@pytest.fixture(scope="module")
def oracle() -> Iterator[str]:
    """Moto's SNS with the topic in it."""
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    client(url, "key").create_topic(Name="oncall")
    yield url
    server.stop()


def client(url: str, key: str, verify: str | bool = True) -> Any:
    """Amazon's own client."""
    return boto3.client(
        "sns",
        endpoint_url=url,
        verify=verify,
        region_name="us-east-1",
        aws_access_key_id=key,
        aws_secret_access_key="secret",
        config=Config(retries={"total_max_attempts": 1}),
    )


def asked(of: Any, parameters: Mapping[str, Any]) -> tuple[object, ...]:
    """What the client makes of the answer: all but the ids, which are another each time."""
    try:
        answer = of.publish(**parameters)
    except ClientError as refused:
        return refused.response["ResponseMetadata"]["HTTPStatusCode"], refused.response["Error"]["Code"]
    return (
        answer["ResponseMetadata"]["HTTPStatusCode"],
        sorted(set(answer) - {"ResponseMetadata"}),
        len(answer["MessageId"]),
        bool(answer["ResponseMetadata"]["RequestId"]),
    )


async def both(door: Open, oracle: str, authority: str, parameters: Mapping[str, Any]) -> tuple[object, object]:
    """The same call to our sink and to moto, by the same client."""
    key = door.sink.binding.settings["sigv4.access_key"]
    ours = client(f"https://{door.sink.address}/page", key, authority)
    return (
        await asyncio.to_thread(asked, ours, parameters),
        await asyncio.to_thread(asked, client(oracle, key), parameters),
    )


@pytest.mark.parametrize(
    "parameters",
    [
        {"PhoneNumber": PHONE, "Message": "a & b < ü 오류"},
        {"TopicArn": TOPIC, "Message": "x", "Subject": "[FIRING:1] ServerDown lane-1"},
        {
            "TopicArn": TOPIC,
            "Message": "x",
            "MessageAttributes": {"team": {"DataType": "String", "StringValue": "ops"}},
        },
        {"PhoneNumber": "not a number", "Message": "x"},
    ],
    ids=["phone", "topic", "attributes", "no number"],
)
async def test_amazons_client_hears_the_same_from_us_and_from_moto(
    certificate: Certificate, oracle: str, parameters: Mapping[str, Any]
) -> None:
    """A differential test: status, what the parsed XML holds, the error's code."""
    async with opened(SmsChannel(), certificate) as door:
        ours, theirs = await both(door, oracle, str(certificate.authority), parameters)
        assert ours == theirs
        assert len(door.post.messages) == (ours[0] == 200 if isinstance(ours, tuple) else 0)


async def test_the_second_opinion_can_differ(certificate: Certificate, oracle: str) -> None:
    """The twin: a sink that fails is not what moto says, so the comparison can go red."""
    async with opened(SmsChannel(), certificate) as door:
        door.sink.behave(Behaviour.ERROR)
        parameters = {"PhoneNumber": PHONE, "Message": "x"}
        ours, theirs = await both(door, oracle, str(certificate.authority), parameters)
        assert ours == (500, "InternalError")
        assert ours != theirs


async def test_what_amazons_client_sends_is_read(certificate: Certificate) -> None:
    """Every character comes back as it was given."""
    async with opened(SmsChannel(), certificate) as door:
        ours = client(
            f"https://{door.sink.address}/page",
            door.sink.binding.settings["sigv4.access_key"],
            str(certificate.authority),
        )
        message = "[FIRING:1] ServerDown lane-1\nüber 5 % & <more> + 오류\n= a;b"
        await asyncio.to_thread(asked, ours, {"PhoneNumber": PHONE, "Message": message})
        (raw,) = door.post.messages
        notification = SmsChannel().read(raw)
        assert f"{notification.title}\n{notification.text}" == message
        assert (notification.receiver, notification.marks["recipient"]) == ("page", PHONE)


# --- Reading -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [Status.FIRING, Status.RESOLVED])
def test_alertmanagers_own_template_is_understood(status: Status) -> None:
    """As Alertmanager 0.34.2 sent it with its own template: a phone shows no subject, so its first line is no title."""
    notification = shown((GOLDEN / f"alertmanager-0.34.2-sns-default-{status.value}.form").read_text().strip())
    assert notification.status is status
    assert notification.title.startswith('more than 5 % & "rising", <5 min https://runbooks.example.org/')
    assert "severity = critical" in notification.text
    assert speaks_of(notification, "HighErrorRatio", "lane-1")
    assert notification.marks == {"recipient": PHONE}


def test_the_first_line_is_the_title_and_the_subject_is_not_shown() -> None:
    """An SMS has no subject: what stands only there was never read by anybody."""
    notification = shown(
        form(PhoneNumber=PHONE, Message="\n[RESOLVED] DatabaseDown lane-2\nit is back ", Subject="[FIRING] ServerDown")
    )
    assert (notification.title, notification.text) == ("[RESOLVED] DatabaseDown lane-2", "it is back")
    assert notification.status is Status.RESOLVED
    assert not speaks_of(notification, "ServerDown", "lane-2")


@pytest.mark.parametrize(("target", "value"), [("PhoneNumber", PHONE), ("TopicArn", TOPIC), ("TargetArn", TOPIC)])
def test_whom_it_goes_to_is_a_mark(target: str, value: str) -> None:
    """A number, a topic or a target; the twin has none."""
    assert shown(form(**{target: value}, Message="x")).marks == {"recipient": value}
    assert shown(form(Message="x")).marks == {}


def test_what_alertmanager_cut_off_is_marked() -> None:
    """It cuts at 1,600 bytes, in the middle of a character too, and tells nobody but an attribute."""
    half = "ü" * (MAX_SMS // 2 - 1) + "x"
    attribute = {
        "MessageAttributes.entry.1.Name": "truncated",
        "MessageAttributes.entry.1.Value.DataType": "String",
        "MessageAttributes.entry.1.Value.StringValue": "true",
    }
    cut = shown(form(PhoneNumber=PHONE, **attribute, Message=half).decode() + "%C3")
    assert "cut the message off at 1,600 bytes" in cut.marks["cut"]
    other = {**attribute, "MessageAttributes.entry.1.Name": "team"}
    assert "cut" not in shown(form(PhoneNumber=PHONE, Message=half, **other)).marks


def test_what_a_topic_holds_and_a_phone_does_not_is_cut_off() -> None:
    """A topic takes 256 KB, a phone 1,600 characters; at the limit itself nothing is cut."""
    notification = shown(form(TopicArn=TOPIC, Message="x" * (MAX_SMS + 1)))
    assert len(notification.title) == MAX_SMS
    assert "a phone is sent 1,600" in notification.marks["cut"]
    assert "cut" not in shown(form(TopicArn=TOPIC, Message="x" * MAX_SMS)).marks


@given(st.one_of(st.text(), st.dictionaries(st.sampled_from(["Message", "PhoneNumber", "&", "="]), st.text()).map(str)))
def test_reading_never_raises(body: str) -> None:
    """Whatever comes in, somebody can look at it."""
    shown(body)


def test_a_message_has_reached_its_person_at_notified() -> None:
    """Nothing tells of the phone: that SNS took it is the last station."""
    assert SmsChannel().terminal_hop is Hop.NOTIFIED
