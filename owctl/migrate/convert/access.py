"""Who may read: what the old backend lets somebody do, as lists that the new one always understands."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from owctl.migrate.convert.merged import Merged, Verdict, readable
from owctl.migrate.convert.values import Raw, boolean, clean_text, is_json_null
from owctl.migrate.source.database import Source

if TYPE_CHECKING:
    from owctl.migrate.convert.references import References

# -- A policy. The new backend takes an empty one for "everybody" in some of its states, and NULL always:
# only lists that are written out, empty ones too, mean the same in all of them.


# Tables whose rows have a policy; resources of ``access_grant`` are called the same.
TABLES = ("channel", "file", "knowledge", "model", "note", "prompt", "tool")
GRANTS = "access_grant"
_SHARES = ("shared_chat", "chat")
_EVERYBODY = b"*"
_RIGHTS = ("read", "write")
_PRINCIPALS = ("group", "user")
# Channels whose members are named in a table of their own, whatever else their row says.
_BY_MEMBERS = (b"dm", b"group")
_LEFT = b"left"
MEMBER_COLUMNS = ("is_active", "status")


@dataclass(slots=True)
class Policy:
    """Ids by (right, kind of principal), in order; ``public`` to read for everybody."""

    names: dict[tuple[str, str], dict[str, None]] = field(default_factory=dict)
    public: bool = False
    everybody_writes: bool = False

    def allow(self, right: str, principal: str, name: str) -> None:
        """Name somebody."""
        self.names.setdefault((right, principal), {})[name] = None

    def groups(self) -> set[bytes]:
        """Return the groups that are named."""
        return {
            name.encode()
            for (_, principal), names in self.names.items()
            if principal == "group"
            for name in names
        }

    def text(self) -> bytes:
        """Return the policy as JSON with all four lists."""
        lists = {
            right: {f"{kind}_ids": list(self.names.get((right, kind), ())) for kind in _PRINCIPALS}
            for right in _RIGHTS
        }
        return json.dumps(lists, ensure_ascii=False).encode()


def parse_policy(text: bytes) -> tuple[Policy, bool]:
    """Return the policy of an ``access_control``, and whether all of it was understood."""
    policy = Policy()
    value: Any = json.loads(text)
    understood = isinstance(value, dict)
    for right in _RIGHTS:
        rule = value.get(right) or {} if isinstance(value, dict) else {}
        for kind in _PRINCIPALS:
            names = (rule.get(f"{kind}_ids") or []) if isinstance(rule, dict) else None
            if not isinstance(names, list):
                understood = False
                continue
            for name in names:
                if isinstance(name, str):
                    policy.allow(right, kind, name)
                else:
                    understood = False
    return policy, understood


# -- What the old backend keeps in tables: members of channels, and, since 0.7, grants.


@dataclass(frozen=True, slots=True)
class Access:
    """Members by channel, policies by resource (table, id); of grants None where there is no table."""

    members: Mapping[bytes, Policy]
    granted: Mapping[tuple[str, bytes], Policy] | None

    def by_grants(self, table: str, resource: bytes) -> Policy | None:
        """Return what grants say of a resource; None where the source has no grants."""
        if self.granted is None:
            return None
        return self.granted.get((table, resource), Policy())

    def by_membership(self, kind: bytes | None, channel: bytes) -> Policy | None:
        """Return the members of a channel of that type; None where others may be in it."""
        return self.members.get(channel, Policy()) if kind in _BY_MEMBERS else None

    def shared_with_everybody(self, share: bytes, chat: bytes) -> bool:
        """Tell whether everybody who has a shared chat's link may open it."""
        if self.granted is None:
            return True
        found = (self.granted.get((kind, key)) for kind in _SHARES for key in (share, chat))
        return any(policy is not None and policy.public for policy in found)

    def merged_grants(self, source: Source, references: "References") -> Merged:
        """Return a verdict for each grant."""
        known: dict[str, set[bytes]] = {}
        verdicts = []
        for rowid, grant in _grants(source):
            table = grant[0]
            if table in TABLES and table not in known:
                known[table] = references.resources(table)
            verdicts.append(Verdict(rowid, *_verdict(grant, known, references)))
        return Merged({}, verdicts)


