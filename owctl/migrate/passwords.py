"""Passwords and accounts after the move: hashes that the new backend knows, one-time passwords, who signs in for the proof."""

import csv
import io
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from owctl.errors import OwctlError
from owctl.migrate.convert.column_map import Options
from owctl.migrate.convert.mapping import references_of
from owctl.migrate.convert.values import Raw, boolean, clean_text
from owctl.migrate.source.database import Source, Unreadable
from owctl.project.private_file import cannot, put_file

if TYPE_CHECKING:
    import psycopg


# -- Passwords: the old backend's hashes let nobody in at the new one, which knows argon2 alone.
# ``one-time`` gives every account whose hash is of no use a generated password, listed for the
# administrator to hand out; ``keep`` copies the hashes as they are.


FILE_NAME = "one-time-passwords.csv"
Choice = Literal["one-time", "keep"]
_USABLE = ("$argon2id$", "$argon2i$", "$argon2d$")
_HEADER = ("email", "name", "role", "password", "id")
# Without what is taken for something else when it is read aloud or typed: 0 O o, 1 l I.
_ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnpqrstuvwxyz23456789"
_GROUPS, _GROUP_LETTERS = 4, 5
# The backend's own settings, so that a hash looks as if it had made it.
_MEMORY_KIB, _PASSES, _LANES, _HASH_BYTES, _SALT_BYTES = 19456, 2, 1, 32, 16


@dataclass(frozen=True, slots=True)
class Account:
    """An account of the source that signs in with a password; ``hash`` is the old one."""

    id: str
    email: str
    name: str
    role: str
    active: bool
    hash: str = field(repr=False)

    @property
    def is_usable(self) -> bool:
        """Whether the new backend can check the old hash."""
        return self.hash.startswith(_USABLE)


@dataclass(frozen=True, slots=True)
class Passwords:
    """Who can sign in afterwards, and how.

    ``hashes`` are the new ones by account id. ``one_time`` accounts got a password that stands in
    ``path``, ``kept`` ones keep theirs, ``locked_out`` ones cannot sign in with a password, and
    ``inactive`` ones could not before. ``without`` accounts have no password at all (no row in
    ``auth``); ``strays`` are passwords of accounts that are not there.
    """

    hashes: Mapping[str, str] = field(repr=False)
    one_time: int = 0
    kept: int = 0
    locked_out: int = 0
    inactive: int = 0
    without: int = 0
    strays: int = 0
    path: Path | None = None

    def lines(self) -> list[str]:
        """Return the sentences with which a report begins."""
        found = []
        if self.one_time:
            where = "They will be listed in the migration's folder"
            if self.path:
                where = f"They are listed in {self.path}"
            found.append(
                f"{_accounts(self.one_time)} can sign in with a one-time password, and with no "
                f"other. {where}: hand them out, and have them changed."
            )
        if self.kept:
            found.append(f"{_accounts(self.kept)} can sign in with their old password.")
        if self.locked_out:
            found.append(
                f"{_accounts(self.locked_out)} CANNOT sign in: the new backend does not know the "
                "old kind of password (bcrypt). An administrator has to set a new one for each."
            )
        if self.without:
            found.append(
                f"{_accounts(self.without)} CANNOT sign in with a password: the old backend has "
                "none of them (no row in auth), as before. An administrator has to set one, or a "
                "sign-in provider lets them in."
            )
        if self.inactive:
            are = "is" if self.inactive == 1 else "are"
            found.append(f"{_accounts(self.inactive)} {are} switched off, as before.")
        if self.strays:
            words = "1 password" if self.strays == 1 else f"{self.strays} passwords"
            verbs = ("belongs", "stays") if self.strays == 1 else ("belong", "stay")
            found.append(
                f"{words} of the source (rows of auth) {verbs[0]} to no account that is migrated, "
                f"and {verbs[1]} behind."
            )
        return found or ["The source has no accounts that sign in with a password."]


