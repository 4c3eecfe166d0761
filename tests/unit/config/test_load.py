"""`load` from an environment alone: names, kinds of value, and error lines."""

from __future__ import annotations

import pytest

from relay.config import HostPort, Settings, load
from relay.config.sources import sections
from relay.core.errors import ConfigError


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    """Run where no relay.toml lies."""
    monkeypatch.chdir(tmp_path)


def line(**environ):
    """Return the error line that an environment gives."""
    with pytest.raises(ConfigError) as caught:
        load(environ={f"RELAY_{name}": value for name, value in environ.items()})
    text = str(caught.value)
    assert text.isprintable()
    return text


def test_nothing_set_gives_the_defaults():
    """Without file and environment, the settings are the defaults."""
    assert load(environ={}).model_dump() == Settings().model_dump()


def test_environment_converts_text():
    """Numbers, flags, lists and empty strings in the environment become values."""
    settings = load(
        environ={
            "RELAY_SMTP__LISTEN": "127.0.0.1:2525, [::1]:2525",
            "RELAY_SMTP__DOMAINS": '["a.example", "b.example"]',
            "RELAY_SMTP__REQUIRE_TLS": "no",
            "RELAY_SMTP__MAX_RECIPIENTS": "7",
            "RELAY_WORKER__POLL_S": "0.25",
            "RELAY_TELEMETRY__LISTEN": "",
            "RELAY_TELEMETRY__MASK_ADDRESSES": "1",
            "HOME": "/nowhere",
            "RELAYED": "no prefix",
        }
    )
    assert settings.smtp.listen == (HostPort("127.0.0.1", 2525), HostPort("::1", 2525))
    assert settings.smtp.domains == ("a.example", "b.example")
    assert settings.smtp.require_tls is False
    assert settings.smtp.max_recipients == 7
    assert settings.worker.poll_s == 0.25
    assert settings.telemetry.listen is None
    assert settings.telemetry.mask_addresses is True


def test_listeners_in_the_environment_are_json():
    """Tables in the environment are a JSON list of objects."""
    text = '[{"address": "unix:/run/lmtp.sock", "protocol": "lmtp"}]'
    settings = load(environ={"RELAY_SMTP__LISTENERS": text})
    (listener,) = settings.smtp.listeners
    assert str(listener.address) == "unix:/run/lmtp.sock"
    assert listener.protocol == "lmtp"
    assert [str(one.address) for one in settings.smtp.all_listeners()] == [
        "0.0.0.0:25",
        "unix:/run/lmtp.sock",
    ]


def test_an_ipv6_listener_is_no_json():
    """A list that starts with a bracket is still read with commas."""
    settings = load(environ={"RELAY_SMTP__LISTEN": "[::1]:25"})
    assert settings.smtp.listen == (HostPort("::1", 25),)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("SMPT__LISTEN", "RELAY_SMTP__LISTEN"),
        ("SMTP_LISTEN", "RELAY_SMTP__LISTEN"),
        ("SMTP__LISTENS", "RELAY_SMTP__LISTEN"),
        ("SALESFORCE__CLIENT_SECRTE", "RELAY_SALESFORCE__CLIENT_SECRET"),
    ],
)
def test_misspelt_names_are_mistakes(name, meant):
    """No name with our prefix is ignored, and its value is not shown."""
    assert line(**{name: "hush"}) == (
        f"RELAY_{name}: there is no such setting; write {meant}"
    )


def test_name_like_no_other():
    """A name that resembles nothing gets the rule."""
    assert line(QQQ="1") == (
        "RELAY_QQQ: there is no such setting; names are RELAY_SECTION__KEY as in "
        "config.example.toml, or unset it"
    )


def test_service_links_are_not_settings():
    """Kubernetes names its service links after a service called "relay"."""
    links = {
        "RELAY_SERVICE_HOST": "10.0.0.1",
        "RELAY_SERVICE_PORT_SMTP": "25",
        "RELAY_PORT": "tcp://10.0.0.1:25",
        "RELAY_PORT_25_TCP_ADDR": "10.0.0.1",
    }
    assert load(environ=links).model_dump() == Settings().model_dump()


