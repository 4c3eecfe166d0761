"""Files: versions, documents, links, and legacy attachments.

Inserting a ContentVersion makes its ContentDocument, whose id only a query returns.
A version is never changed or deleted; new content is a new version.

Source: Salesforce Object Reference, "ContentVersion", "ContentDocument",
"ContentDocumentLink"; REST API Developer Guide, "Insert or Update Blob Data".
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

from relay.sandbox.errors import SandboxError
from relay.sandbox.records import ObjectRules

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.sandbox.records import Write
    from relay.sandbox.state import OrgState

DRAFT: Final = "5"
_KINDS: Final = {
    "pdf": "PDF",
    "txt": "TEXT",
    "csv": "CSV",
    "html": "HTML",
    "htm": "HTML",
    "png": "PNG",
    "jpg": "JPG",
    "jpeg": "JPG",
    "gif": "GIF",
    "docx": "WORD_X",
    "xlsx": "EXCEL_X",
    "zip": "ZIP",
    "eml": "UNKNOWN",
}


class VersionRules(ObjectRules):
    """ContentVersion."""

    def before_insert(self, write: Write, row: dict[str, Any]) -> None:
        """Check the file, and read from its name what the platform reads."""
        data, path = write.given.get("VersionData"), row.get("PathOnClient")
        if data is None or path is None:
            return  # The engine names the missing fields.
        name = path.replace("\\", "/").rpartition("/")[2]
        ending = name.rpartition(".")[2].lower() if "." in name else ""
        check_file(write.state, ending)
        write.state.blobs[row["Id"]] = data
        row.update(
            Title=row.get("Title") or name.rpartition(".")[0] or name,
            FileExtension=ending[:40] or None,
            FileType=_KINDS.get(ending, "UNKNOWN"),
            ContentSize=len(data),
            # The platform's own choice for this field; no security hangs on it.
            Checksum=hashlib.md5(data, usedforsecurity=False).hexdigest(),
            VersionData=write.state.blob_url(
                "ContentVersion", row["Id"], "VersionData"
            ),
            IsLatest=True,
            PublishStatus="P",
        )

    def after_insert(self, write: Write, row: dict[str, Any]) -> None:
        """Make the document, or add the version to the one given; publish it."""
        older = 0
        document_id = row.get("ContentDocumentId")
        if document_id is None:
            document_id = _insert_document(write, row)
        else:
            for each in write.state.rows.where(
                "ContentVersion", "ContentDocumentId", document_id
            ):
                older += each["Id"] != row["Id"]
                if each["Id"] != row["Id"] and each["IsLatest"]:
                    write.state.rows.put("ContentVersion", {**each, "IsLatest": False})
        write.state.rows.put(
            "ContentVersion",
            {**row, "ContentDocumentId": document_id, "VersionNumber": str(older + 1)},
        )
        document = write.state.rows.get("ContentDocument", document_id) or {}
        write.state.rows.put(
            "ContentDocument",
            {
                **document,
                "LatestPublishedVersionId": row["Id"],
                "ContentSize": row["ContentSize"],
                "ContentModifiedDate": row.get("CreatedDate"),
            },
        )
        if row.get("FirstPublishLocationId") and not older:
            link_document(write, document_id, row["FirstPublishLocationId"])

    def before_delete(self, write: Write, row: Mapping[str, Any]) -> None:
        """Refuse to delete a version alone: it goes with its document."""
        document = (
            write.state.rows.get("ContentDocument", row["ContentDocumentId"]) or {}
        )
        if not document.get("IsDeleted"):
            raise SandboxError(
                "INSUFFICIENT_ACCESS_OR_READONLY", "a version cannot be deleted"
            )


class DocumentRules(ObjectRules):
    """ContentDocument."""

    def after_delete(self, write: Write, row: Mapping[str, Any]) -> None:
        """Delete its versions and links as well."""
        for name in ("ContentVersion", "ContentDocumentLink"):
            for each in write.state.rows.where(name, "ContentDocumentId", row["Id"]):
                write.records.drop(name, each, write.caller)


class DocumentLinkRules(ObjectRules):
    """ContentDocumentLink."""

    def before_insert(self, write: Write, row: dict[str, Any]) -> None:
        """Refuse a second link, and a link to an e-mail that takes no files."""
        row["Visibility"] = row.get("Visibility") or "AllUsers"
        document, target = row.get("ContentDocumentId"), row.get("LinkedEntityId")
        if document and target:
            _check_link(write.state, document, target)


class AttachmentRules(ObjectRules):
    """Attachment."""

    def before_insert(self, write: Write, row: dict[str, Any]) -> None:
        """Store the body outside of the row."""
        self._keep(write.state, row, write.given)

    def before_update(self, write: Write, row: dict[str, Any]) -> None:
        """Store the new body."""
        self._keep(write.state, row, write.given)

    def _keep(
        self, state: OrgState, row: dict[str, Any], given: Mapping[str, Any]
    ) -> None:
        if given.get("Body") is None:
            return
        name = row.get("Name") or ""
        check_file(state, name.rpartition(".")[2].lower() if "." in name else "")
        state.blobs[row["Id"]] = given["Body"]
        row["BodyLength"] = len(given["Body"])
        row["Body"] = state.blob_url("Attachment", row["Id"], "Body")


def check_file(state: OrgState, ending: str) -> None:
    """Refuse a file when the org is full or does not take its kind.

    Raises:
        SandboxError: No such file, or no file at all, is taken now.
    """
    if state.config.storage_full:
        raise SandboxError("STORAGE_LIMIT_EXCEEDED", "storage limit exceeded")
    if ending in state.config.blocked_extensions:
        html = ending in {"html", "htm", "svg"}
        code = "HTML_FILE_UPLOAD_NOT_ALLOWED" if html else "FILE_EXTENSION_NOT_ALLOWED"
        raise SandboxError(code, f"files of this kind cannot be uploaded: {ending}")


def link_document(write: Write, document_id: str, target_id: str) -> None:
    """Link a document to a record, as the platform does on its own.

    Raises:
        SandboxError: The record takes no link.
    """
    _check_link(write.state, document_id, target_id)
    values = {
        "ContentDocumentId": document_id,
        "LinkedEntityId": target_id,
        "ShareType": "V",
        "Visibility": "AllUsers",
    }
    write.records.system_insert("ContentDocumentLink", values, write.caller.user_id)


def _check_link(state: OrgState, document_id: str, target_id: str) -> None:
    for each in state.rows.where("ContentDocumentLink", "LinkedEntityId", target_id):
        if each["ContentDocumentId"] == document_id:
            raise SandboxError(
                "DUPLICATE_VALUE",
                "duplicate value found: <unknown> duplicates value on record with id: "
                "<unknown>",
            )
    email = state.rows.get("EmailMessage", target_id)
    if email and not (email.get("IsClientManaged") or email.get("Status") == DRAFT):
        raise SandboxError(
            "INSUFFICIENT_ACCESS_OR_READONLY",
            "an email that is neither a draft nor client managed takes no files",
            fields=("LinkedEntityId",),
        )


def _insert_document(write: Write, row: Mapping[str, Any]) -> str:
    values = {
        name: row.get(name)
        for name in ("Title", "FileType", "FileExtension", "Description", "OwnerId")
    }
    document = write.records.system_insert(
        "ContentDocument", {**values, "PublishStatus": "P"}, write.caller.user_id
    )
    return str(document["Id"])
