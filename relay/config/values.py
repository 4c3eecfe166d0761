"""The kinds of value a setting can have, each with its check and its hint.

A check that fails raises `mistake(problem, hint)`; `load` puts key, value and source in
front of it. Numbers and booleans are strict, so that `timeout_s = "30"` in a file is
named as the slip it is; the environment, where everything is text, is converted before
(`sources`). An empty string means "not set" wherever a setting may be unset, because
TOML has no null.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import SplitResult, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
)
from pydantic_core import PydanticCustomError

from relay.core.addresses import domain_key, fold_ascii
from relay.core.bodies import BodyMode, read_body_rule
from relay.core.free_mail import is_free_mail
from relay.core.mailboxes import read_rule

_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_BASE_PATH: Final = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+")
OWN_PATHS: Final = (
    *("account", "alerts", "api", "assets", "diagnostics", "history", "log"),
    *("messages", "people", "relay.vcf", "release", "reminders", "settings"),
    *("sign-in", "sign-out", "unmatched"),
)
"""How the paths of the web listener begin."""
_MAX_DOMAIN: Final = 253
"""Longest domain that fits RFC 1035 section 2.3.4, without the last dot."""
_MAX_PORT: Final = 65535
_UNIX: Final = "unix:"
_MAX_UNIX_PATH: Final = 107
"""Bytes of a Unix socket's path (unix(7), sun_path without its NUL)."""
_MOST: Final = 10**15
"""A count or a size in bytes above this is a slip: no disk is so large."""
_MOST_DAYS: Final = 36_500
_YEAR_S: Final = 365 * 86_400
_ADDRESS_RULE_HINT: Final = (
    'write it like "corp.example.com: plus", "…: plus dots" or "…: alias corp.com"'
)
_BODY_RULE_HINT: Final = (
    'write it like "bank.example.com: headers" or "kim@acme.com: subject"; the words '
    f"are {', '.join(BodyMode)}"
)
_HOST_PORT_HINT: Final = 'write host:port, such as "0.0.0.0:25" or "[::1]:25"'

DENIED_FILES: Final = (
    *(".exe", ".com", ".scr", ".msi", ".bat", ".cmd", ".ps1", ".vbs", ".js", ".jse"),
    *(".wsf", ".hta", ".lnk", ".jar", ".reg", ".p7s", "application/pgp-signature"),
)
"""Programs, which mail carries for no good reason, and signatures, which are noise."""

