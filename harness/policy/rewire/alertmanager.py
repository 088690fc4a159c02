"""alertmanager.yml, pointed at the sinks of the sandbox: every integration by the binding of its key."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from urllib.parse import quote, urlsplit, urlunsplit

from harness.model.stack import Address, ReceiverBinding, Sandbox
from harness.policy.parse.alertmanager import INTEGRATION_SUFFIX, WEBHOOK, webhook_address
from harness.policy.rewire.document import NOTHING, Edits, Value, entries, is_secret, settings, shown, text_of

_SINK = "messages of {key} are heard in the sandbox"
_COMPONENT = "the sandbox serves this component here, in plain HTTP on loopback"
_NO_SINK = "no sink of the sandbox hears this, and nothing leaves the machine"


def rewire(document: dict[str, Value], edits: Edits, sandbox: Sandbox) -> None:
    """Points an alertmanager.yml at the sinks, in place; webhooks of components of ours at these."""
    bindings = sandbox.bindings
    by_key = {binding.key: binding for binding in bindings}
    for binding in bindings:
        _global(document, binding, edits)
    _secrets(settings(document.get("global")), {name for one in bindings for name in one.global_settings or {}}, edits)
    for index, entry in enumerate(entries(document.get("receivers"))):
        receiver = settings(entry)
        path = f"receivers[{index}]"
        for key in [key for key in receiver if key.endswith(INTEGRATION_SUFFIX)]:
            at = f"{path}.{key}"
            found = by_key.get(key)
            if key == WEBHOOK:
                _webhooks(receiver, at, found, edits, sandbox.production)
            elif found is None:
                edits.note(at, shown(receiver.pop(key), key), NOTHING, _NO_SINK)
            else:
                for number, integration in enumerate(entries(receiver[key])):
                    _bind(settings(integration), f"{at}[{number}]", found, text_of(receiver.get("name")), edits)


def _webhooks(
    receiver: dict[str, Value],
    path: str,
    binding: ReceiverBinding | None,
    edits: Edits,
    production: Mapping[str, Mapping[str, Address]],
) -> None:
    """Each webhook by whom it calls: a component that all lanes share, the sink of webhooks, or nobody."""
    kept: list[Value] = []
    webhooks = entries(receiver[WEBHOOK])
    for number, entry in enumerate(webhooks):
        integration, at = settings(entry), f"{path}[{number}]"
        component = production.get(webhook_address(text_of(integration.get("url"))), {}).get("")
        if component is not None:
            _call(integration, at, component, edits)
        elif binding is not None:
            _bind(integration, at, binding, text_of(receiver.get("name")), edits)
        else:
            edits.note(at, shown(entry, WEBHOOK), NOTHING, _NO_SINK)
            continue
        kept.append(entry)
    if kept:
        receiver[WEBHOOK] = kept
    else:
        edits.note(path, shown(receiver.pop(WEBHOOK), WEBHOOK), NOTHING, _NO_SINK)


def _call(integration: dict[str, Value], path: str, component: Address, edits: Edits) -> None:
    """The same path of the same component, where the sandbox serves it in plain HTTP."""
    edits.drop(integration, path, ("http_config",), _COMPONENT)
    before = text_of(integration["url"])
    parts = urlsplit(before)
    after = urlunsplit(("http", str(component), parts.path, parts.query, ""))
    integration["url"] = after
    # Told whole, not redacted as other URLs of webhooks are: it leads to a component of ours and holds no secret.
    edits.note(f"{path}.url", shown(before), after, _COMPONENT)


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
        *outer, last = name.split(".")
        holder, at = owner, path
        for part in outer:
            if not isinstance(holder.get(part), dict):
                holder[part] = {}
            holder, at = settings(holder[part]), f"{at}.{part}"
        edits.put(holder, at, last, value, _SINK.format(key=binding.key), secret=name in binding.secret)
