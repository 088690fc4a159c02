"""The observe room: what was heard, where the trail ends."""
