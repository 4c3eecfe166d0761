"""Files: which is read, who wins, and secrets that lie in files of their own."""

from __future__ import annotations

import pytest

from relay.config import load
from relay.core.errors import ConfigError


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Run in an empty folder, and return it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path, text):
    """Write a file and return its path."""
    path.write_text(text, "utf-8")
    return path


def test_relay_toml_of_the_working_directory_is_read(folder):
    """Without --config, relay.toml counts where there is one."""
    assert load(environ={}).smtp.max_errors == 20
    write(folder / "relay.toml", "[smtp]\nmax_errors = 3\n")
    assert load(environ={}).smtp.max_errors == 3


def test_a_named_file_takes_its_place(folder):
    """With --config, relay.toml is not looked at."""
    write(folder / "relay.toml", "[smtp]\nmax_errors = 3\n")
    other = write(folder / "other.toml", "[smtp]\nmax_recipients = 5\n")
    smtp = load(other, {}).smtp
    assert (smtp.max_errors, smtp.max_recipients) == (20, 5)


def test_a_named_file_must_exist(folder):
    """A relay must not start with defaults because a path is misspelt."""
    with pytest.raises(ConfigError) as caught:
        load(folder / "nowhere.toml", {})
    assert str(caught.value) == (
        f"{folder}/nowhere.toml: cannot be read (No such file or directory); name a "
        "readable TOML file; config.example.toml shows every key"
    )


def test_environment_wins_key_by_key(folder):
    """The environment replaces single keys, not sections."""
    write(folder / "relay.toml", "[smtp]\nmax_errors = 3\nmax_recipients = 5\n")
    smtp = load(environ={"RELAY_SMTP__MAX_ERRORS": "4"}).smtp
    assert (smtp.max_errors, smtp.max_recipients) == (4, 5)


LOGIN = '[salesforce]\ninstance_url = "https://h.example"\nclient_id = "id"\n'


def test_secret_from_a_file(folder):
    """`client_secret_file` holds the secret; its last line break is not part of it."""
    secret = write(folder / "secret", " s3cret \r\n")
    write(folder / "relay.toml", f'{LOGIN}client_secret_file = "{secret}"\n')
    found = load(environ={}).salesforce.client_secret
    assert found is not None
    assert found.get_secret_value() == " s3cret "


def test_database_url_from_a_file(folder):
    """A database URL holds a password, and may come from a file as well."""
    url = write(folder / "url", "postgresql://relay:pw@h/d\n")
    assert load(environ={"RELAY_STORE__URL_FILE": str(url)}).store.url == (
        "postgresql://relay:pw@h/d"
    )


def test_secret_of_the_environment_beats_a_file_of_the_file(folder):
    """Order of the sources counts, not in which form the secret came."""
    write(folder / "relay.toml", f'{LOGIN}client_secret_file = "/nowhere"\n')
    with pytest.raises(ConfigError, match="client_secret_file"):
        load(environ={})
    secret = write(folder / "secret", "from file")
    write(folder / "relay.toml", f'{LOGIN}client_secret_file = "{secret}"\n')
    settings = load(environ={"RELAY_SALESFORCE__CLIENT_SECRET": "from environment"})
    found = settings.salesforce.client_secret
    assert found is not None
    assert found.get_secret_value() == "from environment"


def test_jwt_login_wants_a_key_that_can_be_read(folder):
    """User name and key file make a login; a missing file stops the start."""
    write(
        folder / "relay.toml",
        f'{LOGIN}username = "relay@corp.example"\nprivate_key_file = "key.pem"\n',
    )
    with pytest.raises(ConfigError, match=r"private_key_file = .*cannot be read"):
        load(environ={})
    write(folder / "key.pem", "-----BEGIN PRIVATE KEY-----\n")
    section = load(environ={}).require_salesforce()
    assert section.private_key_file is not None


def test_device_files_do_not_hang(folder):
    """An endless or huge file is refused instead of read for ever."""
    with pytest.raises(ConfigError, match="larger than"):
        load(environ={"RELAY_STORE__URL_FILE": "/dev/zero"})
