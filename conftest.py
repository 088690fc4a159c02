"""Loads the pytest plugin, nothing else."""

pytest_plugins = ["harness.pytest_plugin"]
