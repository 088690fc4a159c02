"""Every alert links to a page that a woken person can use: what it means, who hears it, where to look, what to do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from policy_folders import loaded

from harness.policy.parse import promql

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "runbooks"
PREFIX = "https://runbooks.example.com/community-platform/"
HEADINGS = (
    "What it means",
    "Who hears it",
    "First looks",
    "Likely causes",
    "What to do",
    "How it is drilled",
)
SAID = {"email": "e-mail", "sms": "sms", "slack": "slack", "discord": "discord", "push": "push"}


def page_of(alert: str) -> Path:
    """The page that an alert's link leads to."""
    url = loaded().policies.alert(alert).annotations["runbook_url"]
    assert url.startswith(PREFIX)
    return PAGES / f"{url.removeprefix(PREFIX)}.md"


def sections(alert: str) -> dict[str, str]:
    """What stands under each heading of an alert's page."""
    parts = re.split(r"^## (.+)\n", page_of(alert).read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


ALERTS = sorted(alert.name for alert in loaded().policies.alerts)


def test_every_page_is_somebodys() -> None:
    """One page for each alert and no page for none."""
    pages = [page_of(alert) for alert in ALERTS]
    assert sorted(PAGES.glob("*.md")) == sorted(pages)
    assert len(set(pages)) == len(ALERTS)


@pytest.mark.parametrize("alert", ALERTS)
def test_the_page_says_what_a_woken_person_needs(alert: str) -> None:
    """Its title is the alert, and no section is empty."""
    assert page_of(alert).read_text(encoding="utf-8").startswith(f"# {alert}\n")
    found = sections(alert)
    assert tuple(found) == HEADINGS
    assert all(text.strip() for text in found.values())


@pytest.mark.parametrize("alert", ALERTS)
def test_what_is_to_be_looked_at_is_promql(alert: str) -> None:
    """Each expression can be pasted as it stands."""
    expressions = re.findall(r"```promql\n(.+?)\n```", sections(alert)["First looks"], re.DOTALL)
    assert expressions
    for expression in expressions:
        assert promql.parse(expression).selectors


@pytest.mark.parametrize("alert", ALERTS)
def test_who_hears_and_what_raises_it_are_the_drills(alert: str) -> None:
    """The page names the channels that must hear and every fault that the drill names, and no others."""
    policies = loaded().policies
    drill = next((one for one in policies.drills if one.alert == alert), None)
    found = sections(alert)
    heard = found["Who hears it"].split("By push it comes")[0].lower()
    if drill is None:
        assert heard.strip() == "nobody."
        return
    channels = drill.channels or policies.priorities[drill.priority].channels
    assert {channel for channel, word in SAID.items() if word in heard} == set(channels)
    assert f"priority {drill.priority}." in heard
    linked = re.findall(r"\[([\w-]+)\]\(\.\./faults/\1\.md\)", found["How it is drilled"])
    assert set(linked) == {*drill.faults, *drill.nightly, *drill.although}
