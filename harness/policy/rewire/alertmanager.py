"""alertmanager.yml, pointed at the sinks of the sandbox: every integration by the binding of its key."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from urllib.parse import quote

from harness.model.stack import ReceiverBinding
from harness.policy.parse.alertmanager import INTEGRATION_SUFFIX
from harness.policy.rewire.document import NOTHING, Edits, Value, entries, is_secret, settings, shown, text_of

_SINK = "messages of {key} are heard in the sandbox"
_NO_SINK = "no sink of the sandbox hears this, and nothing leaves the machine"


def rewire(document: dict[str, Value], edits: Edits, bindings: Sequence[ReceiverBinding]) -> None:
    """Points an alertmanager.yml at the sinks, in place."""
    by_key = {binding.key: binding for binding in bindings}
    for binding in bindings:
        _global(document, binding, edits)
    _secrets(settings(document.get("global")), {name for one in bindings for name in one.global_settings or {}}, edits)
    for index, entry in enumerate(entries(document.get("receivers"))):
        receiver = settings(entry)
        path = f"receivers[{index}]"
        for key in [key for key in receiver if key.endswith(INTEGRATION_SUFFIX)]:
            found = by_key.get(key)
            if found is None:
                edits.note(f"{path}.{key}", shown(receiver.pop(key), key), NOTHING, _NO_SINK)
                continue
            for number, integration in enumerate(entries(receiver[key])):
                at = f"{path}.{key}[{number}]"
                _bind(settings(integration), at, found, text_of(receiver.get("name")), edits)


def _global(document: dict[str, Value], binding: ReceiverBinding, edits: Edits) -> None:
    wanted = binding.global_settings or {}
    if "global" not in document and not wanted:
        return
    if not isinstance(document.get("global"), dict):
        document["global"] = {}
    world = settings(document["global"])
    why = _SINK.format(key=binding.key)
    edits.drop(world, "global", binding.global_dropped, why)
    _write(world, "global", wanted, binding, edits)


def _secrets(world: dict[str, Value], ours: Collection[str], edits: Edits) -> None:
    """Credentials that integrations without a sink would use: the copy is kept with the run, and nobody needs them."""
    edits.drop(world, "global", [name for name in world if is_secret(name) and name not in ours], _NO_SINK)


def _bind(integration: dict[str, Value], path: str, binding: ReceiverBinding, receiver: str, edits: Edits) -> None:
    edits.drop(integration, path, binding.dropped, _SINK.format(key=binding.key))
    named = quote(receiver, safe="")
    wanted = {name: value.replace("{receiver}", named) for name, value in binding.settings.items()}
    _write(integration, path, wanted, binding, edits)


def _write(
    owner: dict[str, Value], path: str, wanted: Mapping[str, str], binding: ReceiverBinding, edits: Edits
) -> None:
    for name, text in wanted.items():
        value: Value = text == "true" if text in {"true", "false"} else text
        edits.put(owner, path, name, value, _SINK.format(key=binding.key), secret=name in binding.secret)
