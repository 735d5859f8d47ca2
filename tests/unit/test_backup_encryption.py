"""Encrypted members: what is stored, who can read it, and what is said when somebody cannot."""

import hashlib
import os
import random
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import zstandard
from needed_programs import program
from test_backup_dump_scan import dump
from test_backup_verify import described, tar_of

from owctl.backup import manifest as manifests
from owctl.backup.create.run import usual_encryption
from owctl.backup.encryption import Encryption, Identity, load_identities, read_recipients
from owctl.backup.manifest import Manifest, Member
from owctl.backup.member_file import MemberContent, MemberFile, Stored, write_small
from owctl.backup.schedule.schedule import Schedule, daily, write_schedule
from owctl.backup.verify import dump_head, verify_backup, verify_member
from owctl.errors import BackupInvalid, ConfigurationError, Interrupted, OwctlError, UsageError

ROWS = {"public.chat": 2, "public.user": 9}


class Keys:
    """A pair of keys, the private one in a file as age-keygen writes it."""

    def __init__(self, folder: Path, name: str = "identity.txt") -> None:
        import pyrage

        identity = pyrage.x25519.Identity.generate()
        self.recipient = str(identity.to_public())
        self.secret = str(identity)
        self.path = folder / name
        self.path.write_text(
            f"# created: 2025-01-31T03:15:00Z\n# public key: {self.recipient}\n{self.secret}\n"
        )

    @property
    def identities(self) -> tuple[Identity, ...]:
        return load_identities(self.path)


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path)


def store_encrypted(folder: Path, name: str, content: bytes, encryption: Encryption) -> Stored:
    compressed = name.endswith(".zst")
    with MemberFile(folder, name, compressed=compressed, encryption=encryption) as file:
        for start in range(0, len(content), 300_000):
            file.write(content[start : start + 300_000])
        return file.finish()


def content_of(folder: Path, member: Member, identities: tuple[Identity, ...]) -> bytes:
    with MemberContent(folder, member, identities=identities) as content:
        data = b"".join(content)
        content.finish()
    return data


def assert_no_thread_is_left() -> None:
    assert not [each.name for each in threading.enumerate() if each.name.startswith("owctl-")]


def ssh_key(folder: Path, kind: str, passphrase: str = "") -> Path:
    path = folder / f"id_{kind}{'_protected' if passphrase else ''}"
    keygen = program("ssh-keygen", "openssh-client")
    argv = [keygen, "-q", "-t", kind, "-N", passphrase, "-C", "me@my-machine", "-f", path]
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, timeout=60)
    return path


def test_a_member_is_compressed_then_encrypted_then_hashed(tmp_path: Path, keys: Keys) -> None:
    content = random.Random(1).randbytes(300_000) * 20
    stored = store_encrypted(tmp_path, "v/a.tar.zst", content, Encryption([keys.recipient]))
    assert stored.name == "v/a.tar.zst.age"
    raw = (tmp_path / stored.name).read_bytes()
    assert raw.startswith(b"age-encryption.org/v1\n")
    assert stored.sha256 == hashlib.sha256(raw).hexdigest()
    assert stored.size_bytes == len(raw) < len(content) * 0.6
    assert stored.content_size_bytes == len(content)
    assert content_of(tmp_path, described(stored, "volume"), keys.identities) == content


def test_the_age_tool_reads_it(tmp_path: Path, keys: Keys) -> None:
    stored = store_encrypted(tmp_path, "a.zst", b"chats" * 100_000, Encryption([keys.recipient]))
    argv = [program("age", "age"), "-d", "-i", keys.path, tmp_path / stored.name]
    plain = subprocess.run(argv, check=True, capture_output=True, timeout=60).stdout
    content = zstandard.ZstdDecompressor().decompressobj().decompress(plain)
    assert content == b"chats" * 100_000


def test_what_the_age_tool_encrypted_is_read(tmp_path: Path, keys: Keys) -> None:
    argv = [program("age", "age"), "-r", keys.recipient, "-o", tmp_path / "m.age"]
    subprocess.run(argv, check=True, input=b"A=1\n" * 50_000, timeout=60)
    data = (tmp_path / "m.age").read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    member = Member("m.age", "configuration", len(data), sha256, 200_000)
    assert content_of(tmp_path, member, keys.identities) == b"A=1\n" * 50_000


