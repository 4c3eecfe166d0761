"""Files: which is read, who wins, and secrets that lie in files of their own."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from relay.config import load
from relay.core.errors import ConfigError

RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Run in an empty folder, and return it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path, text):
    """Write a file and return its path."""
    path.write_text(text, "utf-8")
    return path


def write_key(path, key):
    """Write a private key as PEM."""
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


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
    write_key(folder / "key.pem", ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(ConfigError, match=r"private_key_file = .*no RSA private key"):
        load(environ={})
    write_key(folder / "key.pem", RSA_KEY)
    section = load(environ={}).require_salesforce()
    assert section.private_key_file is not None


def test_device_files_do_not_hang(folder):
    """An endless or huge file is refused instead of read for ever."""
    with pytest.raises(ConfigError, match="larger than"):
        load(environ={"RELAY_STORE__URL_FILE": "/dev/zero"})


def test_paths_in_a_file_are_taken_from_its_folder(folder):
    """The relay finds the same store and keys wherever it is started."""
    there = folder / "etc"
    there.mkdir()
    write_key(there / "key.pem", RSA_KEY)
    write(
        there / "relay.toml",
        '[store]\nurl = "sqlite:///data/relay.db?mode=rwc"\nspool = "big"\n'
        f'{LOGIN}username = "u"\nprivate_key_file = "key.pem"\n',
    )
    settings = load(there / "relay.toml", {})
    assert settings.store.url == f"sqlite:///{there}/data/relay.db?mode=rwc"
    assert settings.store.spool == there / "big"
    assert settings.salesforce.private_key_file == there / "key.pem"


def test_the_default_store_lies_beside_the_file(folder):
    """Leaving store.url out means what the example file says."""
    there = folder / "etc"
    there.mkdir()
    write(there / "relay.toml", "[smtp]\nmax_errors = 3\n")
    assert load(there / "relay.toml", {}).store.url == f"sqlite:///{there}/relay.db"
    assert load(environ={}).store.url == "sqlite:///relay.db"


def test_secrets_and_absolute_paths(folder):
    """A `_file` key is relative to the file as well; an absolute path stays."""
    there = folder / "etc"
    there.mkdir()
    write(there / "url", "sqlite:////var/lib/relay.db\n")
    write(there / "relay.toml", '[store]\nurl_file = "url"\nspool = "/var/spool"\n')
    store = load(there / "relay.toml", {}).store
    assert store.url == "sqlite:////var/lib/relay.db"
    assert str(store.spool) == "/var/spool"


def test_paths_in_the_environment_are_taken_from_here(folder):
    """A shell's user means the working directory, whatever file is read."""
    there = folder / "etc"
    there.mkdir()
    write(there / "relay.toml", 'store.url = "sqlite:///file.db"\n')
    environ = {"RELAY_STORE__URL": "sqlite:///here.db", "RELAY_STORE__SPOOL": "big"}
    store = load(there / "relay.toml", environ).store
    assert store.url == "sqlite:///here.db"
    assert str(store.spool) == "big"


def test_every_mistake_is_told(folder):
    """One line for the log, and a line for each for those who mend the file."""
    write(folder / "relay.toml", "[smtp]\nmax_errors = 0\nlisten = 7\n")
    with pytest.raises(ConfigError) as caught:
        load(environ={"RELAY_SMPT__LISTEN": "x", "RELAY_STORE__URL_FILE": "none"})
    first, *_ = problems = caught.value.problems
    assert str(caught.value) == f"{first} (and 3 more)"
    assert [problem.split(maxsplit=1)[0] for problem in problems] == [
        "RELAY_SMPT__LISTEN:",
        "store.url_file",
        "smtp.listen",
        "smtp.max_errors",
    ]
