"""A Java program among jars, with Java and Maven played by fakes."""

from __future__ import annotations

import re
import shutil
import zipfile
from pathlib import Path

import fake_registry
import pytest
from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12
from fake_registry import FakeRegistry, alive, eventually, output_of, silent, start

from harness.errors import BuildError, DiskFull, Offline, ProvisionError
from harness.stack.provision import host, maven
from harness.stack.provision.cache import cached, work_folder
from harness.stack.provision.fetch import fetch
from harness.stack.provision.trust import trust_store

OPENSEARCH = ["opensearch"]


@pytest.fixture
def fakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeRegistry:
    """Fake apt, Java and Maven on PATH, on a fake Debian 12."""
    found = fake_registry.build(tmp_path / "fakes")
    monkeypatch.setenv("PATH", found.environment["PATH"])
    monkeypatch.setenv("FAKES", str(found.folder))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setattr(host, "OS_RELEASE", found.folder / "os-release")
    monkeypatch.setattr(maven, "BESIDE", found.folder / "beside")
    return found


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """An empty cache."""
    return tmp_path / "cache"


def hide(monkeypatch: pytest.MonkeyPatch, *programs: str) -> None:
    """A host without these programs, whatever this one has."""
    real = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name in programs else real(name))


async def test_it_is_complete_and_starts_wherever_the_cache_is_moved(
    fakes: FakeRegistry, cache: Path, tmp_path: Path
) -> None:
    """Jars, runtime, record of classes and launcher; the launcher names everything relative to the root."""
    found = (await fetch(OPENSEARCH, cache, silent))["opensearch"]
    assert (found.version, found.source, found.environment) == ("2.19.5", "maven", {})
    names = sorted(path.name for path in Path(found.root).iterdir())
    assert names == ["bin", "classes.jsa", "java", "lib", "node.jar"]
    moved = tmp_path / "elsewhere"
    shutil.move(cache, moved)
    root = moved / "artifacts/opensearch/root"
    environment = {**fakes.environment, "OPENSEARCH_JAVA_OPTS": "-Xmx77m", "TMPDIR": "/own/tmp"}
    said = output_of(str(root / "bin/opensearch"), "/home", "http.port=1", environment=environment)
    assert f"in {root}\n" in said
    for words in (
        "-XX:SharedArchiveFile=classes.jsa",
        "-Djava.io.tmpdir=/own/tmp",
        "-Xmx77m -cp node.jar OpenSearchNode /home http.port=1",
    ):
        assert words in said


async def test_the_jar_names_its_class_path_in_lines_that_java_can_read(fakes: FakeRegistry, cache: Path) -> None:
    """Every jar is on it, no line has more than 72 bytes, and unfolded it reads as it should."""
    jars = [f"a-rather-long-name-of-a-jar-{number}.jar" for number in range(9)]
    for old in (fakes.folder / "jars").iterdir():
        old.unlink()
    for jar in jars:
        (fakes.folder / "jars" / jar).write_text("x")
    digest = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    (fakes.folder / "beside/opensearch.sha256").write_text("".join(f"{digest}  {jar}\n" for jar in jars))
    found = (await fetch(OPENSEARCH, cache, silent))["opensearch"]
    with zipfile.ZipFile(Path(found.root, "node.jar")) as jar_file:
        manifest = jar_file.read("META-INF/MANIFEST.MF")
        assert "OpenSearchNode.class" in jar_file.namelist()
    assert all(len(line) <= 72 for line in manifest.split(b"\r\n"))
    assert "Class-Path: " + " ".join(f"lib/{jar}" for jar in jars) in manifest.replace(b"\r\n ", b"").decode()


