"""All the channels that there are."""

from __future__ import annotations

from harness.observe.channels import Channel
from harness.observe.channels.email import EmailChannel
from harness.observe.channels.slack import SlackChannel

CHANNELS: tuple[Channel, ...] = (EmailChannel(), SlackChannel())
