"""The switches of the org: what a test, or `POST /sandbox/config`, can set.

Every switch has the value that the strictest believable org would have. Unknown keys
and values of another type are refused, so that a misspelt switch fails its test.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

CLIENT_ID: Final = "relay-sandbox"
"""Consumer key of the app that is registered from the start."""
CLIENT_SECRET: Final = "relay-sandbox-secret"  # noqa: S105 - no secret: documented
"""Its consumer secret, for the client credentials flow."""
INTEGRATION_USERNAME: Final = "relay@corp.example"
"""The user as whom that app acts: the API caller."""

EMAIL_MODES: Final = frozenset({"enhanced", "absent", "case_only"})


@dataclass(frozen=True, slots=True)
class OrgConfig:
    """The switches; times are seconds.

    Attributes:
        shared_activities: Task.TaskWhoIds, TaskRelation and TaskWhoRelation exist.
        person_accounts: Account.PersonEmail and its like exist.
        multi_currency: CurrencyIsoCode exists.
        email_mode: `enhanced` (EmailMessage, and a Task made for each), `case_only`
            (EmailMessage without that Task), `absent` (no EmailMessage).
        hidden_fields: By object, fields that field-level security hides.
        custom_fields: See `metadata.custom_field`.
        hidden_rows: By user id, record ids that sharing hides from that user.
        private_activities: Tasks and Events of others are hidden from whoever has not
            View All Data, also from the user that made them.
        view_all_data: Usernames that have the permission View All Data.
        refuse_converted_leads: A Task may not name a converted Lead.
        refuse_lead_with_related: An EmailMessage may not have a Lead among its
            recipients and a RelatedToId.
        from_id_relates: FromId of an EmailMessage makes the sender's relation.
        record_types: By object, developer names of record types; they bring the field
            RecordTypeId.
        daily_limit: API calls in any 24 hours.
        latency_s: How long each call takes.
        session_s: How long a token lives after its last use.
        page_size: Records on a full query page at most.
        loose_pages: Serve fewer records on a page than asked for.
        duplicate_rules: `off`, `alert` (allowSave passes) or `block`, for new Leads
            and Contacts with an address that is known already.
        lead_assignment_owner: Owner whom assignment rules give to new Leads.
        blocked_extensions: File name endings that are refused.
        storage_full: New files are refused.
        client_id: Consumer key for both flows.
        client_secret: Consumer secret; empty refuses client credentials.
        run_as: Username that client credentials act as.
        jwt_public_key: PEM of the public key or certificate registered for JWT.
        jwt_users: Usernames that have approved the app; empty approves run_as alone.
        jwt_audiences: Audiences taken beside the org's own address.
    """

    shared_activities: bool = False
    person_accounts: bool = False
    multi_currency: bool = False
    email_mode: str = "enhanced"
    hidden_fields: dict[str, list[str]] = field(
        default_factory=lambda: {"Task": ["Type"]}
    )
    custom_fields: list[dict[str, Any]] = field(default_factory=list)
    hidden_rows: dict[str, list[str]] = field(default_factory=dict)
    private_activities: bool = False
    view_all_data: list[str] = field(default_factory=list)
    refuse_converted_leads: bool = True
    refuse_lead_with_related: bool = True
    from_id_relates: bool = True
    record_types: dict[str, list[str]] = field(default_factory=dict)
    daily_limit: int = 100_000
    latency_s: float = 0.0
    session_s: float = 7_200.0
    page_size: int = 2_000
    loose_pages: bool = True
    duplicate_rules: str = "off"
    lead_assignment_owner: str = ""
    blocked_extensions: list[str] = field(default_factory=list)
    storage_full: bool = False
    client_id: str = CLIENT_ID
    client_secret: str = CLIENT_SECRET
    run_as: str = INTEGRATION_USERNAME
    jwt_public_key: str = ""
    jwt_users: list[str] = field(default_factory=list)
    jwt_audiences: list[str] = field(
        default_factory=lambda: [
            "https://login.salesforce.com",
            "https://test.salesforce.com",
        ]
    )

    @property
    def features(self) -> frozenset[str]:
        """Return the features that `metadata.Schema` knows."""
        on = {
            name
            for name in ("shared_activities", "person_accounts", "multi_currency")
            if getattr(self, name)
        }
        return frozenset(on | ({"email"} if self.email_mode != "absent" else set()))

    def changed(self, settings: Mapping[str, Any]) -> OrgConfig:
        """Return a copy with some switches set.

        Raises:
            ValueError: A key is unknown, or a value has another type or meaning.
        """
        known = {each.name for each in fields(self)}
        for key, value in settings.items():
            if key not in known:
                msg = f"no such switch: {key!r}"
                raise ValueError(msg)
            now = getattr(self, key)
            fits = isinstance(value, type(now))
            if isinstance(now, float):
                fits = isinstance(value, int | float)
            if isinstance(value, bool) != isinstance(now, bool) or not fits:
                msg = f"{key} takes {type(now).__name__}, not {value!r}"
                raise ValueError(msg)
        if settings.get("email_mode", self.email_mode) not in EMAIL_MODES:
            msg = f"email_mode is one of {', '.join(sorted(EMAIL_MODES))}"
            raise ValueError(msg)
        return replace(self, **settings)
