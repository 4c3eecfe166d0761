"""`relay import` queues mail from files, judged like any other, each mail once."""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest

from relay.core.states import State

if TYPE_CHECKING:
    from pathlib import Path


def mail(number: int, *, sender: str = "ada@corp.example", date: str = "") -> bytes:
    """Return a small mail with the line ends of a file."""
    date = date or "Mon, 02 Mar 2026 09:00:00 +0000"
    return (
        f"From: Ada <{sender}>\nTo: kim@customer.example\nSubject: Old {number}\n"
        f"Date: {date}\nMessage-ID: <{number}@corp.example>\n\nHello {number}.\n"
    ).encode()


def taken(relay: Any) -> list[dict[str, Any]]:
    """Return the messages of the journal."""
    return [row for row in relay.json("log") if row["kind"] == "message"]


def results(rows: list[dict[str, Any]]) -> list[str]:
    return [row["result"] for row in rows]


def into(relay: Any, *paths: Path, status: int = 0, more: tuple[str, ...] = ()) -> Any:
    import json

    done = relay(
        *("import", *map(str, paths), "--user", "ada@corp.example", "--json", *more),
        status=status,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_an_eml_file_is_a_message(relay: Any, ada: Any, tmp_path: Path) -> None:
    """It is queued for the user, and the journal says how it came."""
    file = tmp_path / "one.eml"
    file.write_bytes(mail(1))
    (row,) = into(relay, file)
    assert (row["file"], row["result"], row["reason"]) == (str(file), "queued", "")
    (message,) = relay.json("show", row["id"])
    assert message["subject"] == "Old 1"
    assert message["peer"] == "import"
    assert message["state"] == State.QUEUED
    assert str(file) in message["trace"][0]["detail"]


def test_an_mbox_gives_each_mail_unquoted(relay: Any, ada: Any, tmp_path: Path) -> None:
    """A `From ` line after an empty line begins a mail; `>From ` is a line of text."""
    box = tmp_path / "archive"
    body = mail(2).replace(b"Hello", b">From the start\n>>From far\nHello")
    box.write_bytes(
        b"From ada Mon Mar  2 09:00:00 2026\n"
        + mail(1)
        + b"\nFrom ada Mon Mar  2 09:00:00 2026\n"
        + body
        + b"\n"
    )
    rows = into(relay, box)
    assert [row["file"] for row in rows] == [f"{box}#1", f"{box}#2"]
    assert results(rows) == ["queued", "queued"]

    async def raws(store: Any) -> list[bytes]:
        from relay.core.queue import LeaseOwner

        owner = LeaseOwner("host", "boot", 1, "1")
        claimed = await store.queue.claim(owner, 10, 60)
        return [await store.messages.raw(one.blob_id) for one in claimed]

    first, second = relay.in_store(raws)
    assert first == mail(1).replace(b"\n", b"\r\n")
    assert b"\r\nFrom the start\r\n>From far\r\nHello 2.\r\n" in second


def test_folders_are_searched(relay: Any, ada: Any, tmp_path: Path) -> None:
    """Maildir, Maildir++ below it, .eml and .mbox files; nothing unfinished."""
    for number, name in enumerate(
        (
            "cur/1:2,S",
            "new/2",
            "tmp/3",
            ".Sent/cur/4:2,",
            "year/5.eml",
            "year/notes.txt",
        )
    ):
        file = tmp_path / "mail" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(mail(number))
    (tmp_path / "mail" / "x.mbox").write_bytes(b"From a b\n" + mail(99))
    rows = into(relay, tmp_path / "mail")
    assert results(rows) == ["queued"] * 5
    assert not [
        row for row in rows if "/mail/tmp/" in row["file"] or "notes" in row["file"]
    ]


def test_a_second_run_adds_nothing(relay: Any, ada: Any, tmp_path: Path) -> None:
    """What an interrupted run has stored is known by its content, wherever it lies."""
    (tmp_path / "a.eml").write_bytes(mail(1))
    into(relay, tmp_path / "a.eml")
    (tmp_path / "a.eml").rename(tmp_path / "b.eml")
    (tmp_path / "c.eml").write_bytes(mail(2))
    (tmp_path / "d.eml").write_bytes(mail(2).replace(b"\n", b"\r\n"))
    rows = into(relay, tmp_path / "b.eml", tmp_path / "c.eml", tmp_path / "d.eml")
    assert sorted(results(rows)) == ["known", "known", "queued"]
    assert len(taken(relay)) == 2


def test_the_rules_of_smtp_hold(relay: Any, ada: Any, tmp_path: Path) -> None:
    """A foreign author, a loop and a size beyond the limit are refused and recorded."""
    text = relay.config.read_text("utf-8")
    relay.config.write_text(
        text.replace("[smtp]\n", "[smtp]\nmax_message_bytes=65536\n")
    )
    (tmp_path / "1.eml").write_bytes(mail(1, sender="eve@evil.example"))
    (tmp_path / "2.eml").write_bytes(b"Received: by loop\n" * 60 + mail(2))
    (tmp_path / "3.eml").write_bytes(mail(3) + b"x" * 65_536)
    rows = into(relay, *(tmp_path / f"{n}.eml" for n in (1, 2, 3)), status=1)
    assert [row["reason"] for row in rows] == [
        "sender_not_accepted",
        "loop",
        "too_large",
    ]
    refused = relay.json("log", "--refused")
    # Refused in one batch: in the journal in any order.
    assert {row["id"] for row in refused} == {row["id"] for row in rows}
    assert {row["peer"] for row in refused} == {"import"}
    assert not taken(relay)


def test_text_that_begins_with_from_stays(relay: Any, ada: Any, tmp_path: Path) -> None:
    """An unquoted mbox with an empty line in front is imported whole, and told of."""
    box = tmp_path / "sent.mbox"
    body = mail(1) + b"\nFrom now on the price is 5.\n\nAda\n"
    line = b"From ada Mon Mar  2 09:00:00 2026\n"
    box.write_bytes(b"\n" + line + body + b"\n" + line + mail(2))
    first, second = into(relay, box)
    assert results([first, second]) == ["queued", "queued"]
    assert "begin with From: 1" in first["note"]
    assert second["note"] == ""

    async def raw(store: Any) -> bytes:
        return await store.messages.raw(first["id"])

    assert relay.in_store(raw) == body.replace(b"\n", b"\r\n")
    done = relay("import", str(box), "--user", "ada@corp.example")
    assert f"{box}#1: lines taken as text that begin with From: 1" in done.stderr


def test_no_mail_hides_in_another(relay: Any, ada: Any, tmp_path: Path) -> None:
    """Empty lines may be missing, and dates differ; what is doubtful is not queued."""
    box = tmp_path / "sent.mbox"
    line = b"From ada Mon Mar  2 09:00:00 2026\n"
    otherwise = b"From - Tue, 02 Jan 2024 00:00:00 +0000\n"
    unclear = b"From ada\nSubject: secret\n\nof another\n"
    box.write_bytes(
        b"".join(
            (
                *(line, mail(1), line, mail(2), b"\n", line, mail(3), b"\n"),
                *(otherwise, mail(4), b"\n", unclear, b"\n", line, mail(5)),
            )
        )
    )
    rows = into(relay, box, status=1)
    told = {row["file"].rpartition("#")[2]: row for row in rows}
    assert {number: row["result"] for number, row in told.items()} == {
        "1": "queued",
        "2": "queued",
        "3": "queued",
        "4": "unreadable",
        "5": "queued",
    }
    assert told["4"]["reason"].startswith("it may be several mails")
    subjects = {row["subject"] for row in taken(relay)}
    assert subjects == {"Old 1", "Old 2", "Old 3", "Old 5"}
    box.write_bytes(box.read_bytes().replace(b"\nFrom ada\n", b"\n>From ada\n"))
    assert results(into(relay, box)) == ["known"] * 3 + ["queued", "known"]


def test_what_cannot_be_read_keeps_nothing_back(
    relay: Any, ada: Any, tmp_path: Path
) -> None:
    """Links that lead nowhere or in a circle, a pipe: each is a row, others queued."""
    box = tmp_path / "cur"
    box.mkdir()
    (box / "1").write_bytes(mail(1))
    (box / "2").symlink_to("nowhere")
    (box / "3").symlink_to("3")
    os.mkfifo(box / "4")
    (box / "5").mkdir()
    (box / "6").write_bytes(mail(6))
    rows = into(relay, tmp_path, status=1)
    told = {row["file"].rpartition("/")[2]: row for row in rows}
    assert {name: row["result"] for name, row in told.items()} == {
        "1": "queued",
        "2": "unreadable",
        "3": "unreadable",
        "4": "unreadable",
        "6": "queued",
    }
    assert told["2"]["reason"] == "No such file or directory"
    assert told["4"]["reason"] == "it is no file"


def test_files_without_rights_keep_nothing_back(tmp_path: Path) -> None:
    """A file and a folder of somebody else's are told; a child without root looks."""
    (tmp_path / "1.eml").write_bytes(mail(1))
    (tmp_path / "2.eml").write_bytes(mail(2))
    (tmp_path / "2.eml").chmod(0)
    (tmp_path / "closed").mkdir(mode=0)
    code = (
        "import os, sys; from pathlib import Path\n"
        "from relay.cli import mail_files\n"
        "os.chdir(sys.argv[1])\n"
        "os.getuid() or os.setuid(65534)\n"
        "for one in mail_files.sources([Path('.')]):\n"
        "    print(type(one).__name__, one.path.name, getattr(one, 'reason', ''))\n"
    )
    tmp_path.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path],
        check=False,
        capture_output=True,
        text=True,
    )
    (tmp_path / "closed").chmod(0o700)
    assert done.stdout.splitlines() == [
        "Source 1.eml ",
        "Unreadable 2.eml Permission denied",
        "Unreadable closed Permission denied",
    ], done.stderr


