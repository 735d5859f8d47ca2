"""The stack under torture: started, changed, and looked at as its data is, byte by byte."""

import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

OWCTL = Path(sys.executable).parent / "owctl"
COMPOSE = Path(__file__).resolve().parent / "compose.yaml"
LABEL = "com.docker.compose."
IMAGES = tuple(f"owctl-demo-{name}:latest" for name in ("postgres", "redis", "rust-backend"))
# Enough that a dump takes a while.
FILL = """
CREATE TABLE IF NOT EXISTS torture (id int PRIMARY KEY, state text NOT NULL, body text NOT NULL);
DELETE FROM torture;
INSERT INTO torture SELECT row, '{state}', (SELECT string_agg(md5(row::text || part || '{state}'), '')
FROM generate_series(1, 30) part) FROM generate_series(1, {rows}) row;
"""
# Every kind of file that an archive can hold.
FILES = """
set -e
cd /app/data
rm -rf uploads/torture
mkdir -p uploads/torture/empty "uploads/torture/with space"
cd uploads/torture
for n in $(seq {files}); do
  head -c 20000 /dev/urandom >file-$n
done
printf '%s' '{state}' >'with space/state'
printf '%s' '{state}' >only-in-{state}
chmod 640 file-1; chown 1234:4321 file-2; touch -d '2001-02-03 04:05:06' file-3
ln -s ../file-1 'with space/link'; ln file-4 hard-link
chmod 2750 empty; touch -d '2002-03-04 05:06:07' empty
sync
"""
# %Ts of a folder is part of it: a restored folder has its own time again. The engine's archives know
# times to the second. A folder's number of links counts what a restore keeps beside, so it is left out.
LISTING = r"""
cd /app/data
find . -name '.owctl-restore-*' -prune -o -type d -printf '%P\t%y\t%m\t%U:%G\t%Ts\n' \
  -o -printf '%P\t%y\t%m\t%U:%G\t%s\t%Ts\t%n\t%l\n' | sort
find . -name '.owctl-restore-*' -prune -o -type f -print0 | sort -z | xargs -0 sha256sum
"""
DIGEST = "SELECT count(*), md5(string_agg(id || state || body, '' ORDER BY id)) FROM torture"
OWN_DATABASES = "SELECT count(*) FROM pg_database WHERE datname ~ '^ow_(restore|before)_'"
HIDDEN = "ls -d /app/data/.owctl-* /data/.owctl-* 2>/dev/null; true"


class Trouble(AssertionError):
    """Something that must hold does not."""


@dataclass(frozen=True, slots=True)
class Result:
    """What an owctl said and how it ended; the exit code is negative for a signal."""

    words: tuple[str, ...]
    exit_code: int
    stdout: str
    stderr: str

    def __str__(self) -> str:
        return (
            f"owctl {' '.join(self.words)} ended with {self.exit_code}\n{self.stdout}{self.stderr}"
        )


@dataclass(frozen=True, slots=True)
class Signature:
    """The stack's data at one moment: rows, files with all that the file system knows, a key."""

    database: str
    files: str
    redis: str


