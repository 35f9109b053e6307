"""Settings: what is misspelt or unusable stops the start, and no message shows a secret."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from gitopsd.errors import PermanentError
from gitopsd.settings import Settings, load_settings, names

SECRET = "postgresql://gitopsd:a-made-up-password@db.example/gitopsd"


def test_nothing_set_gives_a_product_on_one_machine() -> None:
    """Without any variable everything has a default, whatever else is in the environment."""
    settings = load_settings({"PATH": "/bin", "HOME": "/"})

    assert isinstance(settings, Settings)
    assert settings.listen == "127.0.0.1:8080"
    assert settings.database_url.get_secret_value() == ""


def test_what_is_given_is_read() -> None:
    """Plain, nested and timed values, in any case of letters."""
    settings = load_settings(
        {
            "GITOPSD_DATA_DIR": "/srv/gitopsd",
            "gitopsd_listen": "0.0.0.0:80",
            "GITOPSD_GIT__ALLOW_LOCAL": "true",
            "GITOPSD_GIT__DEADLINE": "1.5m",
            "GITOPSD_RETENTION": "30d",
            "GITOPSD_GITHUB__BASE_URL": "https://github.example/api/v3",
            "GITOPSD_DATABASE_URL": SECRET,
        }
    )

    assert settings.data_dir == Path("/srv/gitopsd")
    assert settings.listen == "0.0.0.0:80"
    assert settings.git.allow_local
    assert settings.git.deadline == timedelta(seconds=90)
    assert settings.retention == timedelta(days=30)
    assert settings.github.base_url == "https://github.example/api/v3"
    assert settings.database_url.get_secret_value() == SECRET


def test_an_empty_value_is_as_good_as_none() -> None:
    """Charts and unit files set variables to nothing; that means the default."""
    settings = load_settings({"GITOPSD_ENCRYPTION_KEY_FILE": "", "GITOPSD_POLL_INTERVAL": ""})

    assert settings.encryption_key_file is None
    assert settings.poll_interval == timedelta(minutes=1)


@pytest.mark.parametrize(
    "text,seconds", [("250ms", 0.25), ("7s", 7), ("2m", 120), ("1h", 3600), ("1d", 86400)]
)
def test_spans_of_time(text: str, seconds: float) -> None:
    """Each unit is understood."""
    settings = load_settings({"GITOPSD_SWEEP_INTERVAL": text})

    assert settings.sweep_interval == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "given,message",
    [
        ({"GITOPSD_LISTN": "x"}, "there is no setting GITOPSD_LISTN; did you mean GITOPSD_LISTEN?"),
        (
            {"GITOPSD_GIT__ALOW_LOCAL": "1"},
            "there is no setting GITOPSD_GIT__ALOW_LOCAL; did you mean GITOPSD_GIT__ALLOW_LOCAL?",
        ),
        ({"GITOPSD_QQQQQQ": "1"}, "there is no setting GITOPSD_QQQQQQ; see docs/settings.md"),
        (
            {"GITOPSD_POLL_INTERVAL": "60"},
            (
                "setting GITOPSD_POLL_INTERVAL: '60' is no span of time; "
                "write 500ms, 60s, 5m, 2h or 1d. See docs/settings.md"
            ),
        ),
        (
            {"GITOPSD_GIT__DEADLINE": "0s"},
            "setting GITOPSD_GIT__DEADLINE: it must be longer than nothing. See docs/settings.md",
        ),
        (
            {"GITOPSD_RETENTION": "1d"},
            (
                "setting GITOPSD_RETENTION: keep at least 7d: gates, approvals and retries look "
                "back as far. See docs/settings.md"
            ),
        ),
        (
            {"GITOPSD_LOG_FORMAT": "xml"},
            "setting GITOPSD_LOG_FORMAT: Input should be 'json' or 'text'. See docs/settings.md",
        ),
    ],
)
def test_what_cannot_be_used_is_named_with_its_remedy(given: dict[str, str], message: str) -> None:
    """A misspelt variable or an unusable value stops the start and says what to write."""
    with pytest.raises(PermanentError) as refused:
        load_settings(given)

    assert str(refused.value) == message


def test_no_message_shows_what_a_variable_holds() -> None:
    """Neither a settings object nor an error quotes a password."""
    settings = load_settings({"GITOPSD_DATABASE_URL": SECRET, "GITOPSD_SENTRY__DSN": SECRET})
    with pytest.raises(PermanentError) as refused:
        load_settings({"GITOPSD_DATABASE_URL": SECRET, "GITOPSD_GIT__ALLOW_LOCAL": SECRET})

    assert "a-made-up-password" not in repr(settings)
    assert "a-made-up-password" not in str(refused.value)


def test_every_variable_has_our_prefix() -> None:
    """Names are what people write, nested ones with two underscores."""
    assert all(name.startswith("GITOPSD_") for name in names())
    assert "GITOPSD_VERIFY__ALLOW_LOOPBACK" in names()
    assert "GITOPSD_VERIFY" not in names()


@pytest.mark.parametrize(
    "url", ["slack.com", "ftp://slack.com", "https://", "https://a:b@slack.com/api", "https://h/?a"]
)
@pytest.mark.parametrize("name", ["PUBLIC_URL", "SLACK__BASE_URL", "GITHUB__BASE_URL"])
def test_addresses_that_are_none_stop_the_start(name: str, url: str) -> None:
    """Links and tokens go to addresses of HTTP; one with a password in it is refused unsaid."""
    with pytest.raises(PermanentError) as caught:
        load_settings({f"GITOPSD_{name}": url})
    assert f"GITOPSD_{name}" in str(caught.value)
    assert "a:b" not in str(caught.value)


def test_an_address_needs_no_slash_at_its_end() -> None:
    """With and without it means the same."""
    settings = load_settings({"GITOPSD_PUBLIC_URL": "https://gitopsd.example/"})
    assert settings.public_url == "https://gitopsd.example"