@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
def test_ssh_keys_serve_as_well(tmp_path: Path, kind: str) -> None:
    path = ssh_key(tmp_path, kind)
    (recipient,) = read_recipients([path.with_suffix(".pub").read_text().strip()], tmp_path)
    assert "me@my-machine" not in recipient
    stored = write_small(tmp_path, ".env", b"A=1\n", Encryption([recipient]))
    assert stored.name == ".env.age"
    member = described(stored, "configuration")
    assert content_of(tmp_path, member, load_identities(path)) == b"A=1\n"


def test_each_of_several_recipients_can_read(tmp_path: Path, keys: Keys) -> None:
    other = Keys(tmp_path, "other.txt")
    (tmp_path / "team").write_text(f"# the team\n\n{other.recipient}\n")
    recipients = read_recipients([keys.recipient, "@team", keys.recipient], tmp_path)
    assert recipients == (keys.recipient, other.recipient)
    stored = store_encrypted(tmp_path, "d.zst", dump(), Encryption(recipients))
    for identities in (keys.identities, other.identities):
        verify_member(tmp_path, described(stored, "database", rows=ROWS), identities=identities)


def test_it_is_read_back_in_full_before_anybody_has_an_identity(tmp_path: Path, keys: Keys) -> None:
    encryption = Encryption([keys.recipient])
    stored = store_encrypted(tmp_path, "d.zst", dump(), encryption)
    member = described(stored, "database", rows=ROWS)
    verify_member(tmp_path, member, identities=[encryption.read_back])
    with MemberContent(tmp_path, member, identities=[encryption.read_back]) as content:
        assert dump_head(content).startswith(b"PGDMP")
    wrong = described(stored, "database", rows=ROWS | {"public.chat": 3})
    with pytest.raises(BackupInvalid, match="rows"):
        verify_member(tmp_path, wrong, identities=[encryption.read_back])
    # Another run's key is another one: it cannot read this.
    with pytest.raises(ConfigurationError):
        verify_member(tmp_path, member, identities=[Encryption([keys.recipient]).read_back])


@pytest.mark.parametrize("with_identity", [True, False])
def test_every_flipped_bit_and_every_cut_of_it_is_noticed(
    tmp_path: Path, keys: Keys, with_identity: bool
) -> None:
    content = tar_of(random.Random(2).randbytes(200_000))
    stored = store_encrypted(tmp_path, "v.tar.zst", content, Encryption([keys.recipient]))
    member = described(stored, "volume")
    identities = keys.identities if with_identity else ()
    path = tmp_path / stored.name
    whole = path.read_bytes()
    dice = random.Random(3)
    # Many of the first bytes: a header that fits nobody must not pass for a wrong identity.
    for place in [*range(0, 400, 7), *(dice.randrange(len(whole)) for _ in range(60))]:
        changed = bytearray(whole)
        changed[place] ^= 1 << dice.randrange(8)
        path.write_bytes(changed)
        with pytest.raises(BackupInvalid, match=r"^v\.tar\.zst\.age: "):
            verify_member(tmp_path, member, identities=identities)
    for cut in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(BackupInvalid, match="bytes"):
            verify_member(tmp_path, member, identities=identities)
    path.write_bytes(whole)
    verify_member(tmp_path, member, identities=identities)
    assert_no_thread_is_left()


def test_a_wrong_identity_is_no_broken_backup(tmp_path: Path, keys: Keys) -> None:
    stored = store_encrypted(tmp_path, "d.zst", dump(), Encryption([keys.recipient]))
    other = Keys(tmp_path, "other.txt")
    with pytest.raises(ConfigurationError, match=r"not encrypted to the identity in .*other\.txt"):
        verify_member(tmp_path, described(stored, "database"), identities=other.identities)


