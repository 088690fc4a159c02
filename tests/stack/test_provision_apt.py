"""The real apt with private settings: what it keeps of the user's own, and what it must not do."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from fake_registry import output_of, silent

from harness.errors import Offline
from harness.stack.provision.apt import private_settings
from harness.stack.provision.cache import cached
from harness.stack.provision.fetch import fetch


def dump(tmp_path: Path, settings: str) -> list[str]:
    """Every setting that apt would go by, the user's own included, with these read last."""
    theirs = tmp_path / "user.conf"
    theirs.write_text(
        'Acquire::http::Proxy "http://proxy.example:3128";\n'
        'Acquire::https::CAInfo "/etc/own-ca.pem";\n'
        'Dir::State::lists "/var/lib/elsewhere/lists";\n'
        'APT::Update::Post-Invoke { "rm -rf /var/cache/apt/archives"; };\n'
        'AptCli::Hooks::Upgrade { "esm-hook"; };\n'
    )
    ours = tmp_path / "ours.conf"
    ours.write_text(settings)
    return subprocess.check_output(
        ["apt-config", "--config-file", ours, "dump"], text=True, env={**os.environ, "APT_CONFIG": str(theirs)}
    ).splitlines()


def test_the_users_settings_stay_and_hooks_of_the_system_do_not_run(tmp_path: Path) -> None:
    """Proxy and certificates are honoured; what would clean the system's own cache after an update is cleared."""
    settings = private_settings(tmp_path)
    seen = dump(tmp_path, settings)
    assert 'Acquire::http::Proxy "http://proxy.example:3128";' in seen
    assert 'Acquire::https::CAInfo "/etc/own-ca.pem";' in seen
    assert not [line for line in seen if "rm -rf" in line or "esm-hook" in line]
    hooks = "\n".join(line for line in settings.splitlines() if not line.startswith("#clear"))
    assert [line for line in dump(tmp_path, hooks) if "rm -rf" in line], "the hook would run without our settings"


def test_every_folder_that_apt_writes_to_is_private(tmp_path: Path) -> None:
    """Lists, packages, logs and the record of what is installed are ours; keys and credentials are the host's."""
    (tmp_path / "ours.conf").write_text(private_settings(tmp_path))
    written = ("Dir::State::lists", "Dir::State::status", "Dir::Cache::archives", "Dir::Cache::pkgcache", "Dir::Log")
    read = ("Dir::Etc::trustedparts", "Dir::Etc::netrc")
    for name in (*written, *read):
        shell = subprocess.check_output(
            ["apt-config", "--config-file", tmp_path / "ours.conf", "shell", "X", f"{name}/f"], text=True
        )
        assert (str(tmp_path) in shell) is (name in written), shell


async def test_the_real_apt_without_a_network_is_told_as_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy that the user set and nobody answers at: it is honoured, so nothing can be reached."""
    proxy = tmp_path / "proxy.conf"
    proxy.write_text(
        'Acquire::http::Proxy "http://127.0.0.1:9";\nAcquire::https::Proxy "http://127.0.0.1:9";\n'
        'Acquire::Retries "0";\n'
    )
    monkeypatch.setenv("APT_CONFIG", str(proxy))
    with pytest.raises(Offline, match="cannot be reached") as caught:
        await fetch(["redis"], tmp_path / "cache", silent)
    assert any("127.0.0.1:9" in line for line in caught.value.output)


@pytest.mark.network
async def test_real_packages_of_both_releases_are_brought_and_start(tmp_path: Path) -> None:
    """Redis with its libraries from the host's own release, an exporter from the newest; both start."""
    found = await fetch(["redis", "redis-exporter"], tmp_path / "cache", silent)
    redis = found["redis"]
    told = output_of(redis.programs["redis-server"], "--version", environment=redis.environment)
    assert f"v={redis.version} " in told
    assert found["redis-exporter"].programs["redis_exporter"].endswith("prometheus-redis-exporter")
    assert cached(["redis", "redis-exporter"], tmp_path / "cache") == found


@pytest.mark.network
@pytest.mark.nightly
async def test_alertmanager_is_built_on_a_host_without_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Go from the distribution, the newer toolchain by itself, the module built: two to three minutes."""
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    found = (await fetch(["alertmanager"], tmp_path / "cache", silent))["alertmanager"]
    for program in ("alertmanager", "amtool"):
        assert f"version {found.version} " in output_of(found.programs[program], "--version")
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == ["artifacts", "provision.lock"]
