"""No secret is read in a ledger."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.observe.redaction import REDACTED, Redactor, redact_file


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("https://user:pa@ss@smtp.example:587/x", f"https://{REDACTED}@smtp.example:587/x"),
        ("mysql://root@db/forum", f"mysql://{REDACTED}@db/forum"),
        (
            "POST https://hooks.slack.com/services/T00/B11/abcDEF now",
            f"POST https://hooks.slack.com/services/{REDACTED} now",
        ),
        (
            "https://discord.com/api/webhooks/123/a-b_c?wait=1",
            f"https://discord.com/api/webhooks/123/{REDACTED}?wait=1",
        ),
        ("Authorization: Basic dXNlcjpwYXNz\r\nHost: x", f"Authorization: Basic {REDACTED}\r\nHost: x"),
        ('"authorization":"Bearer abc.def"', f'"authorization":"Bearer {REDACTED}"'),
        (
            'Proxy-Authorization: Digest username="u", response="r"',
            f'Proxy-Authorization: Digest {REDACTED}"u", response="r"',
        ),
    ],
)
def test_credentials_are_known_by_their_form(text: str, left: str) -> None:
    """Userinfo of URLs, webhook paths and Authorization headers are taken out without anybody having named them."""
    assert Redactor().text(text) == left


@pytest.mark.parametrize(
    "text",
    [
        "http://127.0.0.1:9093/api/v2/alerts",
        "mail from alerts@example.org to ops@example.org",
        "see http://a.example/x, or ask bob@example.org",
        "/services/team-slack",
        "ServerDown: the server does not respond (environment lane-1)",
    ],
)
def test_ordinary_texts_stay(text: str) -> None:
    """The twin: what holds no credential is not touched."""
    assert Redactor(["hunter22"]).text(text) == text


def test_known_secrets_are_taken_out_in_every_spelling() -> None:
    """A secret is found inside other text and percent-encoded in a URL."""
    redactor = Redactor(["p/ss wörd", "p/ss wörd and more"])
    assert redactor.text("it is p/ss wörd and more.") == f"it is {REDACTED}."
    assert redactor.text("?password=p%2Fss%20w%C3%B6rd&x=1") == f"?password={REDACTED}&x=1"


def test_secrets_can_be_learned_later() -> None:
    """A lane's password comes to exist after the run began."""
    redactor = Redactor(["first-secret"])
    redactor.learn(["second-secret"])
    assert redactor.text("first-secret second-secret") == f"{REDACTED} {REDACTED}"


def test_short_secrets_are_left_alone() -> None:
    """An empty or tiny password would blacken the whole ledger."""
    assert Redactor(["", "a", "abc"]).text("abacus abc") == "abacus abc"


def test_values_under_a_credentials_name_are_taken_out_whole() -> None:
    """The header's name is enough; what stands under it need not look like anything."""
    assert Redactor().entry("Authorization", "opaque") == REDACTED
    assert Redactor().entry("Subject", "opaque") == "opaque"


@given(
    secrets=st.lists(st.text(min_size=4, max_size=12), max_size=3),
    before=st.text(max_size=20),
    after=st.text(max_size=20),
    data=st.data(),
)
def test_a_line_that_raises_no_suspicion_holds_nothing(
    secrets: list[str], before: str, after: str, data: st.DataObject
) -> None:
    """The cheap look at a line of JSON never spares a string that redaction would change."""
    forms = ["http://u:p@h/", "/services/T0/B0/x", "/api/webhooks/1/x", "Authorization: Basic eA==", "plain"]
    text = before + data.draw(st.sampled_from([*secrets, *forms])) + after
    redactor = Redactor(secrets)
    if redactor.text(text) != text:
        assert redactor.suspects(json.dumps({"text": text}, ensure_ascii=False))


def test_a_log_keeps_its_lines_and_loses_its_secrets(tmp_path: Path) -> None:
    """A credential in a component's log is taken out; bytes that are no UTF-8 stay as they were."""
    log = tmp_path / "mysql.log"
    log.write_bytes(b"started\npassword is hunter22 \xff\nended")
    redact_file(log, Redactor(["hunter22"]))
    assert log.read_bytes() == f"started\npassword is {REDACTED} ".encode() + b"\xff\nended"
    assert [path.name for path in tmp_path.iterdir()] == ["mysql.log"]


def test_a_log_without_secrets_is_not_touched(tmp_path: Path) -> None:
    """A file that holds nothing to take out is the same file afterwards."""
    log = tmp_path / "redis.log"
    log.write_text("ready\n")
    before = log.stat().st_ino
    redact_file(log, Redactor(["hunter22"]))
    assert log.stat().st_ino == before
