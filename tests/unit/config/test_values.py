"""Each kind of value takes what it should, and names what it refuses."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from relay.config import (
    HostPort,
    SalesforceSettings,
    Settings,
    SMTPSettings,
    StoreSettings,
    TelemetrySettings,
    WorkerSettings,
)
from relay.config.settings import UserSettings
from relay.config.sources import sections
from relay.config.values import is_loopback, masked_url
from relay.core.directory import Directory
from relay.core.mailboxes import may_send


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:2525", "127.0.0.1", 2525),
        ("[::1]:25", "::1", 25),
        ("mx.example.com:0", "mx.example.com", 0),
        (" localhost:65535 ", "localhost", 65535),
    ],
)
def test_listener_is_read_and_written(text, host, port):
    """`host:port` becomes its parts, and `str()` gives it back."""
    place = TelemetrySettings(listen=text).listen
    assert place == HostPort(host, port)
    assert str(place) == text.strip()


@pytest.mark.parametrize(
    "text",
    [
        "25",
        ":25",
        "::1:25",
        "[::1]",
        "[127.0.0.1]:25",
        "a b:25",
        "h:65536",
        "h:-1",
        "h:",
        "h:²",
        "http://h:25",
        "h:25:26",
        "*:25",
        "500.0.0.1:25",
        "10.0.0:25",
        "1:25",
        "10.0.0.01:25",
    ],
)
def test_what_is_no_listener(text):
    """Anything but one host and one port is refused."""
    with pytest.raises(ValidationError, match="host:port"):
        TelemetrySettings(listen=text)


def test_listen_takes_several_places():
    """`smtp.listen` is a list; objects and texts are both fine."""
    smtp = SMTPSettings(listen=[HostPort("::", 25), "0.0.0.0:25"])
    assert [str(place) for place in smtp.listen] == ["[::]:25", "0.0.0.0:25"]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("Log.Example.COM", "log.example.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("relay.test", "relay.test"),
        ("crm.localhost", "crm.localhost"),
        ("log.example.com.", "log.example.com"),
    ],
)
def test_domains_become_lower_case_ascii(given, kept):
    """Domains are kept in the form in which recipients are compared."""
    assert SMTPSettings(domains=[given]).domains == (kept,)


@pytest.mark.parametrize(
    "domain",
    ["", "@log.example.com", "10.0.0.1", "-a.example", "a..b", "a b", "a" * 64],
)
def test_what_is_no_domain(domain):
    """Addresses, IP addresses and broken names are refused."""
    with pytest.raises(ValidationError, match="not a domain"):
        SMTPSettings(domains=[domain])


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST", "sf.localhost", "127.0.0.1", "127.8.9.10", "::1"],
)
def test_loopback_hosts(host):
    """Only names and addresses that cannot leave the machine are loopback."""
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["localhost.example.com", "10.0.0.1", "0.0.0.0", "127.example.com", ""]
)
def test_hosts_that_only_look_like_loopback(host):
    """A host that another machine could answer for is not loopback."""
    assert not is_loopback(host)


LOGIN = {"client_id": "id", "client_secret": "s"}


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://acme.my.salesforce.com/", "https://acme.my.salesforce.com"),
        ("https://ACME.my.salesforce.com", "https://acme.my.salesforce.com"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_instance_is_kept_as_an_origin(given, kept):
    """Scheme and host remain; `http://` passes for loopback."""
    assert SalesforceSettings(instance_url=given, **LOGIN).instance_url == kept


@pytest.mark.parametrize(
    "url",
    [
        "acme.my.salesforce.com",
        "ftp://acme.example",
        "https://",
        "https://u:p@h.example",
        "https://h.example/services",
        "https://h.example?x=1",
        "https://h:port",
        "http://acme.my.salesforce.com",
        "http://10.0.0.1",
        "https://h.example\n",
    ],
)
def test_instance_that_is_refused(url):
    """Plain http to another machine, and whatever is no origin, is refused."""
    if url.endswith("\n"):
        assert SalesforceSettings(instance_url=url, **LOGIN).instance_url
        return
    with pytest.raises(ValidationError):
        SalesforceSettings(instance_url=url, **LOGIN)


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///relay.db",
        "sqlite:////var/lib/relay/relay.db",
        "postgresql://relay:pw@db.example:5432/relay",
        "postgresql:///relay",
    ],
)
def test_database_urls(url):
    """SQLite files and PostgreSQL databases are kept as written."""
    assert StoreSettings(url=url).url == url


@pytest.mark.parametrize(
    "url",
    [
        "relay.db",
        "mysql://h/d",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "postgresql://h",
        "postgresql://h:x/d",
        "",
    ],
)
def test_database_urls_that_are_refused(url):
    """Other databases, and memory, which loses mail, are refused."""
    with pytest.raises(ValidationError):
        StoreSettings(url=url)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://relay:pw@h/d", "postgresql://relay:***@h/d"),
        ("postgresql://relay@h/d", "postgresql://relay@h/d"),
        ("postgresql:///d?password=pw", "***"),
        ("http://u:p%40w@proxy:3128", "http://u:***@proxy:3128"),
        ("http://[::1", "***"),
        ("mysql:u:pw@h", "***"),
        ("sqlite:///relay.db", "sqlite:///relay.db"),
    ],
)
def test_passwords_in_urls_are_masked(url, shown):
    """People see where, and never the password."""
    assert masked_url(url) == shown


@pytest.mark.parametrize("value", ["30", True, -1, 0, float("nan"), float("inf"), None])
def test_seconds_are_positive_numbers(value):
    """Text, booleans, and numbers that are no duration are refused."""
    with pytest.raises(ValidationError):
        WorkerSettings(lease_s=value)


def test_blank_means_unset():
    """TOML has no null: an empty string stands for it where that is allowed."""
    salesforce = SalesforceSettings(
        instance_url="", proxy=" ", client_secret="", private_key_file=""
    )
    assert salesforce == SalesforceSettings()
    assert TelemetrySettings(listen="").listen is None
    assert SMTPSettings(hostname="").hostname == SMTPSettings().hostname


def test_secrets_do_not_show_in_repr():
    """Neither the client secret nor a database password can slip into a log."""
    salesforce = SalesforceSettings(client_secret="hush", proxy="http://u:hush@p:1")
    store = StoreSettings(url="postgresql://relay:hush@h/d")
    assert "hush" not in f"{salesforce!r} {salesforce} {store!r} {store}"


NUMBERS = [
    (model, key)
    for model in sections(Settings).values()
    for key, field in model.model_fields.items()
    if field.annotation in {int, float}
]


@pytest.mark.parametrize(
    ("model", "key"), NUMBERS, ids=lambda what: getattr(what, "__name__", what)
)
@pytest.mark.parametrize("number", [10**30, -1])
def test_every_number_has_bounds(model, key, number):
    """An absurd number stops the start, whatever it is for."""
    value = number * 1.0 if model.model_fields[key].annotation is float else number
    with pytest.raises(ValidationError, match=r"Input should be (less|greater) than"):
        model(**{key: value})


def test_numbers_are_found():
    """The test above looks at more than a handful of settings."""
    assert len(NUMBERS) > 40


def test_rules_for_addresses_are_kept_in_one_form():
    """Domain in its compared form, words in one order; a slip is named."""
    made = UserSettings(address_rules=("Bücher.example:dots plus", "x.example: plus"))
    assert made.address_rules == ("xn--bcher-kva.example: plus dots", "x.example: plus")
    for slip in ("x.example", "x.example: tags", "ada@x.example: plus", ": plus"):
        with pytest.raises(ValidationError):
            UserSettings(address_rules=(slip,))


def test_the_store_stands_before_the_rules_of_the_file():
    """The file's rules read a directory in which none were set at run time."""
    settings = Settings(user={"address_rules": ("corp.example: plus",)})
    lists = {1: frozenset({"ada@corp.example"})}
    read = settings.directory(Directory(1, {}, {}, lists, ()))
    assert may_send(read.accepted[1], "ada+x@corp.example")
    kept = Directory(1, {}, {}, lists, (), {"user.address_rules": []})
    assert settings.directory(kept) is kept
    assert settings.directory(read) is read
