"""Files in an org: one contract for the real client, and for what stands for it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from relay.core.clock import SystemClock
from relay.salesforce import WriteState
from relay.salesforce.files import (
    ALREADY_LINKED,
    RECORD_DELETED,
    link_fields,
    version_fields,
    with_content,
)
from relay.salesforce.org import Org
from tests.fakes.files_org import MemoryOrg

KEY, OTHER = "a" * 40, "b" * 40
CLOCK = SystemClock()
LONG = timedelta(minutes=10)


@pytest.fixture(params=["sandbox", "memory"])
def kind(request):
    return request.param


@pytest.fixture
async def org(kind, request, settings_for):
    if kind == "memory":
        yield MemoryOrg(CLOCK)
        return
    sandbox = request.getfixturevalue("sandbox")
    made = Org(settings_for(sandbox, timeout_s=5.0), CLOCK)
    yield made
    await made.close()


@pytest.fixture
async def record(org, kind):
    """Return the id of a record that files may be linked to."""
    if kind == "memory":
        return "a record"
    (made,) = await org.records.create(
        [("t", "Task", {"Subject": "x"})], not_after_boottime_s=None
    )
    return made.id


async def create(org, sobject, fields, key=KEY):
    soon = CLOCK.boottime_s() + 30
    (outcome,) = await org.records.create(
        [(key, sobject, fields)], not_after_boottime_s=soon
    )
    return outcome


async def send(org, key=KEY, record=None):
    """Create a small file; return its version and document."""
    schema = await org.schema.get()
    fields = version_fields(key, "a.pdf", record, schema, lambda text, _: text)
    if record:
        fields["FirstPublishLocationId"] = record
    outcome = await create(org, "ContentVersion", with_content(fields, b"x"), key)
    assert outcome.state is WriteState.WRITTEN
    places = await org.files.places([outcome.id], [])
    return outcome.id, places.documents[outcome.id]


async def link(org, document, record):
    return await create(org, "ContentDocumentLink", link_fields(document, record))


async def own(org):
    me = await org.access.me()
    now = org.access.server_now()
    return await org.files.find_own(me, now - LONG, now + LONG)


async def test_a_file_is_found_by_its_key(org):
    """Each version has a document, and is found under the key that it carries."""
    version, document = await send(org)
    other, _ = await send(org, OTHER)
    found = await own(org)
    assert {key: [f.version_id for f in files] for key, files in found.items()} == {
        KEY: [version],
        OTHER: [other],
    }
    (file,) = found[KEY]
    assert (file.document_id, file.is_deleted) == (document, False)


async def test_only_files_of_the_time_asked_for_are_found(org):
    """What was made before or after is left out."""
    await send(org)
    me, now = await org.access.me(), org.access.server_now()
    assert await org.files.find_own(me, now + LONG, now + 2 * LONG) == {}
    assert await org.files.find_own(me, now - 2 * LONG, now - LONG) == {}


async def test_one_key_may_be_there_twice(org):
    """A late upload makes a second file of the same key; the older one is first."""
    first, document = await send(org)
    second, double = await send(org)
    assert document != double or first == second
    assert len((await own(org))[KEY]) == 2


async def test_a_large_file_is_a_file_as_well(org):
    """Streamed, it has a version that is found by its key."""
    schema = await org.schema.get()
    fields = version_fields(KEY, "a.bin", None, schema, lambda text, _: text)
    soon = CLOCK.boottime_s() + 30
    outcome = await org.files.upload(
        KEY, fields, 300_000, lambda: [b"x" * 300_000], not_after_boottime_s=soon
    )
    assert outcome.state is WriteState.WRITTEN
    (file,) = (await own(org))[KEY]
    assert file.version_id == outcome.id


async def test_a_link_is_made_once(org, record):
    """The second one between the same two is refused with a code of its own."""
    version, document = await send(org)
    assert (document, record) not in (await org.files.places([version], [record])).links
    assert (await link(org, document, record)).state is WriteState.WRITTEN
    again = await link(org, document, record)
    assert (again.state, again.code) == (WriteState.REFUSED, ALREADY_LINKED)
    assert (document, record) in (await org.files.places([version], [record])).links


async def test_a_link_may_come_with_the_file(org, record):
    """FirstPublishLocationId makes it."""
    version, document = await send(org, record=record)
    assert (document, record) in (await org.files.places([version], [record])).links


async def test_what_was_deleted_stays_visible_as_deleted(org, record):
    """It has no document and no link any more, and no new link can be made."""
    version, document = await send(org, record=record)
    assert await org.records.delete("ContentDocument", document)
    assert not await org.records.delete("ContentDocument", document)
    places = await org.files.places([version], [record])
    assert (places.documents, places.deleted) == ({}, {version})
    assert (document, record) not in places.links
    (file,) = (await own(org))[KEY]
    assert file.is_deleted
    refused = await link(org, document, record)
    assert refused.state is WriteState.REFUSED
    assert refused.code in RECORD_DELETED