def policy_of(
    table: str, raw: Mapping[str, Raw], said: bytes | None, access: Access
) -> tuple[Policy, str | None]:
    """Return who may read a row, and the code of why that is not what ``access_control`` says.

    ``raw`` are the row's values of the source, ``said`` is its ``access_control`` as clean JSON.
    """
    key = clean_text(raw.get("id"))[0] or b""
    kind = clean_text(raw.get("type"))[0]
    members = access.by_membership(kind, key) if table == "channel" else None
    if members is not None:
        return members, "members-made-lists"
    granted = access.by_grants(table, key)
    if granted is not None:
        only_read = granted.public and not granted.everybody_writes
        return granted, "public-to-write" if only_read else "grants-made-lists"
    if "access_control" not in raw:
        return Policy(), "access-made-private"
    if raw["access_control"] is None or is_json_null(raw["access_control"]):
        return Policy(public=True), None
    policy, understood = parse_policy(said or b"null")
    if not understood:
        return policy, "access-unreadable"
    written_out = said is not None and json.loads(said) == json.loads(policy.text())
    return policy, None if written_out else "access-made-explicit"


def is_member(row: Mapping[str, Raw]) -> bool:
    """Tell by ``is_active`` and ``status``, where the source has them, whether somebody is in."""
    if "is_active" in row and not boolean(row["is_active"], False)[0]:
        return False
    return clean_text(row.get("status"))[0] != _LEFT


def read_access(source: Source, references: "References") -> Access:
    """Return members of channels and grants, each only of users and groups of the target."""
    granted: dict[tuple[str, bytes], Policy] | None = None
    if GRANTS in source.columns:
        granted = {}
        for _, (kind, resource, principal, name, right) in _grants(source):
            if right not in _RIGHTS or principal not in _PRINCIPALS:
                continue
            policy = granted.setdefault((kind, resource), Policy())
            if principal == "user" and name == _EVERYBODY:
                policy.public |= right == "read"
                policy.everybody_writes |= right == "write"
            elif references.missing(principal, name) is None:
                policy.allow(right, principal, name.decode())
    return Access(_members(source, references), granted)


def _members(source: Source, references: "References") -> dict[bytes, Policy]:
    there = source.columns.get("channel_member", ())
    columns = [name for name in MEMBER_COLUMNS if name in there]
    found: dict[bytes, Policy] = {}
    for _, values in readable(source, "channel_member", ("channel_id", "user_id", *columns)):
        channel, user = clean_text(values[0])[0] or b"", clean_text(values[1])[0] or b""
        if is_member(dict(zip(columns, values[2:], strict=True))) and user in references.ids(
            "user"
        ):
            policy = found.setdefault(channel, Policy())
            for right in _RIGHTS:
                policy.allow(right, "user", user.decode())
    return found


_Grant = tuple[str, bytes, str, bytes, str]


def _grants(source: Source) -> list[tuple[int, _Grant]]:
    columns = ("resource_type", "resource_id", "principal_type", "principal_id", "permission")
    found = []
    for rowid, values in readable(source, GRANTS, columns):
        kind, resource, principal, name, right = (clean_text(raw)[0] or b"" for raw in values)
        grant = (kind.decode(), resource, principal.decode(), name, right.decode())
        found.append((rowid, grant))
    return found


def _verdict(
    grant: _Grant, known: Mapping[str, set[bytes]], references: "References"
) -> tuple[str, str]:
    kind, resource, principal, name, right = grant
    if kind in _SHARES:
        return "no-feature", "the new backend opens a shared chat to all who have its link"
    if kind not in TABLES or principal not in _PRINCIPALS or right not in _RIGHTS:
        return (
            "no-feature",
            f"the new backend has no right to {right} of a {kind} for a {principal}",
        )
    if resource not in known[kind]:
        return f"orphan-{kind}", f"its {kind} is not in the new database"
    why = None if name == _EVERYBODY else references.missing(principal, name)
    return why or ("merged-access", f"in access_control of its {kind}")
