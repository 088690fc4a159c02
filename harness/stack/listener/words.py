"""What a message says, in the words of Alertmanager's own messages (policies/notifications): one reader reads both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from html import escape
from typing import Final

from harness.model.policy import Alert, rendered

_RED, _GREEN = "#b00020", "#1b7f3b"
# The colours of Alertmanager's own messages to Discord: notify/discord/discord.go.
_DISCORD: Final = {True: 0x992D22, False: 0x2ECC71}


@dataclass(frozen=True, slots=True)
class Message:
    """One thing to be said.

    Args:
        alert: whose.
        since: when the silence was noticed.
        until: when a heartbeat came again; None while it is silent.
        repeated: whether it was said before.
        id: the mail's Message-ID: who gets it twice, since an answer was lost, sees that it is the same.
    """

    alert: Alert
    since: datetime
    until: datetime | None
    repeated: bool
    id: str

    @classmethod
    def make(cls, alert: Alert, since: datetime, until: datetime | None = None, *, repeated: bool = False) -> Message:
        """A message with an id of its own."""
        return cls(alert, since, until, repeated, make_msgid("dead-mans-listener", "localhost"))

    @property
    def firing(self) -> bool:
        """Whether it tells of a silence, and not of its end."""
        return self.until is None

    @property
    def title(self) -> str:
        """`[FIRING] DeadMansSwitch production (critical)`."""
        labels = self.alert.labels
        return f"[{self._status}] {self.alert.name} {labels['environment']} ({labels['severity']})"

    def mail(self, sender: str, recipients: Sequence[str]) -> EmailMessage:
        """As a mail, plain and rich."""
        mail = EmailMessage()
        mail["Subject"], mail["From"], mail["To"] = self.title, sender, ", ".join(recipients)
        mail["Date"], mail["Message-ID"] = formatdate(), self.id
        lines = "\n".join(f"{name}: {value}" for name, value in self._facts.items())
        mail.set_content(f"{self._headline}\n{self._annotations['description']}\n{lines}\nRunbook: {self._runbook}\n")
        mail.add_alternative(self._html(), subtype="html")
        return mail

    def slack(self, channel: str) -> dict[str, object]:
        """As the payload of an incoming webhook of Slack's."""
        facts = " | ".join(f"{name}: {self._facts[name]}" for name in ("Alert", "Environment", "Severity"))
        text = f"{_slack(self._annotations['description'])}\n{_slack(facts)}\nRunbook: {_slack(self._runbook)}"
        attachment = {
            "title": _slack(self.title),
            "fallback": _slack(self.title),
            "text": f"*{_slack(self._headline)}*\n{text}",
            "color": "danger" if self.firing else "good",
            "mrkdwn_in": ["text"],
        }
        return {**({"channel": channel} if channel else {}), "attachments": [attachment]}

    def discord(self) -> dict[str, object]:
        """As the payload of a webhook of Discord's."""
        facts = " | ".join(f"{name}: {self._facts[name]}" for name in ("Alert", "Environment", "Severity"))
        text = f"**{self._headline}**\n{self._annotations['description']}\n{facts}\nRunbook: {self._runbook}"
        return {"embeds": [{"title": self.title, "description": text, "color": _DISCORD[self.firing]}]}

    @property
    def _status(self) -> str:
        return "FIRING" if self.firing else "RESOLVED"

    @property
    def _headline(self) -> str:
        return f"{self._status}: {self._annotations['summary']}"

    @property
    def _annotations(self) -> Mapping[str, str]:
        return {name: rendered(text, self.alert.labels) for name, text in self.alert.annotations.items()}

    @property
    def _runbook(self) -> str:
        return self._annotations["runbook_url"]

    @property
    def _facts(self) -> dict[str, str]:
        labels = self.alert.labels
        facts = {
            "Alert": self.alert.name,
            "Environment": labels["environment"],
            "Severity": labels["severity"],
            "Since": _instant(self.since),
        }
        return facts if self.until is None else {**facts, "Until": _instant(self.until)}

    def _html(self) -> str:
        items = "".join(f"<li>{escape(name)}: {escape(value)}</li>\n" for name, value in self._facts.items())
        runbook = escape(self._runbook)
        return (
            '<!DOCTYPE html>\n<html lang="en">\n'
            f'<head><meta charset="utf-8"><title>{escape(self.title)}</title></head>\n'
            f'<body>\n<h2 style="color: {_RED if self.firing else _GREEN}">{escape(self._headline)}</h2>\n'
            f"<p>{escape(self._annotations['description'])}</p>\n<ul>\n{items}</ul>\n"
            f'<p>Runbook: <a href="{runbook}">{runbook}</a></p>\n</body>\n</html>\n'
        )


def _instant(instant: datetime) -> str:
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%M:%S UTC}"


def _slack(text: str) -> str:
    """The three characters that Slack wants escaped (https://api.slack.com/reference/surfaces/formatting)."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
