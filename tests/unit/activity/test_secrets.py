"""Relay addresses that a mail quotes are masked, wherever people may read them."""

from __future__ import annotations

import pytest

from relay.activity import without_secrets
from relay.core.model import Attachment
from tests.fakes.values import email

SECRET = "log-k7dq2mzx@in.relay.example"
HIDDEN = "xxxxxxxxxxxx@in.relay.example"
DOMAINS = frozenset({"in.relay.example"})


@pytest.mark.parametrize(
    "name", ["{}", "{}.eml", "{}.tar.gz", "for {} now.txt", "a {}.b@c.example.pdf"]
)
def test_file_names(name: str) -> None:
    """With and without an ending, which is no part of the domain."""
    attached = Attachment(name.format(SECRET), "text/plain", 1)
    (file,) = without_secrets(email(attachments=(attached,)), DOMAINS).attachments
    assert "k7dq2mzx" not in file.name
    assert file.name == name.format(HIDDEN)


def test_without_domains_nothing_is_looked_for() -> None:
    """The mail itself comes back."""
    mail = email(subject=SECRET)
    assert without_secrets(mail, frozenset()) is mail
    assert without_secrets(mail, DOMAINS).subject == HIDDEN