def test_without_an_identity_the_stored_bytes_are_compared(tmp_path: Path, keys: Keys) -> None:
    stored = store_encrypted(tmp_path, "d.zst", dump(), Encryption([keys.recipient]))
    manifest = Manifest("i", "p", "t", 1, (described(stored, "database", rows={"x": 1}),))
    verify_backup(tmp_path, manifest)
    with (
        pytest.raises(UsageError, match="is encrypted") as caught,
        MemberContent(tmp_path, manifest.members[0]) as content,
    ):
        next(iter(content))
    assert "--identity" in (caught.value.hint or "")


def test_the_manifest_names_the_recipients_and_no_secret(tmp_path: Path, keys: Keys) -> None:
    encryption = Encryption([keys.recipient])
    manifest = Manifest("i", "p", "t", 1, (), encryption=encryption.to_json())
    data = manifests.dump(manifest)
    assert manifests.parse(data) == manifest
    assert manifests.parse(data).encryption == {"format": "age", "recipients": [keys.recipient]}
    assert b"AGE-SECRET-KEY" not in data
    assert keys.secret not in repr(keys.identities) + repr(encryption.__dict__)
    plain = manifests.dump(Manifest("i", "p", "t", 1, ()))
    assert b"encryption" not in plain
    assert manifests.parse(plain).encryption is None
    with pytest.raises(BackupInvalid):
        manifests.parse(data.replace(b'"age"', b'"rot13"'))


def test_what_is_no_recipient_is_refused(tmp_path: Path, keys: Keys) -> None:
    for text in ("age1foo", "ssh-ed25519 AAAA", "ecdsa-sha2-nistp256 AAAA", "", "somebody"):
        with pytest.raises(UsageError, match="no recipient") as caught:
            read_recipients([text], tmp_path)
        assert "age1…" in (caught.value.hint or "")
    with pytest.raises(UsageError, match="private key") as caught:
        read_recipients([keys.secret], tmp_path)
    assert keys.secret not in str(caught.value) + str(caught.value.hint)
    (tmp_path / "list").write_text(f"{keys.recipient}\nage1nobody\n")
    with pytest.raises(ConfigurationError) as listed:
        read_recipients(["@list"], tmp_path)
    assert listed.value.details[0].startswith(f"{tmp_path / 'list'}:2: ")
    (tmp_path / "empty").write_text("# nobody yet\n")
    for name in ("empty", "missing"):
        with pytest.raises(ConfigurationError, match=name):
            read_recipients([f"@{name}"], tmp_path)


def test_what_is_no_identity_is_refused(tmp_path: Path, keys: Keys) -> None:
    broken = keys.secret[:-3] + "XYZ"
    (tmp_path / "broken").write_text(f"# mine\n{broken}\n")
    (tmp_path / "empty").write_text("")
    (tmp_path / "pem").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nfoo\n")
    for name, says in [
        ("broken", "no file of identities"),
        ("empty", "no identity"),
        ("missing", "No such file"),
        ("pem", "cannot use"),
    ]:
        with pytest.raises(ConfigurationError, match=says) as caught:
            load_identities(tmp_path / name)
        assert broken not in " ".join((str(caught.value), *caught.value.details))


def test_a_passphrase_is_not_asked_for(tmp_path: Path) -> None:
    (tmp_path / "protected.age").write_bytes(b"age-encryption.org/v1\n-> scrypt x 18\n")
    for path in (tmp_path / "protected.age", ssh_key(tmp_path, "ed25519", "secret")):
        with pytest.raises(ConfigurationError, match="passphrase"):
            load_identities(path)


def test_a_full_disk_is_told_as_one(tmp_path: Path, keys: Keys) -> None:
    def write() -> None:
        with MemberFile(tmp_path, "full", encryption=Encryption([keys.recipient])) as file:
            full = os.open("/dev/full", os.O_WRONLY)
            os.dup2(full, file._file.fileno())
            os.close(full)
            for _ in range(60):
                file.write(os.urandom(1 << 20))
            file.finish()

    with pytest.raises(OwctlError, match="no space is left"):
        write()
    assert_no_thread_is_left()


