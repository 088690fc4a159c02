"""The drive room: what is done to the stack, and when."""
