"""Settings from file and environment, and errors that carry no secret."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from archzero_lab.errors import LabError, SettingsError, mask_secrets, unknown_name
from archzero_lab.postgres.connection import connect_error, connection_parts, require_url
from archzero_lab.settings import load_settings, patient


def test_variables_override_the_file_which_overrides_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "archzero.toml"
    path.write_text('redis_url = "redis://a"\n[cache]\ntimeout_s = 1\n[pool]\nmax_size = 7\ncheck_before_use = false\n')
    settings = load_settings(path, {"ARCHZERO_REDIS_URL": "redis://b", "ARCHZERO_CACHE_TTL_LIST_S": "3"})
    assert settings.redis_url == "redis://b"
    assert settings.cache.timeout_s == 1.0
    assert settings.cache.ttl_list_s == 3.0
    assert settings.pool.max_size == 7
    assert settings.pool.check_before_use is False
    assert settings.cache.ttl_card_s == 3600.0


def test_the_pool_has_the_sizes_of_phase_5_and_an_experiments_arm_its_patience(tmp_path: Path) -> None:
    pool = load_settings(tmp_path / "none.toml", {}).pool
    assert (pool.max_size, pool.min_size, patient(pool).acquire_timeout_s) == (15, 5, 30.0)
    assert (pool.max_idle_s, pool.max_lifetime_s, pool.check_before_use) == (600.0, 1800.0, True)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("speed = 9", "speed is unknown; known: servers"),
        ("[cache]\nttl = 1", r"cache\.ttl is unknown"),
        ('[pool]\nmax_size = "many"', r"pool\.max_size = 'many' is not a int"),
        ("servers = 'cloud'", "use 'embedded' or 'system'"),
        ("= 3", "not valid TOML"),
        ("cache = 3", r"\[cache\] must be a table"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, content: str, told: str) -> None:
    path = tmp_path / "archzero.toml"
    path.write_text(content)
    with pytest.raises(SettingsError, match=told):
        load_settings(path, {})


def test_a_wrong_variable_is_named() -> None:
    with pytest.raises(SettingsError, match="ARCHZERO_CACHE_TIMEOUT_S = 'soon' is not a float"):
        load_settings(Path("none"), {"ARCHZERO_CACHE_TIMEOUT_S": "soon"})


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("postgresql://u:p4ss@h/d", "postgresql://u:***@h/d"),
        ("rediss://:p4ss@h:1/0 and redis://:x@y", "rediss://:***@h:1/0 and redis://:***@y"),
        ("http://127.0.0.1:80/a:b@c", "http://127.0.0.1:80/a:b@c"),
        ("postgresql://u:p@ss/w0rd:x@h:1/d?a=b", "postgresql://u:***@h:1/d?a=b"),
        ("'redis://:x@y', 'a@b'", "'redis://:***@y', 'a@b'"),
        ("host=h password = p4ss user=u", "host=h password = *** user=u"),
        (r"password=p4\ ss&'x host=h", "password=*** host=h"),
        ("cannot connect to host=h password=p4:ss: refused", "cannot connect to host=h password=***: refused"),
        (r"password='it\'s p4ss' host=h", "password=*** host=h"),
        (
            "postgresql://h/d?user=u&password=p4ss&sslmode=require",
            "postgresql://h/d?user=u&password=***",
        ),
        ("postgresql://h/d?sslpassword=p4ss", "postgresql://h/d?sslpassword=***"),
    ],
)
def test_passwords_in_urls_are_masked(text: str, masked: str) -> None:
    assert mask_secrets(text) == masked
    assert str(LabError(text)) == masked


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ('connection failed: connection to server at "::1", port 1 failed: Connection refused\n\tIs the server there?',
         "Connection refused"),
        ('connection to server at "h", port 5432 failed: FATAL:  password authentication failed for user "u"',
         'FATAL:  password authentication failed for user "u"'),
        ("failed to resolve host 'nowhere': [Errno -2] Name or service not known",
         "failed to resolve host 'nowhere': [Errno -2] Name or service not known"),
        ("connection timeout expired\nMultiple connection attempts failed. All failures were:\n"
         "- host: 'h', port: 1, hostaddr: '::1': connection timeout expired\n"
         "- host: 'h', port: 1, hostaddr: '127.0.0.1': connection to server failed: Connection refused\n\tIs it there?",
         "Connection refused"),
        ("", "OperationalError"),
    ],
)  # fmt: skip
def test_why_a_connection_was_refused_is_told_in_a_few_words(said: str, reason: str) -> None:
    error = connect_error("postgresql://u:p4ss@h/d", psycopg.OperationalError(said))
    assert str(error) == f"cannot connect to postgresql://u:***@h/d: {reason}; check the URL and that the server runs"


@pytest.mark.parametrize("text", ["postgres//u:p4ss@h/d", "u:p4ss@h/d", "p4ss", "postgresql://h/d?p4ss=1"])
def test_what_names_no_database_is_not_repeated(text: str) -> None:
    for check in (connection_parts, require_url):
        with pytest.raises(SettingsError, match=r"give it as postgresql://USER@HOST:PORT/NAME") as caught:
            check(text)
        assert "p4ss" not in str(caught.value)


def test_both_schemes_of_a_database_are_one() -> None:
    assert require_url("postgres://u@h/d") == require_url("postgresql://u@h/d") == "postgresql://u@h/d"


def test_an_unknown_name_lists_the_known_ones() -> None:
    assert str(unknown_name("claim", "x", ["a", "b"])) == "unknown claim 'x'; known: a, b"
