"""dead-man.yaml, pointed at the sinks of the sandbox, with the environment that all lanes share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from harness.model.stack import LANE_LABEL, SHARED, ReceiverBinding
from harness.policy.rewire.document import NOTHING, Edits, Value, settings, shown

RECEIVER = "dead-mans-listener"
"""The name under which the listener's messages come to a sink, as those of Alertmanager come under their receiver's."""

_SINK = "messages of the listener are heard in the sandbox"
_NO_SINK = "no sink of the sandbox hears this, and nothing leaves the machine"
_SHARED = "the listener watches over what all lanes share"


@dataclass(frozen=True, slots=True)
class _Section:
    """A channel of dead-man.yaml: the receiver key of its sink, its settings with the sink's name for each."""

    name: str
    key: str
    settings: Mapping[str, str]
    dropped: tuple[str, ...]


_SECTIONS = (
    _Section(
        "email",
        "email_configs",
        {"smarthost": "smarthost", "username": "auth_username", "password": "auth_password"},
        ("password_file",),
    ),
    _Section("slack", "slack_configs", {"webhook_url": "api_url"}, ("webhook_url_file",)),
    _Section("discord", "discord_configs", {"webhook_url": "webhook_url"}, ("webhook_url_file",)),
)


def rewire(document: dict[str, Value], edits: Edits, bindings: Sequence[ReceiverBinding]) -> None:
    """Points a dead-man.yaml at the sinks, in place; a channel that no sink hears is taken out."""
    by_key = {binding.key: binding for binding in bindings}
    edits.put(settings(document.get("labels")), "labels", LANE_LABEL, SHARED, _SHARED)
    for section in _SECTIONS:
        if section.name not in document:
            continue
        binding = by_key.get(section.key)
        if binding is None or not binding.settings.keys() >= set(section.settings.values()):
            edits.note(section.name, shown(document.pop(section.name), section.name), NOTHING, _NO_SINK)
            continue
        where = settings(document[section.name])
        edits.drop(where, section.name, section.dropped, _SINK)
        for own, theirs in section.settings.items():
            value = binding.settings[theirs].replace("{receiver}", quote(RECEIVER, safe=""))
            edits.put(where, section.name, own, value, _SINK)
