"""What README and guides tell a newcomer to paste fits the code, and each other."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from relay.cli.sandbox import DEFAULT_PORT, SNIPPET
from relay.config import UnixPath, load

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
OPERATIONS = (ROOT / "docs" / "operations.md").read_text("utf-8")
ROUTING = (ROOT / "docs" / "mail-routing.md").read_text("utf-8")


def test_settings_to_look_around_connect_to_the_sandbox(tmp_path):
    """They load, need no root, and are what `relay sandbox` prints."""
    (text,) = re.findall(r"<<'END'\n(.*?)\nEND\n", README, re.DOTALL)
    file = tmp_path / "relay.toml"
    file.write_text(text, "utf-8")
    settings = load(file, {})
    assert settings.require_domains()
    assert [place.port > 1023 for place in settings.smtp.listen] == [True]
    printed = tomllib.loads(SNIPPET.format(url=f"http://127.0.0.1:{DEFAULT_PORT}"))
    assert tomllib.loads(text)["salesforce"] == printed["salesforce"]


def test_the_unit_makes_the_folder_of_the_lmtp_socket(tmp_path):
    """The recipe for Postfix names a socket where the service may make one."""
    (recipe,) = re.findall(r'```toml\n([^`]*unix:[^`]*"lmtp"[^`]*)```', ROUTING)
    file = tmp_path / "relay.toml"
    file.write_text(recipe, "utf-8")
    (listener,) = load(file, {}).smtp.listeners
    assert isinstance(listener.address, UnixPath)
    unit = dict(re.findall(r"^(\w+)=(.*)$", OPERATIONS, re.MULTILINE))
    assert listener.address.path.parent == Path("/run") / unit["RuntimeDirectory"]
    assert int(unit["RuntimeDirectoryMode"], 8) & 0o050 == 0o050
    assert f"-m 750 {listener.address.path.parent}\n" in ROUTING
