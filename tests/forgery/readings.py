"""Forged mails whose From two readers read as two people.

Where one program sees Ada and another one the stranger, nobody may be the author: what
is proven for one of them would be logged for the other.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final

from tests.forgery.attacks import DOMAIN, EVIL_SENDER, FROM_ADA, Attack, mail
from tests.forgery.world import ADA

if TYPE_CHECKING:
    from collections.abc import Sequence


def encoded(text: str, how: str = "q") -> str:
    """Return an RFC 2047 encoded word."""
    if how == "b":
        return f"=?utf-8?b?{base64.b64encode(text.encode()).decode()}?="
    quoted = "".join(c if c.isalnum() else f"={ord(c):02X}" for c in text)
    return f"=?utf-8?q?{quoted}?="


def reads(
    name: str, sender: str | bytes | Sequence[str | bytes], cause: str, **more: object
) -> Attack:
    """Return an attack by a From that two readers read as two people.

    The stranger's own domain vouches for the mail: SPF passes, and it is signed.
    """
    lines = (sender,) if isinstance(sender, (str, bytes)) else tuple(sender)
    more.setdefault("holds", DOMAIN)
    return Attack(name, make=lambda: mail(*lines), cause=cause, **more)


READINGS: Final = (
    reads("two From fields", [FROM_ADA, f"From: {EVIL_SENDER}"], "S102",
          source="espoofer server_a8"),
    reads("two From fields, hers last", [f"From: {EVIL_SENDER}", FROM_ADA], "S102",
          source="espoofer server_a8"),
    reads("two From fields, one with a blank",
          [f"From: {EVIL_SENDER}", f"From : {ADA}"], "S102",
          source="espoofer server_a9"),
    reads("From with a blank before the colon", f"From : {ADA}", "S211",
          source="espoofer server_a9"),
    reads("From in small letters and large", [f"fROM: {ADA}", f"From: {EVIL_SENDER}"],
          "S102"),
    reads("two authors", f"From: {ADA}, {EVIL_SENDER}", "S102",
          source="espoofer server_a11"),
    reads("two authors, hers last", f"From: {EVIL_SENDER}, {ADA}", "S102"),
    reads("two authors and a Sender", [f"From: {ADA}, {EVIL_SENDER}",
                                       f"Sender: {EVIL_SENDER}"], "S102"),
    reads("folded From", f"From:\r\n {ADA}", "S211", source="espoofer server_a10"),
    reads("From folded after a blank line", f"From: \r\n \r\n {ADA}", "S211"),
    reads("From folded inside the address", b"From: ada@corp.\r\n example", "S106"),
    reads("first line of the header is folded",
          [f" From: {ADA}", f"From: {EVIL_SENDER}"], "S106",
          source="espoofer server_a10"),
    reads("NUL in From", b"From: ada@corp.example\0@evil.example", "S105"),
    reads("NUL behind the address", b"From: ada@corp.example\0, mallory@evil.example",
          "S102"),
    reads("NUL before the bracket", b"From: ada\0 <ada@corp.example>", "S105"),
    reads("vertical tab in From", b"From: Ada\x0b<ada@corp.example>", "S105"),
    reads("address as the name", f"From: {ADA} <{EVIL_SENDER}>", "S105",
          source="Weak Links A6"),
    reads("address as the quoted name", f'From: "{ADA}" <{EVIL_SENDER}>', "S106",
          source="Weak Links A6"),
    reads("stranger as the name", f"From: {EVIL_SENDER} <{ADA}>", "S105"),
    reads("stranger as the quoted name", f'From: "{EVIL_SENDER}" <{ADA}>', "S211"),
    reads("two brackets", f"From: <{ADA}> <{EVIL_SENDER}>", "S102",
          source="Composition Kills: From"),
    reads("bracket in a bracket", f"From: <{ADA} <{EVIL_SENDER}>>", "S105"),
    reads("no brackets", f"From: {ADA} {EVIL_SENDER}", "S102",
          source="Composition Kills: From"),
    reads("bracket never closed", f"From: <{ADA}", "S211"),
    reads("bracket never opened", f"From: {ADA}>", "S211"),
    reads("route", f"From: <@evil.example,@x.example:{ADA}>", "S211",
          source="espoofer server_a12"),
    reads("route of hers", f"From: <@{ADA}:{EVIL_SENDER}>", "S106"),
    reads("route without an address", f"From: <{EVIL_SENDER}:{ADA}>", "S211"),
    reads("quoted pair", f'From: "{ADA}\\" <{EVIL_SENDER}>', "S105",
          source="espoofer server_a14"),
    reads("quoted local part", f'From: "{ADA}"@evil.example', "S106",
          source="espoofer server_a13"),
    reads("quoted local part that needs no quotes", 'From: "ada"@corp.example', "S211"),
    reads("comment before", f"From: (<{ADA}>) {EVIL_SENDER}", "S106"),
    reads("comment behind", f"From: {EVIL_SENDER} ({ADA})", "S106"),
    reads("comment in the domain", "From: ada@corp.example(.evil.example)", "S211",
          source="espoofer server_a15"),
    reads("comment in the address", "From: ada(x)@corp.example", "S105"),
    reads("comment never closed", f"From: {ADA} (<{EVIL_SENDER}>", "S105"),
    reads("comments in comments", f"From: (a(b)<{ADA}>) {EVIL_SENDER}", "S106"),
    reads("encoded word as the address", f"From: {encoded(ADA)}", "S101",
          source="Weak Links A9"),
    reads("encoded word as the bracket", f"From: <{encoded(ADA)}>", "S101"),
    reads("encoded word in the address", f"From: {encoded('ada')}@corp.example",
          "S105"),
    reads("encoded word as the name", f"From: {encoded(ADA, 'b')} <{EVIL_SENDER}>",
          "S106", source="Weak Links A9"),
    reads("encoded bracket", f"From: {encoded(f'Ada <{ADA}>,')} <{EVIL_SENDER}>",
          "S106"),
    reads("encoded word in a quoted name", f'From: "{encoded(ADA)}" <{EVIL_SENDER}>',
          "S106"),
    reads("encoded NUL", f"From: {encoded(ADA + chr(0))} <{EVIL_SENDER}>", "S106"),
    reads("group", f"From: Team: {ADA};", "S104"),
    reads("empty group", "From: Automated:;", "S101", source="RFC 6854"),
    reads("address and an empty group", f"From: {ADA}, Automated:;", "S104"),
    reads("group with two", f"From: Team: {ADA}, {EVIL_SENDER};", "S102"),
    reads("no From, but a Sender", f"Sender: {ADA}", "S101"),
    reads("empty From", ["From:", f"Sender: {ADA}"], "S101"),
    reads("From of the stranger, the rest of hers",
          [f"From: {EVIL_SENDER}", f"Sender: {ADA}", f"Reply-To: {ADA}",
           f"Return-Path: <{ADA}>", f"X-Original-From: {ADA}"], "S106"),
    reads("From of hers, the rest of the stranger",
          [FROM_ADA, f"Sender: {EVIL_SENDER}", f"Reply-To: {EVIL_SENDER}"], "S211",
          source="Weak Links A5"),
    reads("two at signs", f"From: {ADA}@evil.example", "S106"),
    reads("two at signs, hers last", "From: mallory@evil.example@corp.example", "S106"),
    reads("percent hack", "From: ada%corp.example@evil.example", "S106"),
    reads("bang path", "From: corp.example!ada", "S101"),
    reads("IP literal", "From: ada@[192.0.2.10]", "S106"),
    reads("IP address", "From: ada@192.0.2.10", "S106"),
    reads("last dot", f"From: {ADA}.", "S211"),
    reads("two last dots", f"From: {ADA}..", "S211"),
    reads("first dot", "From: ada@.corp.example", "S106"),
    reads("large letters", "From: ADA@CORP.EXAMPLE", "S211"),
    reads("plus tag", "From: ada+offer@corp.example", "S106"),
    reads("sub-domain", "From: ada@mail.corp.example", "S106", source="Weak Links A3"),
    reads("homograph in the local part", "From: \u0430da@corp.example", "S107",
          utf8=True, source="Weak Links A7"),
    reads("homograph in the domain", "From: ada@c\u043erp.example", "S107", utf8=True,
          source="Weak Links A7"),
    reads("ß written as ss", "From: ada@strasse.example", "S106",
          mail_from="ada@strasse.example"),
    reads("full-width letters", "From: ada@\uff43orp.example", "S211", utf8=True),
    reads("full-width at sign", "From: ada\uff20corp.example", "S101", utf8=True),
    reads("ideographic dot", "From: ada@corp\u3002example", "S211", utf8=True),
    reads("soft hyphen", "From: ada@co\u00adrp.example", "S211", utf8=True),
    reads("zero-width joiner", "From: ada@co\u200drp.example", "S106", utf8=True),
    reads("right-to-left override in the name",
          f'From: "\u202e{EVIL_SENDER}" <{ADA}>', "S211", utf8=True,
          source="Weak Links A7"),
    reads("bytes that are no text", b"From: ada\xff@corp.example", "S105"),
    reads("nine kilobytes of name", f"From: {'a' * 9000} <{ADA}>", "S103"),
    reads("thousand authors", f"From: {ADA}, " + ", ".join([EVIL_SENDER] * 200),
          "S102"),
    reads("semicolon between", f"From: {EVIL_SENDER}; {ADA}", "S102"),
    reads("mailto", f"From: mailto:{ADA}", "S104"),
    reads("address in brackets of a list", f"From: [{ADA}] <{EVIL_SENDER}>", "S106"),
    reads("CR in From", b"From: mallory@evil.example\rFrom: ada@corp.example", "S102",
          smtp_only=True),
    reads("header ends early", [f"X: y\r\n\nFrom: {EVIL_SENDER}", FROM_ADA], "S101",
          smtp_only=True),
    reads("smuggled second mail",
          [FROM_ADA + "\r\n\r\nHi\n.\r\nMAIL FROM:<ada@corp.example>"], "bare_dot",
          smtp_only=True, source="VU#302671"),
)  # fmt: skip
