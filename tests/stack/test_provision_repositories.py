"""Which of the host's package sources are the distribution's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.stack.provision.apt import upstream_version
from harness.stack.provision.host import Host, this_host
from harness.stack.provision.repositories import Repository, newest_release, of_release, own_repositories

DEB822 = """\
Types: deb deb-src
# a snapshot
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates bookworm-backports
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: https://security.example/debian-security
Suites: bookworm-security
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mDMEY865UxYJ
 -----END PGP PUBLIC KEY BLOCK-----

Enabled: no
Types: deb
URIs: http://disabled.example/debian
Suites: bookworm
Components: main

Types: deb-src
URIs: http://sources.example/debian
Suites: bookworm
Components: main
"""

ONE_LINE = """\
# deb http://commented.example/debian bookworm main
deb [arch=amd64,i386 signed-by=/keys/a.gpg,/keys/b.gpg trusted=yes] http://m.example/debian bookworm main  contrib # x
deb-src http://mirror.example/debian bookworm main
deb https://third.example/docker bookworm stable
deb https://third.example/postgres bookworm-pgdg main
deb https://third.example/node nodistro main
deb cdrom:[Debian 12]/ bookworm main
deb http://flat.example/ ./
"""


def read(tmp_path: Path, name: str, text: str) -> tuple[Repository, ...]:
    """What is found in one file."""
    path = tmp_path / name
    path.write_text(text)
    return own_repositories([path], "bookworm")


def test_the_newer_notation_gives_the_releases_suites_with_their_keys(tmp_path: Path) -> None:
    """Disabled entries, source entries and backports are left out; a key that stands in the entry comes along."""
    found = read(tmp_path, "debian.sources", DEB822)
    assert [entry.suite for entry in found] == ["bookworm", "bookworm-updates", "bookworm-security"]
    assert found[0].options == (("Signed-By", " /usr/share/keyrings/debian-archive-keyring.gpg"),)
    assert "\n mDMEY865UxYJ\n" in found[2].stanza("amd64")


def test_the_one_line_notation_keeps_options_and_drops_third_parties(tmp_path: Path) -> None:
    """Somebody else's suite, component or release name does not pass; lists of values are written with blanks."""
    (entry,) = read(tmp_path, "sources.list", ONE_LINE)
    assert entry == Repository(
        uris="http://m.example/debian",
        suite="bookworm",
        components="main contrib",
        options=(("signed-by", " /keys/a.gpg /keys/b.gpg"), ("trusted", " yes")),
    )


def test_a_stanza_fetches_package_lists_of_one_architecture_only(tmp_path: Path) -> None:
    """Translations, icons and foreign architectures that the host is set up for are not fetched."""
    stanza = read(tmp_path, "sources.list", ONE_LINE)[0].stanza("amd64").splitlines()
    assert stanza[:6] == [
        "Types: deb",
        "URIs: http://m.example/debian",
        "Suites: bookworm",
        "Components: main contrib",
        "Architectures: amd64",
        "Targets: Packages",
    ]


def test_an_entry_that_stands_twice_is_taken_once(tmp_path: Path) -> None:
    """Apt warns of doubled entries; the same file twice gives each entry once."""
    path = tmp_path / "debian.sources"
    path.write_text(DEB822)
    assert own_repositories([path, path, tmp_path / "absent.list"], "bookworm") == own_repositories([path], "bookworm")


def test_another_release_is_asked_of_the_same_mirror_with_the_same_key(tmp_path: Path) -> None:
    """Only the suite changes."""
    found = of_release(read(tmp_path, "debian.sources", DEB822), "bookworm", "trixie")
    assert [entry.suite for entry in found] == ["trixie", "trixie-updates", "trixie-security"]
    assert "debian-archive-keyring" in found[0].stanza("amd64")


@pytest.mark.parametrize(
    ("distribution", "codename", "newest"),
    [("debian", "bookworm", "trixie"), ("debian", "trixie", "trixie"), ("ubuntu", "noble", "noble")],
)
def test_only_an_older_debian_looks_ahead(distribution: str, codename: str, newest: str) -> None:
    """Debian 12 takes static programs of Debian 13; Ubuntu and the newest Debian take their own."""
    assert newest_release(Host(distribution, codename, "x86_64")) == newest


def test_the_host_tells_what_it_is(tmp_path: Path) -> None:
    """Quotation marks are not part of a value; a host without os-release has no name."""
    path = tmp_path / "os-release"
    path.write_text("NAME=x\nID=\"ubuntu\"\nVERSION_CODENAME='noble'\n")
    host = this_host(path)
    assert (host.distribution, host.codename) == ("ubuntu", "noble")
    assert host.machine
    assert this_host(tmp_path / "absent").codename == ""


@pytest.mark.parametrize(
    ("packaged", "upstream"),
    [
        ("1:10.11.14-0+deb12u2", "10.11.14"),
        ("2.53.3+ds1-2", "2.53.3"),
        ("5:7.0.15-1~deb12u7", "7.0.15"),
        ("1.5.0-1+b6", "1.5.0"),
        ("1.69.0-1", "1.69.0"),
    ],
)
def test_a_version_is_upstreams(packaged: str, upstream: str) -> None:
    """Epoch, repacking and Debian's own revision are not part of it."""
    assert upstream_version(packaged) == upstream