class Subject:
    """A project in a folder of its own. ``prefix`` stands before each command, as nsenter does."""

    def __init__(
        self,
        folder: Path,
        *,
        environment: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
        rows: int = 2000,
        files: int = 20,
    ) -> None:
        self.folder = folder
        self.project = f"owctl-torture-{secrets.token_hex(4)}"
        self.prefix = tuple(prefix)
        self.rows = rows
        self.files = files
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("COMPOSE_", "OWCTL_"))}
        self.environment = kept | {"COLUMNS": "80", "NO_COLOR": "1"} | dict(environment or {})
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(COMPOSE, folder / "compose.yaml")
        env_file = folder / ".env"
        env_file.touch(mode=0o600)
        env_file.write_text(
            f"COMPOSE_PROJECT_NAME={self.project}\nPOSTGRES_PASSWORD={secrets.token_hex(16)}\n"
            f"WEBUI_SECRET_KEY={secrets.token_hex(32)}\n"
        )

    @property
    def backups(self) -> Path:
        """The folder that owctl puts the backups into."""
        return self.folder / "backups"

    def command(self, *words: str) -> list[str]:
        """Return the argument list of an owctl in this project."""
        return [*self.prefix, str(OWCTL), *words]

    def popen(self, *words: str) -> "subprocess.Popen[str]":
        """Start an owctl whose streams are to be read."""
        return subprocess.Popen(
            self.command(*words),
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def owctl(self, *words: str, timeout_seconds: float = 300) -> Result:
        """Run the installed owctl to its end."""
        process = self.popen(*words)
        try:
            stdout, stderr = process.communicate(timeout=timeout_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            stdout, stderr = process.communicate()
            raise Trouble(f"owctl {' '.join(words)} hangs\n{stdout}{stderr}") from None
        return Result(words, process.returncode, stdout, stderr)

    def succeed(self, *words: str) -> Result:
        """Run owctl; anything but success is Trouble."""
        result = self.owctl(*words)
        if result.exit_code != 0:
            raise Trouble(str(result))
        return result

    def inside(self, service: str, *words: str, given: str | None = None) -> str:
        """Run a command in a service's container as root; raises Trouble if it fails."""
        found = self.docker(
            "ps", "-q", *self._filters(f"service={service}", "oneoff=False")
        ).split()
        if len(found) != 1:
            raise Trouble(f"{service} has {len(found)} running containers")
        return self.docker("exec", "-i", "-u", "0", found[0], *words, given=given)

    def docker(self, *words: str, given: str | None = None) -> str:
        """Run docker's own client, the witness; raises Trouble if it fails."""
        done = subprocess.run(
            [*self.prefix, "docker", *words],
            env=self.environment,
            input="" if given is None else given,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode != 0:
            raise Trouble(f"docker {' '.join(words)}: {done.stderr}")
        return done.stdout

    def sql(self, statements: str) -> str:
        """Return what psql prints for statements."""
        argv = ("psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "open_webui")
        return self.inside("postgres", *argv, "open_webui", given=statements).strip()

    def change(self, state: str) -> Signature:
        """Give the stack other data, named ``state``, and return what it is then."""
        self.sql(FILL.format(state=state, rows=self.rows))
        script = FILES.replace("{state}", state).replace("{files}", str(self.files))
        self.inside("rust-backend", "sh", "-c", script)
        self.inside("redis", "redis-cli", "set", "torture", state)
        return self.signature()

    def signature(self) -> Signature:
        """Return the data as it is now."""
        return Signature(
            self.sql(DIGEST),
            self.inside("rust-backend", "sh", "-c", LISTING),
            self.inside("redis", "redis-cli", "get", "torture").strip(),
        )

    def healthy(self) -> None:
        """Raise Trouble unless owctl calls every service healthy."""
        self.succeed("health", "--wait", "--timeout", "60")

    def leftovers(self) -> list[str]:
        """Return what a restore that is over must not leave."""
        found = [path.name for path in self.folder.glob(".owctl/restore*")]
        if self.sql(OWN_DATABASES) != "0":
            found.append("databases of a restore")
        for service in ("rust-backend", "redis"):
            found += self.inside(service, "sh", "-c", HIDDEN).split()
        return found + self.docker("ps", "-aq", *self._filters("oneoff=True")).split()

    def restore_phase(self) -> str | None:
        """Return the phase of the restore's journal, None without one."""
        try:
            document = json.loads((self.folder / ".owctl" / "restore.json").read_bytes())
        except FileNotFoundError:
            return None
        return str(document["phase"])

    def remove(self) -> None:
        """Remove everything that carries the project's label."""
        for kind, listing, removal in (
            ("container", ("-a",), ("rm", "-f", "-v")),
            ("network", (), ("rm",)),
            ("volume", (), ("rm", "-f")),
        ):
            if found := self.docker(kind, "ls", "-q", *listing, *self._filters()).split():
                self.docker(kind, *removal, *found)

    def _filters(self, *labels: str) -> list[str]:
        wanted = (f"project={self.project}", *labels)
        return [word for label in wanted for word in ("--filter", f"label={LABEL}{label}")]
