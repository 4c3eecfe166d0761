"""Files: versions, documents, links, attachments, multipart bodies."""

from __future__ import annotations

import base64
import json

import pytest

DATA = base64.b64encode(b"hello").decode()


def error(reply):
    (first,) = reply.json()
    return reply.status_code, first["errorCode"]


def version(sandbox, **fields):
    body = {"PathOnClient": "note.txt", "VersionData": DATA, **fields}
    return sandbox.call("POST", "sobjects/ContentVersion/", json=body)


def row(sandbox, reply, name="ContentVersion"):
    return sandbox.org.rows.get(name, reply.json()["id"])


def multipart(parts, boundary="frontier"):
    body = b""
    for headers, content in parts:
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        body += f"--{boundary}\r\n{head}\r\n".encode() + content + b"\r\n"
    return body + f"--{boundary}--\r\n".encode()


ENTITY = (
    {
        "Content-Disposition": 'form-data; name="entity"',
        "Content-Type": "application/json",
    },
    json.dumps({"PathOnClient": "a.bin"}).encode(),
)
BINARY = (
    {
        "Content-Disposition": 'form-data; name="VersionData"; filename="a.bin"',
        "Content-Type": "application/octet-stream",
    },
    b"\x00\r\n--fron\xff",
)


def post_multipart(sandbox, parts, boundary="frontier"):
    kind = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    data = multipart(parts, boundary)
    return sandbox.call("POST", "sobjects/ContentVersion", data=data, headers=kind)


def test_a_version_makes_its_document(sandbox):
    """Checklist 29: the document's id comes by query; the bytes can be read back."""
    reply = version(sandbox)
    assert reply.status_code == 201
    made = row(sandbox, reply)
    soql = f"SELECT ContentDocumentId FROM ContentVersion WHERE Id = '{made['Id']}'"
    document = sandbox.query(soql)[0]["ContentDocumentId"]
    assert document.startswith("069")
    assert (made["Title"], made["FileExtension"], made["ContentSize"]) == (
        "note",
        "txt",
        5,
    )
    blob = sandbox.call("GET", f"sobjects/ContentVersion/{made['Id']}/VersionData")
    assert blob.content == b"hello"
    again = version(sandbox, ContentDocumentId=document)
    assert row(sandbox, again)["VersionNumber"] == "2"
    assert sandbox.org.rows.get("ContentVersion", made["Id"])["IsLatest"] is False


def test_a_version_is_published_at_its_first_place(sandbox):
    """FirstPublishLocationId saves the link, but not for a mail that takes none."""
    task = sandbox.call("POST", "sobjects/Task/", json={}).json()["id"]
    assert version(sandbox, FirstPublishLocationId=task).status_code == 201
    soql = f"SELECT Id FROM ContentDocumentLink WHERE LinkedEntityId = '{task}'"
    assert len(sandbox.query(soql)) == 1
    body = {"Status": "3"}
    mail = sandbox.call("POST", "sobjects/EmailMessage/", json=body).json()["id"]
    before = len(sandbox.admin("dump?object=ContentDocument")["ContentDocument"])
    reply = version(sandbox, FirstPublishLocationId=mail)
    assert error(reply) == (403, "INSUFFICIENT_ACCESS_OR_READONLY")
    after = sandbox.admin("dump?object=ContentDocument")["ContentDocument"]
    assert len(after) == before


def test_links_are_made_once_and_with_a_share_type(sandbox):
    """Checklist 13, 29: both ids and ShareType; a second link is a duplicate."""
    document = row(sandbox, version(sandbox))["ContentDocumentId"]
    link = {"ContentDocumentId": document, "LinkedEntityId": sandbox.contact()}
    path = "sobjects/ContentDocumentLink/"
    reply = sandbox.call("POST", path, json=link)
    assert error(reply) == (400, "REQUIRED_FIELD_MISSING")
    link["ShareType"] = "X"
    reply = sandbox.call("POST", path, json=link)
    assert error(reply) == (400, "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST")
    link["ShareType"] = "V"
    assert sandbox.call("POST", path, json=link).status_code == 201
    assert error(sandbox.call("POST", path, json=link)) == (400, "DUPLICATE_VALUE")