def test_first_mistake_and_the_count_of_the_others():
    """One line, however much is wrong."""
    text = line(SMTP__MAX_ERRORS="many", WORKER__BATCH="0", MATCH__SEVERAL="some")
    assert text.count("; ") == 1
    assert text.endswith("(and 2 more)")


def test_no_secret_in_any_line():
    """A secret of the wrong kind, or beside its file, is masked."""
    lines = [
        line(STORE__URL="mysql://relay:hush@h/d"),
        line(SALESFORCE__PROXY="socks5://u:hush@h:1"),
        line(SALESFORCE__CLIENT_SECRET="hush", SALESFORCE__CLIENT_SECRET_FILE="/x"),
        line(SALESFORCE__INSTANCE_URL="https://h.example", SALESFORCE__CLIENT_ID=""),
    ]
    assert not [text for text in lines if "hush" in text]
    assert lines[0].startswith('store.url = "mysql://relay:***@h/d" ')


def test_control_characters_do_not_break_the_line():
    """A value with line breaks stays on one line."""
    assert "\n" not in line(SMTP__DOMAINS='["a\\nb"]')


def test_unset_salesforce_is_fine_until_it_is_needed():
    """`db upgrade` works without an org; `require_salesforce` names what is missing."""
    with pytest.raises(ConfigError, match=r"^salesforce\.instance_url \(not set\): "):
        load(environ={}).require_salesforce()


def complete(**more):
    """Return an environment with an org."""
    return {
        "RELAY_SALESFORCE__INSTANCE_URL": "https://acme.my.salesforce.com",
        "RELAY_SALESFORCE__CLIENT_ID": "id",
    } | {f"RELAY_SALESFORCE__{key}": value for key, value in more.items()}


def test_client_credentials_are_enough():
    """Instance, id and secret make a login."""
    settings = load(environ=complete(CLIENT_SECRET="s"))
    section = settings.require_salesforce()
    assert section.client_secret is not None
    assert section.client_secret.get_secret_value() == "s"


def test_an_org_without_credentials_is_a_mistake():
    """Once an instance is named, a login must be possible."""
    with pytest.raises(ConfigError, match=r"^salesforce\.client_secret \(not set\): "):
        load(environ=complete())


def test_domains_are_asked_for_when_needed():
    """A relay without a domain can have no relay address."""
    with pytest.raises(ConfigError, match=r"^smtp\.domains \(not set\): "):
        load(environ={}).require_domains()
    settings = load(environ={"RELAY_SMTP__DOMAINS": "log.example"})
    assert settings.require_domains() == ("log.example",)


def test_listeners_must_differ():
    """Two listeners on one address could not both start."""
    text = line(SMTP__LISTEN="127.0.0.1:25", TELEMETRY__LISTEN="127.0.0.1:25")
    assert text.startswith('telemetry.listen = "127.0.0.1:25" (from RELAY_TELEMETRY__')
    any_port = {"RELAY_SMTP__LISTEN": "h:0", "RELAY_TELEMETRY__LISTEN": "h:0"}
    assert load(environ=any_port).telemetry.listen == HostPort("h", 0)


def test_every_key_has_a_sentence():
    """Each key of the table says what it is for, and in which unit."""
    for section, model in sections(Settings).items():
        assert model.__doc__
        for key, field in model.model_fields.items():
            sentence = field.description or ""
            assert sentence.endswith("."), f"{section}.{key}"
            for suffix, unit in (
                ("_s", "seconds"),
                ("_bytes", "bytes"),
                ("_days", "days"),
            ):
                if key.endswith(suffix):
                    assert unit in sentence, f"{section}.{key}"


STABLE = (
    "smtp.listen smtp.hostname smtp.domains smtp.max_message_bytes "
    "smtp.tls_certificate smtp.tls_key smtp.require_tls store.url "
    "salesforce.instance_url salesforce.login_url salesforce.audience "
    "salesforce.proxy salesforce.client_id salesforce.client_secret "
    "salesforce.username salesforce.private_key_file salesforce.api_version "
    "salesforce.write_as salesforce.timeout_s salesforce.settle_s match.several "
    "web.listen telemetry.listen telemetry.log_format store.min_free_bytes "
).split()


@pytest.mark.parametrize("name", STABLE)
def test_stable_keys_stay(name):
    """Files of operators rely on these names."""
    section, _, key = name.partition(".")
    assert key in sections(Settings)[section].model_fields
