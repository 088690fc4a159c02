"""What this host is, as far as it decides which programs run on it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

OS_RELEASE = Path("/etc/os-release")


@dataclass(frozen=True, slots=True)
class Host:
    """A distribution by its id (`debian`), its release by its code name (`bookworm`), and the machine (`x86_64`)."""

    distribution: str
    codename: str
    machine: str

    def __str__(self) -> str:
        """`debian bookworm x86_64`."""
        return f"{self.distribution} {self.codename} {self.machine}"


def this_host(os_release: Path | None = None) -> Host:
    """This host, as its os-release and its kernel tell; empty where they tell nothing."""
    fields: dict[str, str] = {}
    try:
        text = (os_release or OS_RELEASE).read_text(encoding="utf-8")
    except FileNotFoundError:
        text = ""
    for line in text.splitlines():
        name, _, value = line.partition("=")
        fields[name.strip()] = value.strip().strip("\"'")
    return Host(fields.get("ID", ""), fields.get("VERSION_CODENAME", ""), os.uname().machine)
