"""The command line: for an admin who types and for scripts that read.

Each command group has its own file, which is imported when the command runs and not
before, and heavy libraries are imported inside the commands, so that `relay --help`
is there at once. Deciding is left to the packages below: a command reads its
arguments, calls the store, the org or `relay.app`, and prints.

Listings are tables for people and, with `--json`, one object per line with stable
names. An error is one line on stderr with a hint. Exit status: 0 done, 1 the command
failed, 2 wrong usage or configuration.
"""

from __future__ import annotations

import click

from relay import __version__
from relay.cli.entry import LazyCommand, RootGroup

COMMANDS = {
    "demo": LazyCommand(
        "demo", "demo", "Show the relay with seven mails, without an org."
    ),
    "serve": LazyCommand("serve", "serve", "Take mail in and log it in Salesforce."),
    "check": LazyCommand(
        "check", "check", "Check settings, listeners, DNS and Salesforce."
    ),
    "setup": LazyCommand("check", "setup", "Prepare Salesforce for the relay."),
    "db": LazyCommand("serve", "db", "Manage the database."),
    "activate": LazyCommand(
        "activation", "activate", "Switch logging on for everybody."
    ),
    "deactivate": LazyCommand(
        "activation", "deactivate", "Switch logging off for everybody."
    ),
    "user": LazyCommand("user", "user", "Manage users and their relay addresses."),
    "token": LazyCommand(
        "credentials", "token", "Manage tokens for programs that use the API."
    ),
    "address": LazyCommand(
        "address", "address", "Manage the addresses that users may send from."
    ),
    "exclude": LazyCommand(
        "settings", "exclude", "Manage addresses that are not logged."
    ),
    "settings": LazyCommand(
        "settings", "settings", "Change settings without a restart."
    ),
    "history": LazyCommand(
        "history", "history", "Show who changed what, and take changes back."
    ),
    "sender": LazyCommand(
        "sender", "sender", "Look at what proves the senders of mail."
    ),
    "logging": LazyCommand(
        "logging", "logging", "See and decide how mail reaches Salesforce."
    ),
    "notices": LazyCommand("notices", "notices", "Show the notices to users."),
    "alerts": LazyCommand("alerts", "alerts", "Show what is wrong, and who is told."),
    "status": LazyCommand("status", "status", "Show how much waits, and for what."),
    "log": LazyCommand("log", "log", "List messages and refusals."),
    "show": LazyCommand("log", "show", "Show what happened to one message."),
    "reminder": LazyCommand(
        "reminder", "reminder", "Manage what people are to do, and by which day."
    ),
    "unmatched": LazyCommand(
        "unmatched", "unmatched", "Show mail that fits no record, and resolve it."
    ),
    "import": LazyCommand("import_", "import_", "Queue mail from files."),
    "explain": LazyCommand(
        "explain", "explain", "Show what the relay would do with a mail."
    ),
    "retry": LazyCommand("queue", "retry", "Try messages again now."),
    "hold": LazyCommand("queue", "hold", "Keep queued messages back."),
    "release": LazyCommand(
        "queue", "release", "Put held messages back into the queue."
    ),
    "discard": LazyCommand("queue", "discard", "Give messages up."),
    "undo": LazyCommand("undo", "undo", "Take a logged mail out of Salesforce again."),
    "audit": LazyCommand("check", "audit", "Compare the ledger with Salesforce."),
    "sandbox": LazyCommand("sandbox", "sandbox", "Run a local Salesforce org."),
}


@click.group(
    cls=RootGroup,
    lazy=COMMANDS,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 100,
    },
)
@click.version_option(__version__, prog_name="relay")
def main() -> None:
    """Log BCC'd e-mail in Salesforce.

    Settings come from the file of --config, else of RELAY_CONFIG, else relay.toml in
    this folder, else /etc/relay/relay.toml. The environment (RELAY_…) wins over the
    file.
    """


__all__ = ["main"]