def test_links_are_queried_by_id_only(sandbox):
    """Checklist 29: no filter on one of the three ids, no answer."""
    query = {"q": "SELECT Id FROM ContentDocumentLink"}
    reply = sandbox.call("GET", "query", params=query)
    assert reply.status_code == 400


def test_what_a_version_refuses(sandbox):
    """Checklist 13, 29: missing parts, later changes of content, deletion."""
    reply = sandbox.call("POST", "sobjects/ContentVersion/", json={"Title": "x"})
    assert error(reply) == (400, "REQUIRED_FIELD_MISSING")
    assert error(version(sandbox, VersionData="&&&")) == (400, "JSON_PARSER_ERROR")
    made = row(sandbox, version(sandbox))["Id"]
    path = f"sobjects/ContentVersion/{made}"
    for name in ("PathOnClient", "VersionData"):
        reply = sandbox.call("PATCH", path, json={name: DATA})
        assert error(reply) == (400, "INVALID_FIELD_FOR_INSERT_UPDATE")
    reply = sandbox.call("DELETE", path)
    assert error(reply) == (403, "INSUFFICIENT_ACCESS_OR_READONLY")


def test_a_document_goes_with_its_versions(sandbox):
    """Deleting the document deletes versions and links."""
    made = row(sandbox, version(sandbox, FirstPublishLocationId=sandbox.contact()))
    path = f"sobjects/ContentDocument/{made['ContentDocumentId']}"
    assert sandbox.call("DELETE", path).status_code == 204
    assert sandbox.org.rows.get("ContentVersion", made["Id"])["IsDeleted"] is True


def test_files_that_the_org_does_not_take(sandbox):
    """Checklist 28: blocked endings, and a full org."""
    sandbox.admin("config", {"blocked_extensions": ["exe", "html"]})
    reply = version(sandbox, PathOnClient="a.EXE")
    assert error(reply) == (400, "FILE_EXTENSION_NOT_ALLOWED")
    reply = version(sandbox, PathOnClient="a.html")
    assert error(reply) == (400, "HTML_FILE_UPLOAD_NOT_ALLOWED")
    sandbox.admin("config", {"storage_full": True})
    assert error(version(sandbox)) == (400, "STORAGE_LIMIT_EXCEEDED")


def test_a_multipart_body_carries_bytes(sandbox):
    """Checklist 28: the binary part is named after the field, and stays unchanged."""
    reply = post_multipart(sandbox, [ENTITY, BINARY])
    assert reply.status_code == 201, reply.text
    path = f"sobjects/ContentVersion/{reply.json()['id']}/VersionData"
    assert sandbox.call("GET", path).content == BINARY[1]


def without(part, *names):
    headers = {name: part[0][name] for name in part[0] if name not in names}
    return headers, part[1]


@pytest.mark.parametrize(
    "parts",
    [
        [BINARY],
        [ENTITY, without(BINARY, "Content-Type")],
        [ENTITY, without(BINARY, "Content-Disposition")],
        [
            ENTITY,
            (
                {**BINARY[0], "Content-Disposition": 'form-data; name="VersionData"'},
                b"x",
            ),
        ],
        [
            ENTITY,
            (
                {
                    **BINARY[0],
                    "Content-Disposition": 'form-data; name="Nope"; filename="x"',
                },
                b"x",
            ),
        ],
    ],
)
def test_a_multipart_body_that_lacks_something_is_refused(sandbox, parts):
    """Checklist 28: types, names, file names and field names are all needed."""
    assert post_multipart(sandbox, parts).status_code == 400


def test_a_multipart_boundary_is_short(sandbox):
    """Checklist 28: 70 characters at most."""
    assert post_multipart(sandbox, [ENTITY, BINARY], "b" * 71).status_code == 400


def test_attachments_keep_their_body(sandbox):
    """The legacy object: ParentId, Name and Body are required."""
    body = {"ParentId": sandbox.contact(), "Name": "a.txt", "Body": DATA}
    reply = sandbox.call("POST", "sobjects/Attachment/", json=body)
    assert row(sandbox, reply, "Attachment")["BodyLength"] == 5
    path = f"sobjects/Attachment/{reply.json()['id']}"
    assert sandbox.call("GET", f"{path}/Body").content == b"hello"
    body.pop("Body")
    reply = sandbox.call("POST", "sobjects/Attachment/", json=body)
    assert error(reply) == (400, "REQUIRED_FIELD_MISSING")