_MEDIA_TYPE: Final = re.compile(
    r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/(?:\*|[a-z0-9][a-z0-9!#$&^_.+-]{0,126})"
)
_ENDING: Final = re.compile(r"\.[^\s./\\:*?\"<>|,]{1,20}")

MIB: Final = 1024 * 1024
_SHORTEST_KEY: Final = 32


class Section(BaseModel):
    """One table of the file; unknown keys are mistakes."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=False
    )


class Secret:
    """Marks a setting whose value is masked, and may come from `<key>_file` instead."""


def mistake(problem: str, hint: str, *, key: str | None = None) -> PydanticCustomError:
    """Return the error that `load` turns into a line.

    `key` names a setting of the section where the check belongs to the whole section.
    """
    context: dict[str, Any] = {"problem": problem, "hint": hint}
    if key is not None:
        context["key"] = key
    return PydanticCustomError("relay_mistake", "{problem}; {hint}", context)


# ------------------------------------------------------------------ listeners


@dataclass(frozen=True, slots=True)
class HostPort:
    """Where to listen. Port 0 is any free port; `str()` gives `host:port` again."""

    host: str
    port: int

    def __str__(self) -> str:
        """Return `host:port`, with an IPv6 address in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def _host_port(value: object) -> HostPort:
    """Read `host:port`; the host is a name, an IPv4 address or `[IPv6]`."""
    if isinstance(value, HostPort):
        return value
    if not isinstance(value, str):
        raise mistake("is not host:port", _HOST_PORT_HINT)
    host, colon, port = value.strip().rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        known = _ip_version(host) == 6  # noqa: PLR2004 - IPv6
    else:
        # Digits behind the last dot are an IPv4 address or a slip, and no name that
        # DNS should be asked for (RFC 3696 section 2).
        numeric = host.rpartition(".")[2].isdigit()
        known = _ip_version(host) == 4 if numeric else is_domain(fold_ascii(host))  # noqa: PLR2004 - IPv4
    if not (colon and known):
        raise mistake("is not host:port", _HOST_PORT_HINT)
    if not (port.isascii() and port.isdigit() and int(port) <= _MAX_PORT):
        raise mistake("has no port between 0 and 65535", _HOST_PORT_HINT)
    return HostPort(host, int(port))


@dataclass(frozen=True, slots=True)
class UnixPath:
    """A Unix socket to listen on; `str()` gives `unix:/path` again."""

    path: Path

    def __str__(self) -> str:
        """Return `unix:/path`."""
        return f"{_UNIX}{self.path}"


Place = HostPort | UnixPath


def _place(value: object) -> Place:
    """Read `host:port` or `unix:/path`."""
    if isinstance(value, UnixPath):
        return value
    if not (isinstance(value, str) and value.strip().startswith(_UNIX)):
        return _host_port(value)
    path = Path(value.strip().removeprefix(_UNIX))
    if not path.is_absolute():
        hint = 'write it like "unix:/run/relay/lmtp.sock"'
        raise mistake("names no absolute path", hint)
    if len(bytes(path)) > _MAX_UNIX_PATH:
        raise mistake(
            f"is longer than {_MAX_UNIX_PATH} bytes", "take a shorter path (unix(7))"
        )
    return UnixPath(path)


IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


def _network(value: object) -> IPNetwork:
    """Read an address or a network; host bits must be zero, or a digit is missing."""
    if isinstance(value, ipaddress.IPv4Network | ipaddress.IPv6Network):
        return value
    try:
        if isinstance(value, str):
            return ipaddress.ip_network(value.strip())
    except ValueError:
        pass
    hint = 'write an address or a network, such as "10.0.0.0/24" or "fd00::/64"'
    raise mistake("is no network", hint)


def _socket_mode(value: str) -> str:
    if not re.fullmatch(r"0?[0-7]{3}", value):
        raise mistake("is no file mode", 'write three octal digits, such as "660"')
    return value


def _ip_version(text: str) -> int | None:
    try:
        return ipaddress.ip_address(text).version
    except ValueError:
        return None


# ------------------------------------------------------------------ domains


def is_domain(text: str) -> bool:
    """Say whether a text is a lower-case ASCII host name or domain."""
    return len(text) <= _MAX_DOMAIN and _DOMAIN.fullmatch(text) is not None


def _domain(value: str) -> str:
    """Return the domain in lower-case ASCII; names reserved for tests are fine."""
    domain = domain_key(value.strip())
    if _ip_version(domain) is not None or not is_domain(domain):
        raise mistake(
            "is not a domain",
            'write the part after the @ of a relay address, such as "log.example.com"',
        )
    return domain


def _host_name(value: str) -> str:
    name = domain_key(value.strip())
    if not is_domain(name):
        raise mistake(
            "is not a host name",
            'write a name that DNS knows, such as "mx.example.com"',
        )
    return name


def _internal_domain(value: str) -> str:
    text = value.strip().lower()
    domain = domain_key(text.removeprefix("*@"))
    if text == "auto":
        return text
    if not is_domain(domain) or _ip_version(domain) is not None:
        hint = 'write a domain, such as "corp.example.com", or "auto"'
        raise mistake("is not a domain", hint)
    if is_free_mail(domain):
        raise mistake(
            "is a domain of free mail: no customer there would be found",
            "leave it out; the users' own addresses there are left out of the log "
            "without it",
        )
    return domain


def _address_rule(value: str) -> str:
    try:
        rule = read_rule(value)
    except ValueError:
        raise mistake("is no rule for addresses", _ADDRESS_RULE_HINT) from None
    if not is_domain(rule.domain):
        raise mistake("has no domain before the colon", _ADDRESS_RULE_HINT)
    if rule.alias and not is_domain(rule.alias):
        raise mistake("has no domain behind alias", _ADDRESS_RULE_HINT)
    return str(rule)


def _body_rule(value: str) -> str:
    try:
        key, mode = read_body_rule(value)
    except ValueError:
        raise mistake("is no rule for bodies", _BODY_RULE_HINT) from None
    return f"{key}: {mode}"


# ------------------------------------------------------------------ URLs


def is_loopback(host: str) -> bool:
    """Say whether a host can only be this machine."""
    host = host.rstrip(".").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _split(value: str) -> SplitResult | None:
    """Split a URL with scheme and host; None for what is no such URL."""
    try:
        parts = urlsplit(value)
        _ = parts.port  # raises for a port that is no number
    except ValueError:
        return None
    plain = value.isascii() and value.isprintable() and " " not in value
    return parts if plain and parts.scheme and parts.hostname else None


def _https_origin(value: str) -> str:
    """Return scheme and host of a Salesforce URL; `http://` for loopback hosts only.

    Credentials travel there, so that a plain-text connection over a network is refused.
    """
    hint = 'write it like "https://example.my.salesforce.com"'
    parts = _split(value.strip())
    if parts is None or parts.scheme not in {"http", "https"}:
        raise mistake("is not an https:// address", hint)
    if parts.username is not None or parts.password is not None:
        raise mistake("has a user name in it", hint)
    if parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise mistake("has more than a host", hint)
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise mistake("http:// is for loopback hosts only", "write https://")
    return f"{parts.scheme}://{parts.netloc.lower()}"


def _base_path(value: str) -> str:
    """Return the path below which the pages are reached, without a slash at its end."""
    path = value.strip().rstrip("/")
    if path and not _BASE_PATH.fullmatch(path):
        raise mistake(
            "is no path of a URL", 'write it like "/relay", or leave it empty'
        )
    if path and path.split("/")[1] in OWN_PATHS:
        # A proxy may take the base path off or leave it: both must be told apart.
        raise mistake(
            f"begins as a page of the relay itself, /{path.split('/')[1]}, does",
            'write another, such as "/relay"',
        )
    return path


def _proxy(value: str) -> str:
    value = value.strip()
    parts = _split(value)
    if parts is None or parts.scheme not in {"http", "https"}:
        raise mistake(
            "is not a proxy address", 'write it like "http://proxy.example.com:3128"'
        )
    return value


def _store_url(value: str) -> str:
    """Check the scheme and that a database is named; the store reads the rest."""
    hint = 'write "sqlite:///relay.db" or "postgresql://user@host/database"'
    value = value.strip()
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        raise mistake("is not a database URL", hint) from None
    if parts.scheme == "sqlite":
        name = value.removeprefix("sqlite:///")
        if name == value or not name or name.startswith("?"):
            raise mistake("names no database file", hint)
        if name.startswith(":memory:"):
            raise mistake("would lose every mail at a restart", "name a file")
    elif parts.scheme == "postgresql":
        if len(parts.path) < 2:  # noqa: PLR2004 - a slash and a name
            raise mistake("names no database", hint)
    else:
        raise mistake("is neither SQLite nor PostgreSQL", hint)
    return value


def masked_url(url: str) -> str:
    """Return a URL for people: without its password, or `***` where that is unsure."""
    try:
        parts = urlsplit(url)
        secret = parts.password is not None
    except ValueError:
        return "***"
    if "password" in parts.query.lower():
        return "***"
    if not secret:
        return "***" if "@" in url and not parts.netloc else url
    head, _, host = parts.netloc.rpartition("@")
    user = head.partition(":")[0]
    return parts._replace(netloc=f"{user}:***@{host}").geturl()


# ------------------------------------------------------------------ files, text


def _readable(path: Path) -> Path:
    """Check that a file can be read, now rather than at the first mail."""
    try:
        with path.open("rb") as file:
            file.read(1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a file name"
        raise mistake(
            f"cannot be read ({reason})", "check the path, and who may read the file"
        ) from error
    return path


def is_rsa_key(path: Path) -> bool:
    """Say whether a file is a PEM private key, not encrypted, that signs RS256."""
    # Only who logs in with a key pays for the library.
    from cryptography.hazmat.primitives.asymmetric.rsa import (  # noqa: PLC0415
        RSAPrivateKey,
    )
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
        load_pem_private_key,
    )

    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except Exception:  # noqa: BLE001 - whatever it is, it cannot sign
        return False
    return isinstance(key, RSAPrivateKey)


def _blank_is_unset(value: object) -> object:
    return None if isinstance(value, str) and not value.strip() else value


def _text(value: str) -> str:
    value = value.strip()
    if not value.isprintable():
        raise mistake("holds control characters", "write it on one line")
    return value


Unset = BeforeValidator(_blank_is_unset)
"""An empty string is None."""

# An error from inside a before-validator keeps the position in a list, as wanted.
Listener = Annotated[HostPort, BeforeValidator(_host_port)]
OptionalListener = Annotated[Listener | None, Unset]
ListenerPlace = Annotated[Place, BeforeValidator(_place)]
Network = Annotated[IPNetwork, BeforeValidator(_network)]
SocketMode = Annotated[str, AfterValidator(_socket_mode)]
Domain = Annotated[str, AfterValidator(_domain)]
BodyRule = Annotated[str, AfterValidator(_body_rule)]
AddressRule = Annotated[str, AfterValidator(_address_rule)]
InternalDomain = Annotated[str, AfterValidator(_internal_domain)]
HostName = Annotated[str, AfterValidator(_host_name)]
Origin = Annotated[str, AfterValidator(_https_origin)]
OptionalOrigin = Annotated[Origin | None, Unset]
BasePath = Annotated[str, AfterValidator(_base_path)]
OptionalProxy = Annotated[
    Annotated[str, AfterValidator(_proxy)] | None, Unset, Secret()
]
StoreURL = Annotated[str, AfterValidator(_store_url), Secret()]
ReadableFile = Annotated[Path, AfterValidator(_readable)]
OptionalFile = Annotated[ReadableFile | None, Unset]
OptionalPath = Annotated[Path | None, Unset]
Text = Annotated[str, AfterValidator(_text)]
OptionalText = Annotated[Annotated[str, AfterValidator(_text)] | None, Unset]
OptionalSecret = Annotated[SecretStr | None, Unset, Secret()]


def _long_key(value: SecretStr | None) -> SecretStr | None:
    """Pass a key that cannot be guessed."""
    if value is not None and len(value.get_secret_value()) < _SHORTEST_KEY:
        raise mistake(
            f"has fewer than {_SHORTEST_KEY} characters",
            "write the output of: openssl rand -hex 32",
        )
    return value


OptionalKey = Annotated[OptionalSecret, AfterValidator(_long_key)]
"""A key of the relay's own, of enough characters."""

Count = Annotated[int, Field(strict=True, ge=1, le=_MOST)]
"""A number of things, or of bytes."""
CountOrZero = Annotated[int, Field(strict=True, ge=0, le=_MOST)]
Threads = Annotated[int, Field(strict=True, ge=1, le=256)]
Days = Annotated[int, Field(strict=True, ge=1, le=_MOST_DAYS)]
DaysOrZero = Annotated[int, Field(strict=True, ge=0, le=_MOST_DAYS)]
PartsOfDays = Annotated[
    float, Field(strict=True, gt=0, le=_MOST_DAYS, allow_inf_nan=False)
]
Number = Annotated[float, Field(strict=True, ge=0, le=_YEAR_S, allow_inf_nan=False)]
"""Seconds or milliseconds, where zero is sensible."""
Seconds = Annotated[float, Field(strict=True, gt=0, le=_YEAR_S, allow_inf_nan=False)]
Share = Annotated[float, Field(strict=True, gt=0, le=1, allow_inf_nan=False)]
"""A part of a whole, as 0.8 is of 1."""
Flag = Annotated[bool, Field(strict=True)]


# ------------------------------------------------------------------ kinds of files


def _file_type(value: str) -> str:
    folded = value.strip().lower()
    if not (_MEDIA_TYPE.fullmatch(folded) or _ENDING.fullmatch(folded)):
        raise mistake(
            f"{value} is neither a media type nor an ending",
            "write it as application/pdf, image/* or .pdf",
        )
    return folded


FileType = Annotated[str, AfterValidator(_file_type)]
