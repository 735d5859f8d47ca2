"""What the codes of notes and rejects mean, in words for the report."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Explanation:
    """``loses`` tells whether the old database knew something that the new one does not."""

    text: str
    loses: bool = False


CHANGES: dict[str, Explanation] = {
    "access-group-lost": Explanation(
        "names a group that stays behind: its members lose access", True
    ),
    "access-made-explicit": Explanation("who may read, with every list written out"),
    "access-made-private": Explanation("private: a newer source keeps access elsewhere", True),
    "access-unreadable": Explanation(
        "no policy that can be read; private as far as it is not", True
    ),
    "boolean-guessed": Explanation("a number other than 0 and 1, taken for yes"),
    "boolean-unreadable": Explanation("neither yes nor no; the default", True),
    "circle-cut": Explanation("a circle of folders was cut here; now at the top", True),
    "date-unreadable": Explanation("no date of the form YYYY-MM-DD; left empty", True),
    "double-encoded": Explanation("JSON within JSON, unpacked once"),
    "duplicate-renamed": Explanation("another account keeps the address; a new one was made", True),
    "duplicate-to-null": Explanation("another row has it, and each may be there once", True),
    "email-from-user": Explanation("the address of the account's row in user"),
    "file-ids-merged": Explanation("files of the knowledge, from knowledge_file"),
    "folder-missing": Explanation("its folder is not there or somebody else's; in none now", True),
    "fraction-dropped": Explanation("fractions of a second or of a number dropped", True),
    "grants-made-lists": Explanation("who may read, from access_grant"),
    "invalid-json-to-null": Explanation("no valid JSON; left empty", True),
    "json-too-deep-to-null": Explanation("JSON nested too deep; left empty", True),
    "json-too-large-to-null": Explanation("JSON of more than 256 MB; left empty", True),
    "lower-cased": Explanation("in lower case, as the new backend looks it up"),
    "members-made-lists": Explanation("its members, as lists; administrators may read it, too"),
    "no-longer-archived": Explanation("an archived channel; the new backend lists it", True),
    "members-merged": Explanation("members of the group, from group_member"),
    "ms-to-s": Explanation("milliseconds to seconds"),
    "name-from-email": Explanation("no name; the address instead"),
    "nan-to-null": Explanation("NaN or Infinity, which JSON does not know; null"),
    "new-password": Explanation("a one-time password"),
    "ns-to-s": Explanation("nanoseconds to seconds"),
    "nul-removed": Explanation("NUL characters, which PostgreSQL does not store, removed"),
    "null-text": Explanation("JSON's null or an empty text; NULL"),
    "null-to-default": Explanation("empty; the default instead"),
    "number-to-null": Explanation("a number too large or too fine for PostgreSQL; null", True),
    "number-unreadable": Explanation("no number; left empty", True),
    "oauth-unreadable": Explanation("the provider's account cannot be read; left empty", True),
    "only-first-provider": Explanation("only the first sign-in provider is kept", True),
    "orphan-assigned": Explanation("its user is missing; given to the chosen one"),
    "parent-missing": Explanation("its parent folder is not there; now at the top"),
    "parent-of-other-user": Explanation("its parent folder is somebody else's; now at the top"),
    "path-kept": Explanation("not among the uploads; the path stays, and leads nowhere", True),
    "path-rewritten": Explanation("the new backend's upload folder"),
    "prompt-becomes-public": Explanation("not for everybody until now; as was asked for", True),
    "public-to-write": Explanation(
        "everybody may read it; in the new backend change it, too", True
    ),
    "reply-to-deleted": Explanation("answers a deleted message; shown no more than before"),
    "reply-to-rejected": Explanation(
        "what it answers stays behind; now in the channel itself", True
    ),
    "role-too-long": Explanation(
        "a role longer than its column; pending, until somebody decides", True
    ),
    "role-unknown": Explanation("a role that the new backend does not know; kept"),
    "share-differs": Explanation("the chat went on after it was shared; the link is dropped", True),
    "share-restricted": Explanation("a link for some; the new backend's is for all; dropped", True),
    "share-without-snapshot": Explanation("a link that led nowhere; dropped"),
    "slash-added": Explanation("the slash with which the new backend looks it up"),
    "surrogate-replaced": Explanation("half an emoji, which UTF-8 cannot hold; U+FFFD"),
    "text-cut": Explanation("longer than its column; cut, with … at the end", True),
    "time-from-number": Explanation("a number of seconds; as a date and time"),
    "time-from-sister": Explanation("no time; that of creation or of the last change"),
    "time-from-words": Explanation("a date and time in words; as seconds, read as UTC"),
    "time-unknown": Explanation("no time at all; 1970"),
    "time-unreadable": Explanation("no time that can be read; as if there were none", True),
    "too-long-to-null": Explanation(
        "longer than its column, and of no use in part; left empty", True
    ),
    "us-to-s": Explanation("microseconds to seconds"),
    "utf8-replaced": Explanation("bytes that are no UTF-8; U+FFFD", True),
}

REJECTIONS: dict[str, str] = {
    "bookkeeping": "the old backend's own notes about its migrations",
    "deleted-channel": "deleted in the old backend, which kept it hidden",
    "duplicate-email": "another account has the address",
    "duplicate-key": "another row has the same id; the first was kept",
    "empty-api-key": "an API key without a key",
    "expired-api-key": "an API key that has expired",
    "invalid-json": "its content is no valid JSON",
    "json-too-deep": "its content is nested deeper than PostgreSQL takes",
    "json-too-large": "its content is larger than the 256 MB that PostgreSQL takes",
    "left-channel": "no longer a member of its channel",
    "legacy": "a table that the old backend no longer used",
    "merged-access": "kept: in access_control of what it is for",
    "merged-group": "kept: in user_ids of its group",
    "merged-knowledge": "kept: in data.file_ids of its knowledge",
    "merged-tag": "kept: the same tag of another account",
    "merged-user": "kept: as api_key of its user",
    "missing-key": "it has no id",
    "no-feature": "the new backend has nothing like it",
    "not-carried-over": "sessions end: users sign in again",
    "null-not-allowed": "a value is missing that the new database demands",
    "number-out-of-range": "a number is too large for its column",
    "orphan-channel": "its channel is not there",
    "orphan-file": "its file is not there",
    "orphan-group": "its group is not there",
    "orphan-knowledge": "its knowledge is not there",
    "orphan-message": "its message is not there",
    "orphan-model": "its model is not there",
    "orphan-note": "its note is not there",
    "orphan-prompt": "its prompt is not there",
    "orphan-tool": "its tool is not there",
    "orphan-user": "its user is not there",
    "owner-rejected": "its owner's account was rejected; given to nobody else",
    "prompt-not-public": "every account would get it; --prompts-become-public takes it along",
    "refused-by-server": "PostgreSQL did not take it; the detail has its words",
    "set-anew": "settings; the new backend has its own: .env and its administration",
    "shared-snapshot": "the snapshot of a shared chat; the chat itself is kept",
    "superseded-api-key": "its user has a newer API key",
    "target-too-old": "this version of the new backend has no room for it",
    "too-long": "a text is longer than its column allows",
    "unknown-table": "a table that owctl does not know",
    "unreadable": "it lies on a damaged page of the database",
}


def explain_change(kind: str) -> Explanation:
    """Return what a note's kind means; an unknown one stands for itself."""
    return CHANGES.get(kind, Explanation(kind))


def explain_rejection(reason: str) -> str:
    """Return what a reject's reason means; an unknown one stands for itself."""
    return REJECTIONS.get(reason, reason)
