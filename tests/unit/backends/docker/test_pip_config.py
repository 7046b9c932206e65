"""The settings of the host that pip in a container uses."""

from __future__ import annotations

from pathlib import Path

from smsweep.backends.docker.requirements_image import MOUNT, host_settings


def test_only_proxy_and_pip_variables_are_passed(tmp_path: Path) -> None:
    environ = {
        "https_proxy": "http://proxy:3128",
        "NO_PROXY": "localhost",
        "PIP_INDEX_URL": "https://index/simple",
        "HOME": str(tmp_path),
        "PRIVATE": "yes",
        "PIP_CONFIG_FILE": "/dev/null",
    }
    assert host_settings(environ).environ == {
        "https_proxy": "http://proxy:3128",
        "NO_PROXY": "localhost",
        "PIP_INDEX_URL": "https://index/simple",
    }


def test_ca_bundle_is_mounted(tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.touch()
    settings = host_settings({"SSL_CERT_FILE": str(bundle), "PIP_CONFIG_FILE": "/dev/null"})
    assert settings.environ == {"SSL_CERT_FILE": f"{MOUNT}{bundle}"}
    (bind,) = settings.binds
    assert (bind.source, bind.target, bind.is_read_only) == (bundle, f"{MOUNT}{bundle}", True)


def test_missing_file_is_not_mounted() -> None:
    settings = host_settings({"SSL_CERT_FILE": "/no/such.pem", "PIP_CONFIG_FILE": "/dev/null"})
    assert (settings.environ, settings.binds) == ({"SSL_CERT_FILE": "/no/such.pem"}, ())


def test_variables_override_the_config_file_and_install_overrides_global(tmp_path: Path) -> None:
    config = tmp_path / "pip" / "pip.conf"
    config.parent.mkdir()
    config.write_text(
        "[global]\ntimeout = 10\nretries = 1\nno-index = true\n[install]\nretries = 2\nno-deps = true\n"
    )
    environ = {"XDG_CONFIG_HOME": str(tmp_path), "HOME": str(tmp_path), "PIP_TIMEOUT": "30"}
    found = host_settings(environ).environ
    assert {key: found[key] for key in ("PIP_TIMEOUT", "PIP_RETRIES", "PIP_NO_INDEX", "PIP_NO_DEPS")} == {
        "PIP_TIMEOUT": "30",
        "PIP_RETRIES": "2",
        "PIP_NO_INDEX": "true",
        "PIP_NO_DEPS": "true",
    }


def test_install_locations_are_not_passed(tmp_path: Path) -> None:
    environ = {"PIP_TARGET": "/x", "PIP_CACHE_DIR": "/y", "PIP_USER": "1", "PIP_CONFIG_FILE": "/dev/null"}
    assert host_settings(environ).environ == {}


def test_index_on_loopback_needs_the_hosts_network() -> None:
    loopback = {"PIP_INDEX_URL": "http://127.0.0.1:3141/simple", "PIP_CONFIG_FILE": "/dev/null"}
    remote = {"PIP_INDEX_URL": "http://index/simple", "PIP_CONFIG_FILE": "/dev/null"}
    assert host_settings(loopback).needs_host_network
    assert not host_settings(remote).needs_host_network


def test_paths_with_spaces_and_paths_below_home_are_mounted(tmp_path: Path) -> None:
    bundle, wheels = tmp_path / "my ca" / "ca.pem", tmp_path / "wheels"
    bundle.parent.mkdir()
    bundle.touch()
    wheels.mkdir()
    environ = {"PIP_CERT": str(bundle), "PIP_FIND_LINKS": "~/wheels https://more", "HOME": str(tmp_path)}
    settings = host_settings({**environ, "PIP_CONFIG_FILE": "/dev/null"})
    assert settings.environ == {
        "PIP_CERT": f"{MOUNT}{bundle}",
        "PIP_FIND_LINKS": f"{MOUNT}{wheels} https://more",
    }
    assert {bind.source for bind in settings.binds} == {bundle, wheels}


def test_proxy_on_loopback_needs_the_hosts_network() -> None:
    off = {"PIP_CONFIG_FILE": "/dev/null", "HOME": "/nonexistent"}
    assert host_settings({**off, "HTTPS_PROXY": "http://127.0.0.1:3128"}).needs_host_network
    assert host_settings({**off, "https_proxy": "localhost:3128"}).needs_host_network
    assert host_settings({**off, "PIP_PROXY": "user:word@localhost:3128"}).needs_host_network
    assert not host_settings({**off, "HTTPS_PROXY": "proxy:3128", "NO_PROXY": "localhost"}).needs_host_network
