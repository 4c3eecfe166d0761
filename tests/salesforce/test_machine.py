"""What touches this machine: the key file, and how fast the package loads."""

from __future__ import annotations

import subprocess
import sys

import pytest

from relay.core.errors import CredentialsRefused
from relay.salesforce.auth import TokenProvider


def test_the_door_loads_no_http_library():
    """Commands that name types only do not wait for the HTTP library."""
    code = "import sys, relay.salesforce; sys.exit('requests' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_key_that_cannot_sign_is_the_admins_matter(settings_for, clock, tmp_path):
    """A file that is gone or no RSA key pauses, and is not quoted."""
    file = tmp_path / "key.pem"
    file.write_text("secret stuff")
    # The file was changed after the start, which looks at it.
    changes = {"client_secret": None, "username": "u@x", "private_key_file": file}
    settings = settings_for("https://acme.my.salesforce.com").model_copy(update=changes)
    maker = TokenProvider(settings, clock, observe=lambda *_: None)
    for _ in range(2):
        with pytest.raises(CredentialsRefused, match="private_key_file") as caught:
            maker._form()
        assert "secret" not in str(caught.value)
        file.unlink(missing_ok=True)
