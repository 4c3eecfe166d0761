#!/usr/bin/env python3
"""How well mail is read, and at what cost.

    bench/reading.py [--json] [--mutants N] [--seed N] [--show] [--hostile MB]

Forwards: every mail of two corpora is read from its bytes by each reader: one that
shares its words with the relay (tests/fakes/forwards.py), and one whose words come from
the programs themselves (tests/fakes/labelled.py, the forwards in a text). *right* is
the sender of the forwarded mail, or none where it is no forward; *whole* also its
recipients, copies and subject; *wrong people* is a sender who did not write it;
*unsure* is no answer where there is one. Beside the relay: the standard library with
the header that Gmail writes in English, and, where they are installed, quotequail (on
the text that the standard library finds) and email-forward-parser.

Decisions: of each mail of the second corpus, who is in it, which way it went, and what
becomes of it, as the worker decides.

Cost: CPU for reading, matching and drafting mails of four sizes, in both shapes, beside
the standard library, which parses them with its modern policy and decodes what is in
them, and does no more.

Mutants: so many mails are mutated and read; an exception, a second of CPU or 256 MB are
a failure, and the command ends with 1. `--show` names the mails that are read wrongly.

Hostile: each family of tests/fakes/hostile.py is read at a size, in a process of its
own; more than a second for ten megabytes, or 256 MB beside the mail, is a failure.
"""

from __future__ import annotations

import argparse
import email
import email.policy
import json
import os
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

from relay.activity import Mode  # noqa: E402
from relay.core.errors import UnparsableMessage  # noqa: E402
from relay.mail import parse  # noqa: E402
from tests.fakes.deciding import decided, of  # noqa: E402
from tests.fakes.forwards import CORPUS, Mail  # noqa: E402
from tests.fakes.hostile import FAMILIES  # noqa: E402
from tests.fakes.labelled import CORPUS as LABELLED  # noqa: E402
from tests.fakes.labelled import direct  # noqa: E402
from tests.fakes.read_mutants import MOST_BYTES, SLOWEST_S, read_in_child  # noqa: E402
from tests.fakes.values import contact, found  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.core.model import Found

Answer = tuple[str | None, tuple[str, ...] | None, tuple[str, ...] | None, str | None]
NOBODY: Answer = (None, None, None, None)
SIZES = {"4 KB": 4096, "75 KB": 76_800, "5 MB": 5 << 20, "25 MB": 25 << 20}
LARGE = 1 << 20
PER_BYTE_S = 1.0 / 10_000_000
OWN_WORDS = [
    *(
        Mail(one.name, one.raw, one.right[0].sender, one.right[0].to, one.right[0].cc)
        for one in LABELLED
        if one.program
    ),
    *(
        Mail(one.name, one.raw, None, (), ())
        for one in direct()
        if "forwarded" not in one.name
    ),
]
"""Forwards in a text as programs write them, and mails that are none."""


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


def score(
    read: Callable[[bytes], Answer], corpus: list[Mail], *, show: bool
) -> dict[str, Any]:
    """Hold a reader against a corpus."""
    count = {"right": 0, "whole": 0, "wrong people": 0, "unsure": 0, "failed": 0}
    for mail in corpus:
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
    return {"mails": len(corpus), **count}


def decisions(*, show: bool) -> dict[str, Any]:
    """Count the mails of the labelled corpus that are decided as they should be."""
    right = wrong_people = 0
    for mail in LABELLED:
        found = decided(mail.raw)
        said = [of(email, decision) for email, decision in found]
        wanted = [{name: getattr(r, name) for name in said[0]} for r in mail.right]
        right += said == wanted
        chosen = {one for each in said for one in each["records"]}
        wrong_people += not chosen <= {one for r in mail.right for one in r.records}
        if show and said != wanted:
            sys.stderr.write(f"{mail.name}: {said}, not {wanted}\n")
    return {"mails": len(LABELLED), "right": right, "wrong records": wrong_people}


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


EVERYBODY = found(
    *(contact(n, f"c{n}@customer{n}.example") for n in range(4)),
    roles=((contact(1, "c1@customer1.example"), "006000000000001AAA"),),
)


def everybody(_: list[str]) -> Found:
    """Return what the org holds: a Contact for each recipient."""
    return EVERYBODY


