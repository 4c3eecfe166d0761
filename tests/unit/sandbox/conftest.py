"""An org in memory on a clock that stands still, and short ways to write to it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from relay.sandbox.errors import SandboxError
from relay.sandbox.org import SandboxOrg

NOW = datetime(2030, 5, 1, 10, 0, tzinfo=UTC)


class Bench:
    """An org with the integration user at the keyboard."""

    def __init__(self):
        self.org = SandboxOrg()
        self.org.clock.set(NOW, stopped=True)
        self.me = self.org.integration_user_id

    def find(self, name, field, value):
        return self.org.rows.lookup(name, field, [value])[0]["Id"]

    @property
    def contact(self):
        return self.find("Contact", "Email", "mara@acme.example")

    @property
    def lead(self):
        return self.find("Lead", "Email", "peter@gale.example")

    @property
    def converted(self):
        return self.find("Lead", "Email", "grace@elm.example")

    @property
    def opportunity(self):
        return self.find("Opportunity", "Name", "Acme: 40 torque wrenches")

    def user(self, name):
        return self.find("User", "Username", f"{name}@corp.example")

    def create(self, kind="Task", **fields):
        record_id = self.org.records.create(kind, fields, self.org.caller())
        self.org.rows.commit()
        return self.org.rows.get(kind, record_id)

    def update(self, kind, row, **fields):
        self.org.records.update(kind, row["Id"], fields, self.org.caller())
        self.org.rows.commit()
        return self.org.rows.get(kind, row["Id"])

    def delete(self, kind, row):
        self.org.records.delete(kind, row["Id"], self.org.caller())
        self.org.rows.commit()

    def all(self, kind):
        return [row for row in self.org.rows.all(kind) if not row["IsDeleted"]]

    def refused(self, code, kind="Task", **fields):
        """Assert that a create is refused and leaves no trace."""
        before = self.org.dump()
        with pytest.raises(SandboxError) as raised:
            self.create(kind, **fields)
        assert raised.value.code == code
        assert self.org.dump() == before
        return raised.value

    def update_refused(self, code, kind, row, **fields):
        """Assert that an update is refused and leaves no trace."""
        before = self.org.dump()
        with pytest.raises(SandboxError) as raised:
            self.update(kind, row, **fields)
        assert raised.value.code == code
        assert self.org.dump() == before
        return raised.value


@pytest.fixture
def bench():
    return Bench()
