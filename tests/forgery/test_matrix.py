"""Each forged mail on each way in: none becomes an activity, and each reason is named.

The rule is `aligned`, the one that a new relay has. Held is as good as refused where
the mail may be Ada's: she, or an admin, has to release it.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.forgery.attacks import FROM_ADA, PROOFS, mail, minimal
from tests.forgery.readings import READINGS
from tests.forgery.ways import Delivery

if TYPE_CHECKING:
    from tests.forgery.attacks import Attack
    from tests.forgery.ways import Answer

ATTACKS = (*PROOFS, *READINGS)
WAYS = 6
ANYWHERE = [one for one in ATTACKS if not one.smtp_only]
IN_FILES = [
    one
    for one in ANYWHERE
    if not one.delivery.raw.startswith(b"From ") and one.cause != "S301"
]
"""A file that begins with `From ` is an mbox, whatever its name. And what is imported
is old by nature: her own mail of ten days ago is welcome there."""
IN_MBOX = [
    one
    for one in IN_FILES
    if b"From :" not in one.delivery.raw and not one.delivery.raw.startswith(b" ")
]
"""Others cannot be told from the lines around them there."""
BY_FROM = [one for one in ANYWHERE if one.cause.startswith("S1")]


def each(attacks):
    return pytest.mark.parametrize("attack", attacks, ids=lambda one: one.name)


def stopped(answer: Answer, cause: str, *, held: bool = False) -> None:
    """Assert that a mail is refused, or held, for this cause, and that it is said."""
    assert answer.cause == cause, answer
    assert answer.state == ("held" if held else "refused")
    if not cause.startswith("S"):
        return
    section = re.search(r"\((S\d{3}), RFC \d{4} section [\d.]+\)", answer.sentence)
    assert section, answer.sentence
    assert section[1] == cause
    if not held:
        assert section[0] in str(answer.row["reply"])


def test_there_are_enough():
    """The published catalogues are all there, and each cell of the matrix is a test."""
    assert len({one.name for one in ATTACKS}) == len(ATTACKS) >= 60
    assert len(ANYWHERE) * WAYS >= 80
    sources = {one.source.partition(":")[0].partition(" (")[0] for one in ATTACKS}
    for catalogue, least in (("espoofer", 15), ("Weak Links", 8), ("VU#517845", 1)):
        assert sum(name.startswith(catalogue) for name in sources) >= least


@each(ATTACKS)
def test_smtp(relay, attack: Attack):
    """From a mail server of the stranger."""
    answer = relay.smtp(attack.delivery)
    assert (
        answer.code == 250 if attack.held else answer.code in {451, 501, 550, 553, 554}
    )
    stopped(answer, attack.cause, held=attack.held)


@each(ATTACKS)
def test_lmtp(relay, attack: Attack):
    """Through a mail server in front of the relay, which says who the peer was."""
    stopped(relay.lmtp(attack.delivery), attack.cause, held=attack.held)


@each(ATTACKS)
def test_submission(relay, attack: Attack):
    """From a colleague who logs in, for the colleague's own relay address."""
    sent = replace(attack.delivery, mail_from="ben@corp.example")
    cause = attack.cause
    if attack.mail_from != sent.mail_from and cause == "bad_syntax":
        cause = "S106"
    if re.match("S[234]|S107", cause):
        # Ada is a stranger there, and none of her addresses is drawn like Ben's.
        cause = "S106"
    stopped(relay.submission(sent, relay.of_ben), cause)


@each(ANYWHERE)
def test_http(gateway, attack: Attack):
    """From a gateway that posts whatever it gets."""
    answer = gateway.http(attack.delivery)
    cause = attack.without_peer or attack.cause
    if answer.state == "refused":
        assert answer.code in {403, 422, 503}
    stopped(answer, cause, held=attack.held and not attack.without_peer)


@pytest.fixture(scope="session")
def eml(gateway):
    """Import all mails, each from a file of its own."""
    return gateway.import_({one.name: one.delivery.raw for one in IN_FILES}, mbox=False)


@pytest.fixture(scope="session")
def mbox(gateway):
    """Import all mails from one file."""
    return gateway.import_({one.name: one.delivery.raw for one in IN_MBOX}, mbox=True)


@each(IN_FILES)
def test_eml(eml, attack: Attack):
    """From a file that somebody saved."""
    cause = attack.without_peer or attack.cause
    stopped(eml[attack.name], cause, held=attack.held and not attack.without_peer)


@each(IN_MBOX)
def test_mbox(mbox, attack: Attack):
    """From an mbox that somebody sent."""
    cause = attack.without_peer or attack.cause
    stopped(mbox[attack.name], cause, held=attack.held and not attack.without_peer)


# ------------------------------------------------------------------ the other doors


@each(BY_FROM)
def test_http_with_trust(relay, attack: Attack):
    """A program that is trusted cannot speak for who is not on the list, either."""
    stopped(relay.http(attack.delivery), attack.cause)


@pytest.mark.parametrize("token", ["", "guessed", "a-token-of-the-gateway2"])
def test_http_without_the_token(relay, token):
    """The relay address is no token."""
    answer = relay.http(Delivery(mail(FROM_ADA)), token=token)
    assert answer.code == 401
    assert answer.row == {}


def test_colleague_to_her_address(relay):
    """Who logs in writes to their own relay address, from wherever they do."""
    sent = Delivery(mail(FROM_ADA), "ben@corp.example")
    stopped(relay.submission(sent), "not_own_relay_address")


def test_her_mail_for_a_colleague(relay):
    """A mail of hers that is sent to his relay address is not logged as his."""
    stopped(relay.smtp(Delivery(minimal()), relay.of_ben), "S106")


def test_import_with_trust(relay):
    """An admin's own files are proven by being there, and say whose they are."""
    wanted = {one.name: one for one in IN_FILES if one in BY_FROM}
    answers = relay.import_(
        {name: one.delivery.raw for name, one in wanted.items()}, mbox=False
    )
    for name, answer in answers.items():
        stopped(answer, wanted[name].cause)
