"""Which of the host's settings pip in a container is given."""

from __future__ import annotations

from pathlib import Path

from smsweep.backends.docker.requirements_image import MOUNT, host_settings


def test_proxies_and_pip_variables_pass_and_nothing_else(tmp_path: Path) -> None:
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


def test_a_ca_bundle_is_shown_to_the_container_at_a_place_of_its_own(tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.touch()
    settings = host_settings({"SSL_CERT_FILE": str(bundle), "PIP_CONFIG_FILE": "/dev/null"})
    assert settings.environ == {"SSL_CERT_FILE": f"{MOUNT}{bundle}"}
    (bind,) = settings.binds
    assert (bind.source, bind.target, bind.is_read_only) == (bundle, f"{MOUNT}{bundle}", True)


def test_a_file_that_is_not_there_stays_as_it_is() -> None:
    settings = host_settings({"SSL_CERT_FILE": "/no/such.pem", "PIP_CONFIG_FILE": "/dev/null"})
    assert (settings.environ, settings.binds) == ({"SSL_CERT_FILE": "/no/such.pem"}, ())


def test_the_environment_wins_over_the_users_file_and_install_over_global(tmp_path: Path) -> None:
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


def test_where_things_go_on_this_machine_is_not_passed(tmp_path: Path) -> None:
    environ = {"PIP_TARGET": "/x", "PIP_CACHE_DIR": "/y", "PIP_USER": "1", "PIP_CONFIG_FILE": "/dev/null"}
    assert host_settings(environ).environ == {}


def test_an_index_on_the_loopback_needs_the_hosts_network() -> None:
    here = {"PIP_INDEX_URL": "http://127.0.0.1:3141/simple", "PIP_CONFIG_FILE": "/dev/null"}
    there = {"PIP_INDEX_URL": "http://index/simple", "PIP_CONFIG_FILE": "/dev/null"}
    assert host_settings(here).needs_host_network
    assert not host_settings(there).needs_host_network


def test_a_bundle_may_have_blanks_in_its_path_and_a_place_may_be_below_the_home(tmp_path: Path) -> None:
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


def test_a_proxy_on_this_machine_is_reached_from_its_own_network_with_a_scheme_or_without() -> None:
    off = {"PIP_CONFIG_FILE": "/dev/null", "HOME": "/nonexistent"}
    assert host_settings({**off, "HTTPS_PROXY": "http://127.0.0.1:3128"}).needs_host_network
    assert host_settings({**off, "https_proxy": "localhost:3128"}).needs_host_network
    assert host_settings({**off, "PIP_PROXY": "user:word@localhost:3128"}).needs_host_network
    assert not host_settings({**off, "HTTPS_PROXY": "proxy:3128", "NO_PROXY": "localhost"}).needs_host_network