def make(size: int) -> bytes:
    """Return a mail of about this size: text, page, and a file where there is room."""
    chance = random.Random(size)
    mail = EmailMessage(policy=email.policy.SMTP)
    mail["From"] = "Ada Bergér <ada@seller.example>"
    mail["To"] = ", ".join(f"Contact {i} <c{i}@customer{i}.example>" for i in range(4))
    mail["Subject"] = "Re: Angebot für Q3 und die Lieferung nach Zürich"
    mail["Date"] = "Mon, 02 Jun 2025 10:00:00 +0000"
    mail["Message-ID"] = f"<{size}@corp.example>"
    mail["References"] = " ".join(f"<{n}@customer.example>" for n in range(6))
    for n in range(6):
        mail["Received"] = f"from mx{n}.example by mail.example with ESMTPS id {n}"
    words = ["the", "offer", "price", "delivery", "contract", "week", "für", "Größe"]
    lines = [
        " ".join(chance.choices(words, k=10))
        for _ in range(min(max(size // 400, 6), 300))
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
    """Return CPU for each size, the ways taken in turn, medians of the rounds."""
    ways: dict[str, Callable[[bytes], object]] = {
        "stdlib_ms": with_stdlib,
        "read_ms": parse,
        "email_message_ms": lambda raw: decided(raw, known=everybody),
        "task_ms": lambda raw: decided(raw, Mode.TASK, everybody),
    }
    found = []
    for name, size in SIZES.items():
        raw = make(size)
        times: dict[str, list[float]] = {key: [] for key in ways}
        for _ in range(rounds):
            for key, read in ways.items():
                times[key].append(_cpu_ms(read, raw))
        row = {key: round(statistics.median(value), 3) for key, value in times.items()}
        ratio = max(row["email_message_ms"], row["task_ms"]) / row["stdlib_ms"]
        goal = 0.1 if size > LARGE else 1.0
        found.append({"size": name, **row, "ratio": round(ratio, 3), "goal": goal})
    return found


def _cpu_ms(work: Callable[[bytes], object], raw: bytes) -> float:
    count, started = 0, time.process_time()
    while not count or time.process_time() - started < 0.2:
        work(raw)
        count += 1
    return (time.process_time() - started) / count * 1e3


def hostile(megabytes: float) -> dict[str, Any]:
    """Read each family at a size, each in a process of its own; return the worst."""
    rows = []
    failures = []
    for name, make in FAMILIES.items():
        raw = make(int(megabytes * (1 << 20)))
        cpu_s, grown, error = _alone(raw)
        rows.append({"family": name, "cpu_s": cpu_s, "grown_mb": grown >> 20})
        if error:
            failures.append(f"{name}: {error}")
        if cpu_s > max(SLOWEST_S, len(raw) * PER_BYTE_S):
            failures.append(f"{name}: {cpu_s} s of CPU for {len(raw) >> 20} MB")
        if grown > MOST_BYTES + 2 * len(raw):
            failures.append(f"{name}: {grown >> 20} MB for {len(raw) >> 20} MB")
    rows.sort(key=lambda row: -float(row["cpu_s"]))
    return {"families": len(rows), "worst": rows[:10], "failures": failures}


def _alone(raw: bytes) -> tuple[float, int, str]:
    """Read a mail in a fork of this process; return CPU, memory and what was raised."""
    out, into = os.pipe()
    if not (child := os.fork()):
        error = ""
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        started = time.process_time()
        try:
            parse(raw)
        except UnparsableMessage:
            pass
        except BaseException as cause:  # noqa: BLE001 - told
            error = repr(cause)[:200]
        spent = round(time.process_time() - started, 3)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        os.write(into, json.dumps([spent, grown * 1024, error]).encode())
        os._exit(0)
    os.close(into)
    with os.fdopen(out, "rb") as answer:
        said = answer.read()
    os.waitpid(child, 0)
    spent, grown, error = json.loads(said) if said else (0.0, 0, "killed")
    return spent, grown, error


def main() -> int:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--show", action="store_true")
    parser.add_argument("--mutants", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--hostile", type=float, metavar="MB", default=0.0)
    options = parser.parse_args()
    readers = {
        "relay": relay,
        "standard library": stdlib,
        "quotequail": quotequail(),
        "email-forward-parser": email_forward_parser(),
    }
    corpora = {"shared words": CORPUS, "own words": OWN_WORDS}
    answer: dict[str, Any] = {
        "forwards": {
            f"{name}, {which}": score(
                read, corpus, show=options.show and name == "relay"
            )
            if read
            else "absent"
            for which, corpus in corpora.items()
            for name, read in readers.items()
        },
        "decisions": decisions(show=options.show),
        "mutants": read_in_child(options.mutants, options.seed),
        "cost": cost(),
    }
    if options.hostile:
        answer["hostile"] = hostile(options.hostile)
    if options.json:
        sys.stdout.write(json.dumps(answer, indent=1) + "\n")
    else:
        show(answer)
    hurt = answer.get("hostile", {}).get("failures")
    return 1 if answer["mutants"]["failures"] or hurt else 0


def show(answer: dict[str, Any]) -> None:
    """Print tables for people."""
    for name, row in answer["forwards"].items():
        told = (
            row
            if isinstance(row, str)
            else ", ".join(f"{k} {v}" for k, v in row.items())
        )
        sys.stdout.write(f"{name:<36} {told}\n")
    for name in ("decisions", "mutants", "hostile"):
        if name in answer:
            sys.stdout.write(f"{name:<36} {answer[name]}\n")
    for row in answer["cost"]:
        sys.stdout.write(
            f"{row['size']:<36} read {row['read_ms']} ms, with its EmailMessage "
            f"{row['email_message_ms']} ms, with its Tasks {row['task_ms']} ms; "
            f"standard library {row['stdlib_ms']} ms; ratio {row['ratio']} "
            f"(at most {row['goal']})\n"
        )


if __name__ == "__main__":
    sys.exit(main())