def test_huge_files_stay_out_of_memory(relay: Any, ada: Any, tmp_path: Path) -> None:
    """A mail of 4 GB is refused for its size, alone and in an mbox; others go on."""
    with (tmp_path / "1.eml").open("wb") as file:
        file.write(mail(1))
        file.truncate(4 << 30)
    box = tmp_path / "2.mbox"
    line = b"From ada Mon Mar  2 09:00:00 2026\n"
    with box.open("wb") as file:
        file.write(line + mail(2))
        file.seek(60 << 20)
        file.write(b"\n\n" + line + mail(3))
    tracemalloc.start()
    rows = into(relay, tmp_path, status=1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [(row["result"], row["reason"]) for row in rows] == [
        ("refused", "too_large"),
        ("refused", "too_large"),
        ("queued", ""),
    ]
    assert peak < 50 << 20
    refused = {row["id"] for row in relay.json("log", "--refused")}
    assert refused == {row["id"] for row in rows[:2]}


def test_since_leaves_older_mail_out(relay: Any, ada: Any, tmp_path: Path) -> None:
    """The Date of the mail counts; one that cannot be read is taken."""
    (tmp_path / "1.eml").write_bytes(mail(1, date="Thu, 01 Jan 2015 09:00:00 +0000"))
    (tmp_path / "2.eml").write_bytes(mail(2))
    (tmp_path / "3.eml").write_bytes(mail(3, date="some day"))
    files = [tmp_path / f"{n}.eml" for n in (1, 2, 3)]
    rows = into(relay, *files, more=("--since", "2020-01-01"))
    assert results(rows) == ["too_old", "queued", "queued"]


def test_people_get_counts(relay: Any, ada: Any, tmp_path: Path) -> None:
    """One line says what came of all; refused files are named."""
    (tmp_path / "1.eml").write_bytes(mail(1))
    (tmp_path / "2.eml").write_bytes(mail(2, sender="eve@evil.example"))
    done = relay("import", str(tmp_path), "--user", "ada@corp.example", status=1)
    assert "1 queued, 0 known already, 0 too old, 1 refused" in done.stdout
    assert "2.eml: refused, sender_not_accepted" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("nowhere.eml", "--user", "ada@corp.example"), 2),
        ((".", "--user", "ada@corp.example"), 1),
        ((".", "--user", "nobody@corp.example"), 1),
        ((".",), 2),
    ],
)
def test_slips_are_named(
    relay: Any,
    ada: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    status: int,
) -> None:
    """A path that is not there, a folder without mail, a user nobody knows, or none."""
    folder = tmp_path / "empty"
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert relay.error("import", *arguments, status=status)


