"""Paths in, policies out; every node with file, line and column."""
