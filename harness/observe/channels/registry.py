"""All the channels that there are."""

from __future__ import annotations

from harness.observe.channels import Channel
from harness.observe.channels.discord import DiscordChannel
from harness.observe.channels.email import EmailChannel
from harness.observe.channels.push import PushChannel
from harness.observe.channels.slack import SlackChannel
from harness.observe.channels.sms import SmsChannel

CHANNELS: tuple[Channel, ...] = (EmailChannel(), SmsChannel(), SlackChannel(), DiscordChannel(), PushChannel())