def make_passwords(
    accounts: Iterable[Account],
    choice: Choice,
    folder: Path,
    on_account: Callable[[int], None] = lambda _: None,
) -> Passwords:
    """Make the passwords for ``choice``; those of an earlier run in ``folder`` stay the same.

    ``on_account`` is told how many were made. Raises OwctlError where the list cannot be written.
    """
    everyone = list(accounts)
    if choice == "keep":
        return count(everyone, choice, folder)
    path = folder / FILE_NAME
    useless = [account for account in everyone if account.active and not account.is_usable]
    known = read_passwords(path)
    words = {account.id: known.get(account.id) or generate() for account in useless}
    if useless:
        _write(path, useless, words)
    return replace(count(everyone, choice, folder), hashes=dict(_hashed(words, on_account)))


def count(
    accounts: Iterable[Account],
    choice: Choice,
    folder: Path | None,
    *,
    without: int = 0,
    strays: int = 0,
) -> Passwords:
    """Return who can sign in by a choice, without the hashes; ``folder`` None: not made yet."""
    useless = kept = inactive = 0
    for account in accounts:
        if not account.active:
            inactive += 1
        elif account.is_usable:
            kept += 1
        else:
            useless += 1
    if choice == "keep":
        made = Passwords({}, kept=kept, locked_out=useless, inactive=inactive)
    else:
        path = folder / FILE_NAME if useless and folder is not None else None
        made = Passwords({}, one_time=useless, kept=kept, inactive=inactive, path=path)
    return replace(made, without=without, strays=strays)


def rewrite_list(path: Path, accounts: Iterable[Account]) -> None:
    """Write the list anew with the accounts as the target has them; others are left out of it."""
    known = read_passwords(path)
    if known:
        _write(path, [account for account in accounts if account.id in known], known)


def generate() -> str:
    """Return a password with more than 110 bits of chance, in groups that can be typed."""
    groups = (
        "".join(secrets.choice(_ALPHABET) for _ in range(_GROUP_LETTERS)) for _ in range(_GROUPS)
    )
    return "-".join(groups)


def hash_password(password: str) -> str:
    """Return the argon2id hash in the parameters that the backend uses itself."""
    from argon2 import PasswordHasher

    hasher = PasswordHasher(
        time_cost=_PASSES,
        memory_cost=_MEMORY_KIB,
        parallelism=_LANES,
        hash_len=_HASH_BYTES,
        salt_len=_SALT_BYTES,
    )
    return hasher.hash(password)


def read_passwords(path: Path) -> dict[str, str]:
    """Return the passwords of a list by account id; empty if there is no such file."""
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise cannot("read", path, error) from error
    return {row["id"]: row["password"] for row in csv.DictReader(io.StringIO(text))}


def _hashed(
    words: Mapping[str, str], on_account: Callable[[int], None]
) -> Iterator[tuple[str, str]]:
    """Yield id and hash; hashing leaves the interpreter free, so two threads are twice as fast."""
    with ThreadPoolExecutor(max_workers=min(2, os.cpu_count() or 1)) as pool:
        pairs = zip(words, pool.map(hash_password, words.values()), strict=True)
        for number, pair in enumerate(pairs, 1):
            on_account(number)
            yield pair


def _write(path: Path, accounts: list[Account], words: Mapping[str, str]) -> None:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(_HEADER)
    for account in accounts:
        shown = (account.email, account.name, account.role)
        writer.writerow([*map(_harmless, shown), words[account.id], account.id])
    try:
        put_file(path, text.getvalue().encode("utf-8", "replace"))
    except OSError as error:
        raise cannot("write", path, error) from error


def _harmless(text: str) -> str:
    """Keep a spreadsheet from taking a name for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _accounts(count: int) -> str:
    return f"{count} account" if count == 1 else f"{count} accounts"


# -- The accounts: read from the source for the passwords, and from the target for their list.


def accounts_of(source: Source) -> Iterator[Account]:
    """Yield the accounts of the source that have a password, by what ``auth`` and ``user`` say."""
    if not {"auth", "user"} <= set(source.tables):
        return
    people = {_text(key): person for key, *person in _rows(source, "user", ("id", "name", "role"))}
    for key, email, hashed, active in _rows(source, "auth", ("id", "email", "password", "active")):
        if _text(key) in people:
            name, role = people[_text(key)]
            yield Account(
                _text(key), _text(email), _text(name), _text(role),
                bool(boolean(active, True)[0]), _text(hashed),
            )  # fmt: skip


def ids_of(source: Source, table: str) -> list[str]:
    """Return the ids of a table's rows, those that cannot be read left out."""
    return [_text(key) for (key,) in _rows(source, table, ("id",))]