async def test_maven_keeps_the_users_settings_and_writes_only_into_the_cache(
    fakes: FakeRegistry, cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """HOME (and with it settings.xml) and MAVEN_OPTS pass through; repository and temporary files are ours."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MAVEN_OPTS", "-Dhttps.proxyHost=proxy.example")
    monkeypatch.setenv("MAVEN_HOME", "/somebody/elses")
    await fetch(OPENSEARCH, cache, silent)
    seen = dict(line.partition("=")[::2] for line in (fakes.folder / "mvn-environment").read_text().splitlines())
    assert seen["HOME"] == str(tmp_path / "home")
    assert seen["MAVEN_OPTS"].startswith("-Dhttps.proxyHost=proxy.example ")
    assert f"-Djava.io.tmpdir={cache}/" in seen["MAVEN_OPTS"]
    assert seen["JAVA_HOME"] == str(fakes.folder / "jdk")
    assert "MAVEN_HOME" not in seen
    arguments = (fakes.folder / "mvn-arguments").read_text()
    assert f"-Dmaven.repo.local={cache}/" in arguments
    assert "--strict-checksums" in arguments
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        ("changed", "one-1.0.jar"),
        ("cut", "one-1.0.jar"),
        ("missing", "two-2.0.jar"),
        ("more", "three-3.0.jar"),
    ],
)
async def test_jars_that_are_not_ours_are_never_published(
    fakes: FakeRegistry, cache: Path, spoil: str, expected: str
) -> None:
    """Changed, cut off, missing or more than there should be: the jar is named, and nothing of it is kept."""
    jars = fakes.folder / "jars"
    good = (jars / "one-1.0.jar").read_text()
    match spoil:
        case "changed":
            (jars / "one-1.0.jar").write_text(good.swapcase())
        case "cut":
            (jars / "one-1.0.jar").write_text(good[:-1])
        case "missing":
            (jars / "two-2.0.jar").rename(jars / "two.aside")
        case "more":
            (jars / "three-3.0.jar").write_text("x")
    with pytest.raises(ProvisionError, match=re.escape(expected)) as caught:
        await fetch(OPENSEARCH, cache, silent)
    assert caught.value.hint
    assert cached(OPENSEARCH, cache) is None
    assert not work_folder(cache).exists()


@pytest.mark.parametrize(
    ("mood", "said", "expected", "sentence"),
    [
        ("mvn", "[ERROR] repo.example: Unknown host repo.example", Offline, "cannot be reached"),
        (
            "mvn",
            "[ERROR] Connect to repo.example:443 [repo.example/10.0.0.1] failed: timed out",
            Offline,
            "cannot be re",
        ),
        ("mvn", "[ERROR] Checksum validation failed, expected 1 but is 2", ProvisionError, "arrived damaged"),
        ("mvn", "[ERROR] Premature end of Content-Length delimited message body", ProvisionError, "arrived damaged"),
        ("mvn", "[ERROR] Could not find artifact org.opensearch:opensearch", ProvisionError, "cannot be brought"),
        ("mvn", "java.io.IOException: No space left on device", DiskFull, "no room is left"),
        ("javac", "OpenSearchNode.java:1: error: ';' expected", BuildError, "does not compile"),
        ("jlink", "Error: java.lang.module.FindException", BuildError, "does not link a runtime"),
        ("rehearsal", "OpenSearch does not start: x", BuildError, "cannot be started to record"),
    ],
)
async def test_a_bad_day_is_told_as_what_it_is(
    fakes: FakeRegistry, cache: Path, mood: str, said: str, expected: type[ProvisionError], sentence: str
) -> None:
    """One error each, in the program's own words, nothing half made left, and a good day afterwards works."""
    fakes.mood(mood, said + "\n")
    with pytest.raises(ProvisionError, match=sentence) as caught:
        await fetch(OPENSEARCH, cache, silent)
    assert type(caught.value) is expected
    assert said in caught.value.output
    assert not work_folder(cache).exists()
    fakes.calm(mood)
    assert set(await fetch(OPENSEARCH, cache, silent)) == {"opensearch"}


async def test_a_rehearsal_that_records_nothing_is_told(fakes: FakeRegistry, cache: Path) -> None:
    """A program that ends well and leaves no archive would start slowly for ever after."""
    fakes.mood("no-archive")
    with pytest.raises(BuildError, match="no record of its classes"):
        await fetch(OPENSEARCH, cache, silent)


@pytest.mark.parametrize(
    ("hidden", "version", "unpacked"),
    [
        ((), "17", False),
        ((), "21", False),
        ((), "11", True),
        ((), "25", True),
        ((), "nonsense", True),
        (("java",), "17", True),
        (("mvn",), "17", True),
        (("java", "mvn"), "17", True),
    ],
)
async def test_what_the_host_lacks_is_unpacked_for_the_build(
    fakes: FakeRegistry,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    hidden: tuple[str, ...],
    version: str,
    unpacked: bool,
) -> None:
    """No Java, no Maven, or a Java of another age: they come from apt, and are not kept."""
    hide(monkeypatch, *hidden)
    fakes.java_is(version)
    await fetch(OPENSEARCH, cache, silent)
    assert any(line.startswith("apt-get download") for line in fakes.calls) is unpacked
    assert sorted(path.name for path in (cache / "artifacts").iterdir()) == OPENSEARCH
    # An unpacked JDK trusts nobody until it is told whom; the host's own knows by itself.
    own_java = "java" not in hidden and version in {"17", "21"}
    assert ("-Djavax.net.ssl.trustStore=" in (fakes.folder / "mvn-environment").read_text()) is not own_java


async def test_a_runtime_without_a_compiler_is_no_jdk(fakes: FakeRegistry, cache: Path) -> None:
    """A host with a JRE alone gets a JDK unpacked."""
    (fakes.folder / "jdk/bin/javac").unlink()
    await fetch(OPENSEARCH, cache, silent)
    assert any(line.startswith("apt-get download") for line in fakes.calls)


async def test_neither_java_nor_apt_is_told(fakes: FakeRegistry, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing can be unpacked either, the sentence says what is missing."""
    hide(monkeypatch, "java", "mvn", "apt-get")
    with pytest.raises(ProvisionError, match="no apt"):
        await fetch(OPENSEARCH, cache, silent)


async def test_killed_in_a_download_the_next_start_finishes(fakes: FakeRegistry, cache: Path) -> None:
    """A kill -9 leaves no child of Maven's and nothing half made; the next start brings it."""
    fakes.mood("mvn-hangs")
    with start(*fake_registry.script(fakes, cache, *OPENSEARCH), environment=fakes.environment) as harness:
        await eventually(lambda: len(fakes.pids) >= 2)
        harness.kill()
    await eventually(lambda: not any(alive(pid) for pid in fakes.pids))
    assert cached(OPENSEARCH, cache) is None
    fakes.calm("mvn-hangs")
    assert set(await fetch(OPENSEARCH, cache, silent)) == {"opensearch"}


def test_the_trust_store_holds_what_the_host_trusts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many certificates as the bundle that the user named; readable with the password alone."""
    bundle = tmp_path / "own.pem"
    import certifi

    whole = Path(certifi.where()).read_text()
    ones = re.findall(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", whole, re.DOTALL)
    bundle.write_text("\n".join(ones[:3]))
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    password = trust_store(tmp_path / "trust")
    found = load_pkcs12((tmp_path / "trust").read_bytes(), password.encode())
    assert len(found.additional_certs) == 3
    with pytest.raises(ValueError, match="password"):
        load_pkcs12((tmp_path / "trust").read_bytes(), b"another")
