"""Policies and the addresses of a sandbox in, the files that will run and every difference out. Pure."""