def test_an_import_is_proof_unless_the_settings_say_otherwise(
    relay: Any, ada: Any, tmp_path: Path
) -> None:
    """Who has the relay's machine vouches; else unsigned files wait for a person."""
    file = tmp_path / "one.eml"
    file.write_bytes(mail(1))
    text = relay.config.read_text("utf-8")
    strict = text.replace('policy = "listed"', 'policy = "aligned"')
    assert strict != text
    relay.config.write_text(strict)
    (row,) = into(relay, file)
    assert row["result"] == "queued"
    (shown,) = relay.json("show", row["id"])
    assert shown["verdict"]["proof"] == f"imported from {file}"
    file.write_bytes(mail(2))
    # No name server of any machine is asked: this one does not answer.
    dns = '[dns]\nservers = ["127.0.0.1:1"]\ntimeout_s = 0.1\nmail_timeout_s = 0.1\n'
    relay.config.write_text(
        strict.replace("[sender]\n", "[sender]\ntrusted_doors = []\n") + dns
    )
    (row,) = into(relay, file, status=1)
    assert (row["result"], row["reason"]) == ("refused", "dns_temporary")
    with_one_try = relay.config.read_text("utf-8")
    relay.config.write_text(
        with_one_try.replace("[sender]\n", "[sender]\ntemporary_tries = 1\n")
    )
    (row,) = into(relay, file)
    assert (row["result"], row["reason"]) == ("held", "dns_unavailable")
    file.write_bytes(mail(3))
    relay("import", str(file), "--user", "ada@corp.example", status=1)
    done = relay("import", str(file), "--user", "ada@corp.example")
    assert "1 held, because nothing proves their author" in done.stdout
