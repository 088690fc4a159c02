"""The dead man's listener: hears heartbeats, and speaks by itself when none come.

Alertmanager cannot say that it is gone, so somebody else must: a process of its own, on a host of its own, with
channels of its own. It is started as `python -m harness.stack.listener`, in production as in the sandbox, and its file
(dead-man.yaml) is one of the policies.

    vigil       whether heartbeats come, and when it is time to speak: no clock, no I/O
    words       what a message says, in the words of Alertmanager's own
    senders     one message to a mail server, to Slack, to Discord
    speaker     a channel's queue: tries until the message was taken, whatever the other channels do
    metrics     what Prometheus scrapes
    app         /heartbeat, /health, /metrics
    __main__    the process

What it knows of heartbeats is in memory alone: one that is started again waits for its first heartbeat like a new one,
and does not know what was said before.

`senders.Undelivered` never leaves the process, where it becomes another try; it is therefore no part of the harness's
error tree.
"""
