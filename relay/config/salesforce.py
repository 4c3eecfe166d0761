"""The settings of the org: login, what is written and how, files, budget."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from relay.config.records import ExtraFields, KeyField, OwnerId, RecordTypes
from relay.config.values import (
    DENIED_FILES,
    MIB,
    Count,
    CountOrZero,
    FileType,
    Flag,
    Number,
    OptionalFile,
    OptionalOrigin,
    OptionalProxy,
    OptionalSecret,
    OptionalText,
    Origin,
    Seconds,
    Section,
    Share,
    Threads,
    is_rsa_key,
    mistake,
)


class SalesforceSettings(Section):
    """The org that this relay serves, and the login: client credentials or JWT."""

    instance_url: OptionalOrigin = Field(
        default=None,
        description="Address of the org, https://…my.salesforce.com; http:// only for "
        "loopback hosts.",
    )
    login_url: OptionalOrigin = Field(
        default=None,
        description="Host of the token endpoint /services/oauth2/token; empty: "
        "instance_url.",
    )
    audience: Origin = Field(
        default="https://login.salesforce.com",
        description="Audience of the JWT; https://test.salesforce.com for sandboxes.",
    )
    proxy: OptionalProxy = Field(
        default=None,
        repr=False,
        description="HTTP proxy between the relay and Salesforce, http://host:port; "
        "empty: none.",
    )
    client_id: OptionalText = Field(
        default=None, description="Consumer key of the External Client App."
    )
    client_secret: OptionalSecret = Field(
        default=None,
        description="Consumer secret, for the client credentials flow.",
    )
    username: OptionalText = Field(
        default=None,
        description="User name of the integration user, for the JWT bearer flow.",
    )
    private_key_file: OptionalFile = Field(
        default=None,
        description="PEM file with the private key, for the JWT bearer flow.",
    )
    api_version: Annotated[str, Field(pattern=r"^[1-9][0-9]{1,2}[.]0$")] = Field(
        default="66.0", description="Version of the REST API, as text."
    )
    write_as: Literal["auto", "email_message", "task", "nothing"] = Field(
        default="auto",
        description="What the relay writes for a mail: email_message (needs Enhanced "
        "Email), task, or auto: it writes the first mail as EmailMessage and reads it "
        "back; if Salesforce made no activity of it, the relay deletes it and writes "
        "Tasks from then on. nothing: it only plans and shows the plan (relay show).",
    )
    timeout_s: Seconds = Field(
        default=30, description="Wait for an answer of Salesforce, in seconds."
    )
    settle_s: Number = Field(
        default=600,
        description="Where no answer to a write came, the relay looks for the record, "
        "and writes it again only if it is still absent this long after timeout_s, in "
        "seconds. Salesforce may work on a call for ten minutes; a shorter time risks "
        "doubled records.",
    )
    describe_ttl_s: Seconds = Field(
        default=3600,
        description="Time for which the relay caches the org's objects and fields, in "
        "seconds.",
    )
    workers: Threads = Field(
        default=4, description="Calls to Salesforce at a time, a count of threads."
    )
    cache_s: Number = Field(
        default=5,
        description="Time for which the relay caches the records found for an "
        "address, in seconds; 0: no cache.",
    )
    cache_negative_s: Number = Field(
        default=2,
        description="Time for which the relay caches that an address has no record, "
        "in seconds; 0: no cache.",
    )
    daily_share: Share = Field(
        default=1.0,
        description="Share of the org's API calls in 24 hours that the relay may use "
        "itself, above 0 up to 1.",
    )
    slow_at: Share = Field(
        default=0.8,
        description="Share of the calls, the org's or the relay's own, from which the "
        "relay writes less often in larger batches, above 0 up to 1.",
    )
    pause_at: Share = Field(
        default=0.95,
        description="Share of the calls from which the relay only takes mail and "
        "writes nothing until calls are free again, above 0 up to 1.",
    )
    pause_max_s: Seconds = Field(
        default=900,
        description="Longest pause of an org that cannot be used, in seconds; then "
        "the relay tries one mail.",
    )
    max_addresses_per_mail: CountOrZero = Field(
        default=0,
        description="Addresses of one mail that the relay looks up at most, a count; "
        "it leaves out further ones and shows them. 0: all.",
    )
    key_field: KeyField = Field(
        default="Relay_Key__c",
        description="Unique custom field on Activity and EmailMessage for the relay's "
        "key; used if the org has it (relay setup salesforce). Empty: not used.",
    )
    owner_after_s: Number = Field(
        default=30,
        description="Wait before the relay makes the rep the owner of a Task that "
        "Salesforce made of an EmailMessage, in seconds; it changes many in one call.",
    )
    fallback_owner: OwnerId = Field(
        default="",
        description="Id of the user or queue that gets a Task whose rep is inactive "
        "in Salesforce; empty: the mail becomes dead with that reason.",
    )
    files_attach: Flag = Field(
        default=True,
        description="Attachments become Files on the records of a mail: true or false.",
    )
    files_max_bytes: Count = Field(
        default=25 * MIB,
        description="Largest attachment, decoded, in bytes; larger ones stay in the "
        "relay.",
    )
    files_max_count: Count = Field(
        default=50,
        description="Attachments of one mail that become Files, a count; further ones "
        "are left out.",
    )
    files_allow: tuple[FileType, ...] = Field(
        default=(),
        description="Media types (application/pdf, image/*) and file name endings "
        "(.pdf) that become Files; empty: all.",
    )
    files_deny: tuple[FileType, ...] = Field(
        default=DENIED_FILES,
        description="Media types and file name endings that do not become Files; wins "
        "over files_allow.",
    )
    files_inline_min_bytes: CountOrZero = Field(
        default=51_200,
        description="Images inside the text that are smaller than this (logos) are "
        "left out, in bytes.",
    )
    files_original_eml: Flag = Field(
        default=False,
        description="The whole mail becomes a File too, with its relay addresses "
        "masked: true or false.",
    )
    files_hold_s: Seconds = Field(
        default=900,
        description="Wait before the relay tries attachments again in an org whose "
        "storage is full, in seconds.",
    )
    look_before_write: Flag = Field(
        default=False,
        description="Ask Salesforce first whether another tool has logged the mail, "
        "by its Message-ID: true or false. Costs about one call for 200 mails.",
    )
    record_type: RecordTypes = Field(
        default={},
        description="Record types by object, as developer names: { Task = "
        '"Sales_Email" }; or a table [salesforce.record_type] here.',
    )
    fields: ExtraFields = Field(
        default={},
        description='More fields by object, { Task = { Priority = "Low" } }; or a '
        "table [salesforce.fields.Task] here. docs/salesforce.md lists placeholders "
        "such as {subject}.",
    )

    @model_validator(mode="after")
    def _slow_before_pause(self) -> Self:
        if self.slow_at > self.pause_at:
            raise mistake(
                "is above salesforce.pause_at",
                "write a share of at most salesforce.pause_at",
                key="slow_at",
            )
        return self

    @model_validator(mode="after")
    def _credentials_fit(self) -> Self:
        if self.instance_url is not None and (lack := self._lacks()):
            key, problem, hint = lack
            raise mistake(problem, hint, key=key)
        return self

    @model_validator(mode="after")
    def _key_is_one(self) -> Self:
        """Refuse a file that cannot sign now, rather than at the first login."""
        if self.private_key_file is not None and not is_rsa_key(self.private_key_file):
            raise mistake(
                "is no RSA private key that can be read",
                "give the unencrypted PEM file whose certificate the app has",
                key="private_key_file",
            )
        return self

    def _lacks(self) -> tuple[str, str, str] | None:
        """Return key, problem and hint of what keeps a login from being tried."""
        if self.instance_url is None:
            return (
                "instance_url",
                "is needed to reach Salesforce",
                'write the org\'s address, such as "https://example.my.salesforce.com"',
            )
        if self.client_id is None:
            return (
                "client_id",
                "is needed to log in",
                "write the consumer key of the External Client App",
            )
        if self.client_secret is not None:
            if self.private_key_file is not None:
                return (
                    "private_key_file",
                    "is set together with salesforce.client_secret",
                    "keep the one whose flow the app allows",
                )
            return None
        if self.private_key_file is None:
            return (
                "client_secret",
                "is needed to log in",
                (
                    "set it or salesforce.client_secret_file (client credentials), or "
                    "salesforce.username and salesforce.private_key_file (JWT)"
                ),
            )
        if self.username is None:
            return (
                "username",
                "is needed beside salesforce.private_key_file",
                "write the user name of the integration user",
            )
        return None
