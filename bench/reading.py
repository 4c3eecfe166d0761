#!/usr/bin/env python3
"""How well mail is read, and at what cost.

    bench/reading.py [--json] [--mutants N] [--seed N] [--show]

Forwards: every mail of the labelled corpus (tests/fakes/forwards.py) is read from its
bytes by each reader. *right* is the sender of the forwarded mail, or none where it is
no forward; *whole* also its recipients, copies and subject; *wrong people* is a sender
who did not write it; *unsure* is no answer where there is one. Beside the relay: the
standard library with the header that Gmail writes in English, and, where they are
installed, quotequail (on the text that the standard library finds) and
email-forward-parser.

Cost: CPU for reading the mails of four sizes beside the standard library, which parses
them with its modern policy and decodes what is in them.

Mutants: so many mails are mutated and read; an exception, a second of CPU or 256 MB are
a failure, and the command ends with 1. `--show` names the mails that are read wrongly.
"""

from __future__ import annotations

import argparse
import email
import email.policy
import json
import random
import re
import resource
import statistics
import sys
import time
from email.message import EmailMessage
from email.utils import getaddresses
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from relay.core.errors import UnparsableMessage  # noqa: E402
from relay.mail import parse  # noqa: E402
from tests.fakes.forwards import CORPUS, Mail  # noqa: E402
from tests.fakes.mutants import mutants  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

Answer = tuple[str | None, tuple[str, ...] | None, tuple[str, ...] | None, str | None]
NOBODY: Answer = (None, None, None, None)
SIZES = {"4 KB": 4096, "75 KB": 76_800, "5 MB": 5 << 20, "25 MB": 25 << 20}
LARGE = 1 << 20
SLOWEST_S = 1.0
MOST_BYTES = 256 << 20


def relay(raw: bytes) -> Answer:
    """Read with the relay."""
    found = parse(raw).forward
    if found is None:
        return NOBODY
    to, cc = (tuple(box.address for box in some) for some in (found.to, found.cc))
    return found.from_.address, to, cc, found.subject


def text_of(raw: bytes) -> tuple[str, str]:
    """Return subject and text as the standard library finds them."""
    message = email.message_from_bytes(raw, policy=email.policy.default)
    body = message.get_body(("plain", "html"))
    content = body.get_content() if body else ""
    if body and body.get_content_type() == "text/html":
        content = re.sub(r"<[^>]*>", "\n", content)
    return str(message["subject"]), content


def addresses(value: str) -> tuple[str, ...]:
    """Return the addresses of a line."""
    return tuple(address for _, address in getaddresses([value or ""]) if address)


def stdlib(raw: bytes) -> Answer:
    """Look for the header that Gmail and Outlook write in English."""
    _, text = text_of(raw)
    found = {
        name: re.search(rf"^{name}: (.*)$", text, re.MULTILINE)
        for name in ("From", "To", "Cc", "Subject")
    }
    author = addresses(found["From"][1]) if found["From"] else ()
    if not author:
        return NOBODY
    to, cc = (addresses(m[1]) if (m := found[name]) else () for name in ("To", "Cc"))
    return author[0], to, cc, found["Subject"][1] if found["Subject"] else None


def quotequail() -> Callable[[bytes], Answer] | None:
    """Return a reader that uses quotequail, if it is there."""
    try:
        import quotequail as library  # noqa: PLC0415
    except ImportError:
        return None

    def read(raw: bytes) -> Answer:
        found = library.unwrap(text_of(raw)[1])
        if not found or found.get("type") != "forward":
            return NOBODY
        author = addresses(found.get("from", ""))
        to, cc = (addresses(found.get(name, "")) for name in ("to", "cc"))
        return (author[0] if author else None), to, cc, found.get("subject")

    return read


def email_forward_parser() -> Callable[[bytes], Answer] | None:
    """Return a reader that uses email-forward-parser, if it is there."""
    try:
        from emailforwardparser import client  # noqa: PLC0415
    except ImportError:
        return None

    def read(raw: bytes) -> Answer:
        mail = raw.decode("utf-8", "surrogateescape")
        found = client.EmailParserClient().get_original_metadata(mail)
        if not found.forwarded:
            return NOBODY
        to, cc = (
            tuple(box.address for box in some)
            for some in (found.email.to, found.email.cc)
        )
        return found.email.from_.address or None, to, cc, found.email.subject

    return read


def score(read: Callable[[bytes], Answer], *, show: bool) -> dict[str, Any]:
    """Hold a reader against the corpus."""
    count = {"right": 0, "whole": 0, "wrong people": 0, "unsure": 0, "failed": 0}
    for mail in CORPUS:
        try:
            answer = read(mail.raw)
        except Exception as error:  # noqa: BLE001 - counted
            count["failed"] += 1
            if show:
                sys.stderr.write(f"{mail.name}: {error!r}\n")
            continue
        _count(count, mail, answer)
        if show and answer[0] != mail.sender:
            sys.stderr.write(f"{mail.name}: {answer[0]}, not {mail.sender}\n")
    return {"mails": len(CORPUS), **count}


