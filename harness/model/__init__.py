"""Frozen types that every room speaks; no I/O, no behaviour beyond their own consistency."""
