"""Discord: a webhook answered as Discord answers, and messages as the channel shows them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from open_sinks import opened

from harness.model.hops import Hop
from harness.model.notifications import Notification, RawMessage, Status
from harness.model.sinks import Behaviour
from harness.model.time import Instant
from harness.observe.attribution import speaks_of
from harness.observe.certificates import write_certificate
from harness.observe.channels import Certificate
from harness.observe.channels.discord import (
    MAX_ALL_EMBEDS,
    MAX_AUTHOR,
    MAX_CONTENT,
    MAX_DESCRIPTION,
    MAX_EMBEDS,
    MAX_FIELD_NAME,
    MAX_FIELD_VALUE,
    MAX_FIELDS,
    MAX_FOOTER,
    MAX_TITLE,
    MAX_USERNAME,
    DiscordChannel,
)

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """One certificate for all tests of this file."""
    return write_certificate(tmp_path_factory.mktemp("certificates"))


def shown(payload: object) -> Notification:
    """The message as a person would read it."""
    body = payload if isinstance(payload, str) else json.dumps(payload)
    return DiscordChannel().read(RawMessage("discord-1", "discord", "page", Instant(1, 1), {}, body))


def embed(**parts: object) -> dict[str, object]:
    """A message of one embed."""
    return {"embeds": [parts]}


async def test_a_message_is_answered_204_without_a_body(certificate: Certificate) -> None:
    """As Discord does where nobody asks it to wait."""
    async with opened(DiscordChannel(), certificate) as door:
        answer = await door.send()
        assert (answer.status, answer.text) == (204, "")


@pytest.mark.parametrize(
    ("payload", "code", "where"),
    [
        (b"{not json", 50109, ""),
        (b"\xff\xfe", 50109, ""),
        (b"[" * 100_000, 50109, ""),
        ([], 50035, ""),
        ({}, 50006, ""),
        ({"content": " ", "embeds": []}, 50006, ""),
        ({"embeds": "text"}, 50035, "embeds"),
        ({"embeds": ["text"]}, 50035, "embeds"),
        ({"embeds": [{"title": "x"}] * (MAX_EMBEDS + 1)}, 50035, "embeds"),
        ({"content": "x" * (MAX_CONTENT + 1)}, 50035, "content"),
        ({"content": "x", "username": "x" * (MAX_USERNAME + 1)}, 50035, "username"),
        (embed(title="x" * (MAX_TITLE + 1)), 50035, "title"),
        (embed(description="x" * (MAX_DESCRIPTION + 1)), 50035, "description"),
        (embed(footer={"text": "x" * (MAX_FOOTER + 1)}), 50035, "footer"),
        (embed(author={"name": "x" * (MAX_AUTHOR + 1)}), 50035, "author"),
        (embed(fields=[{"name": "x", "value": "y"}] * (MAX_FIELDS + 1)), 50035, "fields"),
        (embed(fields=[{"name": "x" * (MAX_FIELD_NAME + 1), "value": "y"}]), 50035, "name"),
        (embed(fields=[{"name": "x", "value": "y" * (MAX_FIELD_VALUE + 1)}]), 50035, "value"),
        ({"embeds": [{"description": "x" * (MAX_ALL_EMBEDS // 2 + 1)}] * 2}, 50035, "embeds"),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_what_discord_would_not_take_is_refused(
    certificate: Certificate, payload: object, code: int, where: str
) -> None:
    """With 400 and Discord's own code, at the place that is wrong; a refused message is none, and it is told."""
    async with opened(DiscordChannel(), certificate) as door:
        answer = await door.send(payload if isinstance(payload, bytes) else json.dumps(payload).encode())
        assert answer.status == 400
        told = json.loads(answer.text)
        assert told["code"] == code
        assert where in json.dumps(told.get("errors", ""))
        assert door.post.messages == []
        assert str(code) in door.post.refusals[0]