def accounts_in(connection: "psycopg.Connection[tuple[Any, ...]]") -> Iterator[Account]:
    """Yield the accounts of the target that have a password, with their addresses there."""
    rows = connection.execute(
        'SELECT u.id, a.email, u.name, u.role, a.active, a.password FROM public."user" u'
        " JOIN public.auth a USING (id) ORDER BY u.role <> 'admin', a.email"
    )
    for key, email, name, role, active, hashed in rows:
        yield Account(key, email, name, role, bool(active), hashed or "")


def count_without_password(connection: "psycopg.Connection[tuple[Any, ...]]") -> int:
    """Return how many accounts of the target have no row in ``auth``."""
    row = connection.execute(
        'SELECT count(*) FROM public."user" u'
        " WHERE NOT EXISTS (SELECT FROM public.auth a WHERE a.id = u.id)"
    ).fetchone()
    return int(row[0]) if row else 0


def find_user(source: Source, email: str) -> str:
    """Return the id of the account with an address; raises OwctlError if there is not one such."""
    wanted = email.strip().lower()
    found = [
        _text(key)
        for key, address in _rows(source, "user", ("id", "email"))
        if _text(address).strip().lower() == wanted
    ]
    if len(found) != 1:
        raise OwctlError(
            f"The source has {len(found)} accounts with the address {email}.",
            hint="--orphans assign:EMAIL, with the address of one account",
        )
    return found[0]


def paths_of(source: Source) -> dict[str, str]:
    """Return the paths of uploaded files by the files' ids, as the source has them."""
    return {_text(key): _text(path) for key, path in _rows(source, "file", ("id", "path"))}


def _rows(source: Source, table: str, columns: tuple[str, ...]) -> Iterator[tuple[Any, ...]]:
    if not set(columns) <= set(source.columns.get(table, ())):
        return
    for row in source.rows(table, columns):
        if not isinstance(row, Unreadable):
            yield row[1]


def _text(raw: Raw) -> str:
    """Return a value as the target gets it."""
    return (clean_text(raw)[0] or b"").decode()


# -- Who can sign in afterwards: foretold from the source, and read from the database once it is loaded.


def foretell(source: Source, options: Options | None, choice: Choice) -> Passwords:
    """Return who will be able to sign in; ``options`` None: what the target takes is not known yet.

    Accounts that the target will not get are not counted, nor are passwords of such accounts.
    """
    people, holders = ids_of(source, "user"), ids_of(source, "auth")
    users, auths = set(people), set(holders)
    if options is not None and "user" in options.target_columns:
        references = references_of(source, options)
        users = {key.decode() for key in references.ids("user")}
        auths = {key.decode() for key in references.ids("auth")}
    found = (each for each in accounts_of(source) if each.id in users & auths)
    strays = sum(1 for key in holders if key not in users)
    return count(found, choice, None, without=len(users - auths), strays=strays)


def read_back(
    connection: "psycopg.Connection[tuple[Any, ...]]", choice: Choice, folder: Path, strays: int
) -> Passwords:
    """Return who can sign in, by what the loaded database has; ``strays`` is known from the load."""
    known = read_passwords(folder / FILE_NAME) if choice == "one-time" else {}
    found = list(accounts_in(connection))
    given = [each for each in found if each.id in known]
    others = count((each for each in found if each.id not in known), "keep", None)
    return Passwords(
        {},
        one_time=len(given),
        kept=others.kept,
        locked_out=others.locked_out,
        inactive=others.inactive,
        without=count_without_password(connection),
        strays=strays,
        path=folder / FILE_NAME if given else None,
    )


def document(made: Passwords, choice: Choice) -> dict[str, Any]:
    """Return the part of a report."""
    return {
        "choice": choice,
        "one_time": made.one_time,
        "kept": made.kept,
        "locked_out": made.locked_out,
        "inactive": made.inactive,
        "without_password": made.without,
        "passwords_without_account": made.strays,
        "path": str(made.path) if made.path else None,
        "lines": made.lines(),
    }
