"""The verdict room: a ledger in, verdicts out. Pure."""