@pytest.mark.parametrize(
    "payload",
    [
        {"content": "x" * MAX_CONTENT, "username": "x" * MAX_USERNAME},
        embed(title="x" * MAX_TITLE, description="x" * MAX_DESCRIPTION),
        embed(footer={"text": "x" * MAX_FOOTER}, author={"name": "x" * MAX_AUTHOR}),
        embed(fields=[{"name": "x", "value": "y"}] * MAX_FIELDS),
        embed(fields=[{"name": "x" * MAX_FIELD_NAME, "value": "y" * MAX_FIELD_VALUE}]),
        {"embeds": [{"description": "x" * (MAX_ALL_EMBEDS // 2)}] * 2},
        {"embeds": [{"title": "x"}] * MAX_EMBEDS},
        {"content": "x", "embeds": None, "username": None, "avatar_url": ""},
    ],
    ids=lambda value: str(value)[:60],
)
async def test_what_fits_is_taken(certificate: Certificate, payload: object) -> None:
    """The twin: at the limits themselves, and without what is not needed."""
    async with opened(DiscordChannel(), certificate) as door:
        assert (await door.send(json.dumps(payload).encode())).status == 204
        assert door.post.refusals == []


async def test_a_throttled_client_is_told_in_discords_words(certificate: Certificate) -> None:
    """The body repeats Retry-After in seconds."""
    async with opened(DiscordChannel(), certificate) as door:
        door.sink.behave(Behaviour.THROTTLE)
        answer = await door.send()
        told = json.loads(answer.text)
        assert told["retry_after"] == float(answer.headers["Retry-After"])
        assert told["global"] is False


async def test_the_binding_redirects_and_repairs_nothing(certificate: Certificate) -> None:
    """The address is replaced, the file that may hold one is removed; texts stay the policy's own."""
    async with opened(DiscordChannel(), certificate) as door:
        binding = door.sink.binding
        assert set(binding.settings) == {"webhook_url"} == set(binding.secret)
        assert set(binding.dropped) == {"webhook_url_file", "http_config"}


@pytest.mark.parametrize(("status", "word"), [(Status.FIRING, "[FIRING:1]"), (Status.RESOLVED, "[RESOLVED]")])
def test_alertmanagers_own_template_is_understood(status: Status, word: str) -> None:
    """A message as Alertmanager 0.34.2 sent it with its own template."""
    notification = shown((GOLDEN / f"alertmanager-0.34.2-discord-default-{status.value}.json").read_text())
    assert notification.title == f"{word} HighErrorRatio lane-1 (critical)"
    assert notification.status is status
    assert "severity = critical" in notification.text
    assert 'description = more than 5 % & "rising", <5 min' in notification.text
    assert speaks_of(notification, "HighErrorRatio", "lane-1")


@pytest.mark.parametrize(("colour", "status"), [(0x992D22, Status.FIRING), (0x2ECC71, Status.RESOLVED), (7, None)])
def test_the_colour_is_the_second_witness(colour: int, status: Status | None) -> None:
    """Alertmanager's red and green, where the title says nothing; another colour says nothing."""
    assert shown(embed(title="ServerDown", color=colour)).status is (status or Status.UNKNOWN)


def test_everything_that_is_shown_is_read_in_its_order() -> None:
    """Content, author, description, fields and footer are all in front of the reader, of every embed."""
    notification = shown(
        {
            "content": "@here first",
            "username": "Alerts",
            "embeds": [
                {
                    "author": {"name": "Alertmanager"},
                    "title": "the heading",
                    "url": "https://x.example.org/",
                    "description": "**bold** and `code`\nnext",
                    "fields": [{"name": "severity", "value": "critical"}],
                    "footer": {"text": "the end"},
                },
                {"title": "a second heading"},
            ],
        }
    )
    assert notification.title == "the heading"
    assert notification.text == (
        "@here first\nAlertmanager\nbold and code\nnext\nseverity: critical\nthe end\na second heading"
    )
    assert notification.marks == {"links": "https://x.example.org/", "username": "Alerts"}


def test_without_a_heading_the_first_line_is_the_title() -> None:
    """What a person sees first is the title, whatever part it came in."""
    notification = shown({"content": "**[FIRING]** ServerDown\nlane-1 is away"})
    assert (notification.title, notification.text) == ("[FIRING] ServerDown", "lane-1 is away")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("[the runbook](https://x.example.org/a)", "the runbook"),
        ("[the runbook](<https://x.example.org/a>)", "the runbook"),
        ("https://x.example.org/a", "https://x.example.org/a"),
        ("[FIRING:1] (critical)", "[FIRING:1] (critical)"),
        (
            "**bold** *italic* _italic_ __under__ ~~gone~~ ||hidden|| `code`",
            "bold italic italic under gone hidden code",
        ),
        ("***both***", "both"),
        ("http_requests_total 2*3*4 mysql_up", "http_requests_total 2*3*4 mysql_up"),
        ("```promql\nup == 0\n```", "up == 0"),
        ("# heading\n> quoted\n-# small", "heading\nquoted\nsmall"),
        ("5 &lt; 6 > 4", "5 &lt; 6 > 4"),
        ("<no value>", "<no value>"),
        ("_lane-1_", "lane-1"),
    ],
)
def test_markup_is_read_as_it_is_shown(written: str, read: str) -> None:
    """Masked links, styles, headings, quotes and code; what only looks like markup stays, and so do entities."""
    assert shown(embed(title="t", description=written)).text == read


def test_links_are_kept_apart() -> None:
    """Where a masked link leads is not read, and not lost either."""
    assert (
        shown(embed(title="t", description="[a](https://x.example.org/a)")).marks["links"] == "https://x.example.org/a"
    )


@pytest.mark.parametrize(("part", "limit"), [("title", MAX_TITLE), ("description", MAX_DESCRIPTION)])
def test_what_alertmanager_cut_to_fit_is_marked(part: str, limit: int) -> None:
    """Discord refuses what is too long, so Alertmanager cuts it: exactly to the limit, and the end is an ellipsis."""
    assert f"cut the {part} off at {limit:,}" in shown(embed(**{part: "x" * (limit - 1) + "…"})).marks["cut"]
    assert "cut" not in shown(embed(**{part: "x" * limit})).marks
    assert "cut" not in shown(embed(**{part: "and so on…"})).marks


@given(
    st.one_of(
        st.text(),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(),
            lambda inner: (
                st.lists(inner)
                | st.dictionaries(
                    st.sampled_from(["content", "embeds", "title", "fields", "footer", "author", "color", "name"]),
                    inner,
                )
            ),
        ).map(json.dumps),
    )
)
def test_reading_never_raises(body: str) -> None:
    """Whatever comes in, somebody can look at it."""
    shown(body)


def test_a_message_has_reached_its_person_at_notified() -> None:
    """Nothing tells when a message is looked at: that Discord took it is the last station."""
    assert DiscordChannel().terminal_hop is Hop.NOTIFIED