def test_it_can_be_interrupted_and_given_up(tmp_path: Path, keys: Keys) -> None:
    encryption = Encryption([keys.recipient])
    stored = store_encrypted(tmp_path, "d.zst", os.urandom(5_000_000), encryption)
    member = described(stored, "configuration")
    with pytest.raises(Interrupted):
        verify_member(tmp_path, member, identities=keys.identities, cancelled=lambda: True)
    with MemberContent(tmp_path, member, identities=keys.identities) as content:
        next(iter(content))

    def give_up() -> None:
        with MemberFile(tmp_path, "x.zst", encryption=encryption) as file:
            file.write(os.urandom(5_000_000))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        give_up()
    assert_no_thread_is_left()


def test_memory_stays_flat(tmp_path: Path, keys: Keys) -> None:
    """A quarter of a gigabyte through both directions, in a process of its own."""
    code = f"""
import os
from pathlib import Path
from owctl.backup.encryption import Encryption, load_identities
from owctl.backup.manifest import Member
from owctl.backup.member_file import MemberFile
from owctl.backup.verify import verify_member
folder = Path({str(tmp_path)!r})
piece = os.urandom(1 << 20)
def through(name, pieces):
    encryption = Encryption([{keys.recipient!r}])
    with MemberFile(folder, name, compressed=False, encryption=encryption) as file:
        for _ in range(pieces):
            file.write(piece)
        stored = file.finish()
    member = Member(stored.name, "configuration", stored.size_bytes, stored.sha256, pieces << 20)
    verify_member(folder, member, identities=load_identities(Path({str(keys.path)!r})))
    # Not getrusage: that remembers what the process was forked from.
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return int(status["VmHWM"].split()[0]) // 1024
print(through("warm", 16), through("large", 256))
"""
    argv = [sys.executable, "-c", code]
    answer = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=100)
    small, large = map(int, answer.stdout.split())
    assert large - small < 16, f"{small} MiB, then {large} MiB"


def test_without_pyrage_the_way_to_it_is_named(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['pyrage'] = None\n"
        "from pathlib import Path\n"
        "from owctl.backup.encryption import Encryption, load_identities\n"
        "from owctl.errors import OwctlError\n"
        "for call in (lambda: Encryption(['age1x']), lambda: load_identities(Path('x'))):\n"
        "    try: call()\n"
        "    except OwctlError as error: print(error.hint)\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert answer.stdout.count("pip install 'owctl[encrypt]'") == 2


def made(folder: Path, hour: int, label: str | None = None, *recipients: str) -> None:
    backup_id = f"20250131T{hour:02}0000Z-aaaaaa"
    encryption = {"format": "age", "recipients": list(recipients)} if recipients else None
    manifest = Manifest(
        backup_id, "proj", f"2025-01-31T{hour:02}:00:00Z", 1, (), label=label, encryption=encryption
    )
    path = folder / "backups" / backup_id
    path.mkdir(parents=True)
    (path / "manifest.json").write_bytes(manifests.dump(manifest))


def recipients_of(folder: Path) -> tuple[str, ...] | None:
    found = usual_encryption(folder, "proj")
    return None if found is None else found.recipients


def test_what_owctl_backs_up_by_itself_is_encrypted_as_the_backups_are(tmp_path: Path) -> None:
    mine, other = Keys(tmp_path).recipient, Keys(tmp_path, "other.txt").recipient
    assert recipients_of(tmp_path) is None
    made(tmp_path, 1, None, mine)
    made(tmp_path, 2, "before restore of 20250131T010000Z-aaaaaa")
    assert recipients_of(tmp_path) == (mine,)
    made(tmp_path, 3)
    assert recipients_of(tmp_path) is None
    # What is scheduled counts before the first run of it.
    words = ("owctl", "backup", "--encrypt-to", "@keys.txt", f"--encrypt-to={other}")
    write_schedule(
        tmp_path,
        Schedule("proj", daily("02:00"), "crontab", words, None, (), "2025-01-31T04:00:00Z"),
    )
    (tmp_path / "keys.txt").write_text(f"{mine}\n")
    assert set(recipients_of(tmp_path) or ()) == {mine, other}
    (tmp_path / "keys.txt").unlink()
    with pytest.raises(ConfigurationError, match=r"keys\.txt"):
        recipients_of(tmp_path)
