"""The policy room: what a team wrote is read, and a copy of it is pointed at the sandbox."""