def _count(count: dict[str, int], mail: Mail, answer: Answer) -> None:
    sender, to, cc, subject = answer
    if sender == mail.sender:
        count["right"] += 1
        whole = sender is None or (to, cc, subject) == (mail.to, mail.cc, mail.subject)
        count["whole"] += whole
    elif sender is None:
        count["unsure"] += 1
    else:
        count["wrong people"] += 1


def make(size: int) -> bytes:
    """Return a mail of about this size: text, page, and a file where there is room."""
    chance = random.Random(size)
    mail = EmailMessage(policy=email.policy.SMTP)
    mail["From"] = "Änne Rep <rep@corp.example>"
    mail["To"] = ", ".join(f"Contact {i} <c{i}@customer{i}.example>" for i in range(4))
    mail["Subject"] = "Re: Angebot für Q3 und die Lieferung nach Zürich"
    mail["Date"] = "Mon, 02 Jun 2025 10:00:00 +0000"
    mail["Message-ID"] = f"<{size}@corp.example>"
    words = ["the", "offer", "price", "delivery", "contract", "week", "für", "Größe"]
    lines = [
        " ".join(chance.choices(words, k=10))
        for _ in range(min(max(size // 400, 6), 150))
    ]
    mail.set_content("\n".join(lines))
    page = "".join(f"<p>{line}</p>\n" for line in lines)
    mail.add_alternative(f"<html><body>{page}</body></html>", subtype="html")
    left = (size - len(mail.as_bytes())) * 3 // 4
    if left > 0:
        data = chance.randbytes(left)
        mail.add_attachment(
            data, maintype="application", subtype="pdf", filename="a.pdf"
        )
    return mail.as_bytes()


def with_stdlib(raw: bytes) -> object:
    """Parse as the standard library does."""
    mail = email.message_from_bytes(raw, policy=email.policy.default)
    body = mail.get_body(("plain", "html"))
    files = [part.get_payload(decode=True) for part in mail.iter_attachments()]
    return (
        mail["date"].datetime,
        mail["to"].addresses,
        body and body.get_content(),
        files,
    )


def cost(rounds: int = 5) -> list[dict[str, Any]]:
    """Return CPU for each size, the two taken in turn, medians of the rounds."""
    found = []
    for name, size in SIZES.items():
        raw = make(size)
        times: dict[str, list[float]] = {"relay_ms": [], "stdlib_ms": []}
        for _ in range(rounds):
            for key, read in (("stdlib_ms", with_stdlib), ("relay_ms", parse)):
                times[key].append(_cpu_ms(read, raw))
        row = {key: round(statistics.median(value), 3) for key, value in times.items()}
        ratio = row["relay_ms"] / row["stdlib_ms"]
        goal = 0.1 if size > LARGE else 1.0
        found.append({"size": name, **row, "ratio": round(ratio, 3), "goal": goal})
    return found


def _cpu_ms(work: Callable[[bytes], object], raw: bytes) -> float:
    count, started = 0, time.process_time()
    while not count or time.process_time() - started < 0.2:
        work(raw)
        count += 1
    return (time.process_time() - started) / count * 1e3


def hostile(count: int, seed: int) -> dict[str, Any]:
    """Read mutated mails; return what came of them."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    slowest, unparsable = 0.0, 0
    failures: list[str] = []
    for number, raw in enumerate(mutants(count, seed)):
        started = time.process_time()
        try:
            parse(raw)
        except UnparsableMessage:
            unparsable += 1
        except Exception as error:  # noqa: BLE001 - told
            failures.append(f"mail {number}: {error!r}")
        slowest = max(slowest, time.process_time() - started)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    if slowest > SLOWEST_S:
        failures.append(f"a mail took {slowest:.2f} s")
    if grown > MOST_BYTES:
        failures.append(f"memory grew by {grown >> 20} MB")
    return {
        "mails": count,
        "seed": seed,
        "unparsable": unparsable,
        "slowest_s": round(slowest, 3),
        "grown_mb": grown >> 20,
        "failures": failures[:20],
    }


def main() -> int:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--show", action="store_true")
    parser.add_argument("--mutants", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    readers = {
        "relay": relay,
        "standard library": stdlib,
        "quotequail": quotequail(),
        "email-forward-parser": email_forward_parser(),
    }
    answer = {
        "forwards": {
            name: score(read, show=options.show and name == "relay")
            if read
            else "absent"
            for name, read in readers.items()
        },
        "mutants": hostile(options.mutants, options.seed),
        "cost": cost(),
    }
    if options.json:
        sys.stdout.write(json.dumps(answer, indent=1) + "\n")
    else:
        show(answer)
    return 1 if answer["mutants"]["failures"] else 0


def show(answer: dict[str, Any]) -> None:
    """Print tables for people."""
    for name, row in answer["forwards"].items():
        told = (
            row
            if isinstance(row, str)
            else ", ".join(f"{k} {v}" for k, v in row.items())
        )
        sys.stdout.write(f"{name:<22} {told}\n")
    sys.stdout.write(f"{'mutants':<22} {answer['mutants']}\n")
    for row in answer["cost"]:
        sys.stdout.write(
            f"{row['size']:<22} relay {row['relay_ms']} ms, standard library "
            f"{row['stdlib_ms']} ms, ratio {row['ratio']} (at most {row['goal']})\n"
        )


if __name__ == "__main__":
    sys.exit(main())
