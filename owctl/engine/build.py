"""Building a service's image: ``docker buildx`` where it is installed, else the classic builder."""

import os
import re
import subprocess
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from owctl.compose.model import Build, Service
from owctl.engine.images import Image, inspect_image
from owctl.engine.naming import image_labels
from owctl.errors import ConfigurationError, EngineError

if TYPE_CHECKING:
    from owctl.engine.connection import Engine

LAST_LINES = 20
_PODMAN_SHORT_NAME = "to docker.io (enforced by caller)"
_PROBE_TIMEOUT_SECONDS = 20
# Build arguments of these names would change what the docker command itself does.
_NEEDS_BUILDKIT = re.compile(r"requires BuildKit|Unknown flag: (?:link|parents|exclude)", re.I)
_HERE_DOCUMENT = re.compile(r"^\s*(?:RUN|COPY|ADD)\b.*<<-?[\w'\"]", re.MULTILINE | re.IGNORECASE)
# What a program in the build writes for a terminal.
_ESCAPE_SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b")
_READ_BY_THE_COMMAND = ("DOCKER_", "BUILDX_", "BUILDKIT_", "LD_")


def build_image(
    engine: "Engine",
    project: str,
    service: Service,
    *,
    no_cache: bool = False,
    pull: bool = False,
    on_line: Callable[[str], None] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Image:
    """Build the image of ``service`` and return it; each line of output goes to ``on_line``.

    ``environ`` (default: this process's) gives build arguments without a value theirs. Raises
    ConfigurationError for a missing context or Dockerfile, EngineError with the last lines.
    """
    build = service.build
    if build is None:
        raise ConfigurationError(
            f"Cannot build {service.name}: the compose file has no `build:` for it",
            hint=f"`owctl start --pull {service.name}` gets its image from the registry",
        )
    _check_context(service.name, build)
    variables = os.environ if environ is None else environ
    name = service.declared_image(project)
    labels = {**build.labels, **image_labels(project, service.name)}
    modern = buildx_available(variables)
    if modern:
        command = buildx_command(build, name, labels, variables, no_cache=no_cache, pull=pull)
        lines = _run_buildx(command, command_environment(engine, build, variables))
    else:
        lines = _run_classic(engine, build, name, labels, variables, no_cache=no_cache, pull=pull)
    try:
        _follow(lines, service.name, name, on_line)
    except EngineError as error:
        if not modern and _wants_buildkit(error.message, build):
            error.hint = _buildkit_hint(service.name, variables)
        raise
    image = inspect_image(engine, name)
    if image is None:
        raise EngineError(
            f"Cannot build {service.name}: the builder ended without the image {name}",
            hint="`docker buildx ls`: the builder in use must be able to load images (--load)",
        )
    return image


def buildx_available(environ: Mapping[str, str]) -> bool:
    """Return whether ``docker buildx`` can be used (DOCKER_BUILDKIT=0 forbids it)."""
    if environ.get("DOCKER_BUILDKIT") == "0":
        return False
    try:
        probe = subprocess.run(
            ["docker", "buildx", "version"],
            env=dict(environ),
            capture_output=True,
            timeout=_PROBE_TIMEOUT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return probe.returncode == 0


def buildx_command(
    build: Build,
    name: str,
    labels: Mapping[str, str],
    environ: Mapping[str, str],
    *,
    no_cache: bool,
    pull: bool,
) -> list[str]:
    """Return the command line; the values of build arguments stay out of it where they can."""
    command = ["docker", "buildx", "build", "--load", "--progress", "plain", "--tag", name]
    command += ["--file", str(build.context / build.dockerfile)]
    for key, value in build.args.items():
        by_name = value is None or _goes_by_name(key, value, environ)
        command += ["--build-arg", key if by_name else f"{key}={value}"]
    for key, value in labels.items():
        command += ["--label", f"{key}={value}"]
    for flag, values in (
        ("--cache-from", build.cache_from),
        ("--add-host", tuple(entry.replace("=", ":", 1) for entry in build.extra_hosts)),
        ("--platform", build.platforms),
        ("--target", (build.target,) if build.target else ()),
        ("--network", (build.network,) if build.network else ()),
    ):
        for item in values:
            command += [flag, item]
    command += ["--no-cache"] if no_cache else []
    command += ["--pull"] if pull else []
    return [*command, str(build.context)]


def command_environment(
    engine: "Engine", build: Build, environ: Mapping[str, str]
) -> dict[str, str]:
    """Return the docker command's environment: this very engine, and the build arguments."""
    variables = dict(environ)
    for key in ("DOCKER_CONTEXT", "DOCKER_TLS", "DOCKER_TLS_VERIFY"):
        variables.pop(key, None)
    # Through our own tunnel: a command's own ssh could stop to ask something.
    path = engine.endpoint.local_socket()
    variables["DOCKER_HOST"] = f"unix://{path}" if path else engine.host
    tls = engine.endpoint.tls
    if tls is not None:
        known = tls.authority or tls.certificate
        variables |= {"DOCKER_CERT_PATH": str(known.parent)} if known else {}
        variables["DOCKER_TLS_VERIFY" if tls.verify else "DOCKER_TLS"] = "1"
    for key, value in build.args.items():
        if value is not None and _goes_by_name(key, value, environ):
            variables[key] = value
    return variables


def _goes_by_name(key: str, value: str, environ: Mapping[str, str]) -> bool:
    return environ.get(key, value) == value and not key.startswith(_READ_BY_THE_COMMAND)


def _wants_buildkit(message: str, build: Build) -> bool:
    """Whether the classic builder failed over something that only BuildKit knows."""
    if _NEEDS_BUILDKIT.search(message):
        return True
    text = (build.context / build.dockerfile).read_text("utf-8", "replace")
    return "unknown instruction" in message and _HERE_DOCUMENT.search(text) is not None


def _buildkit_hint(service: str, environ: Mapping[str, str]) -> str:
    if environ.get("DOCKER_BUILDKIT") == "0":
        return (
            f"this Dockerfile needs BuildKit: unset DOCKER_BUILDKIT, then owctl rebuild {service}"
        )
    return (
        "this Dockerfile needs BuildKit: install the buildx plugin (docker-buildx-plugin, or "
        f"docker-buildx in Debian 13 and Ubuntu), then owctl rebuild {service}"
    )


def _check_context(service: str, build: Build) -> None:
    dockerfile = build.context / build.dockerfile
    if not build.context.is_dir():
        raise ConfigurationError(
            f"Cannot build {service}: its build context {build.context} does not exist",
            hint="run owctl in a checkout of the sources, or correct `build.context`",
        )
    if not dockerfile.is_file():
        raise ConfigurationError(
            f"Cannot build {service}: there is no {dockerfile}",
            hint="correct `build.dockerfile` in the compose file",
        )


def _run_buildx(command: list[str], environ: dict[str, str]) -> Iterator[str]:
    """Yield the lines of the command; raise _BuildFailed when it fails."""
    with subprocess.Popen(
        command, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, errors="replace",
    ) as process:  # fmt: skip
        try:
            lines = (_ESCAPE_SEQUENCE.sub("", line.rstrip("\n")) for line in process.stdout or ())
            yield from (line for line in lines if line.strip())
        except BaseException:
            process.terminate()
            raise
    if process.returncode != 0:
        raise _BuildFailed


def _run_classic(
    engine: "Engine",
    build: Build,
    name: str,
    labels: Mapping[str, str],
    environ: Mapping[str, str],
    *,
    no_cache: bool,
    pull: bool,
) -> Iterator[str]:
    """Yield the classic builder's lines; raise _BuildFailed when it says so in the stream."""
    arguments = {
        key: environ.get(key) if value is None else value for key, value in build.args.items()
    }
    import docker.errors

    hosts = dict(entry.replace("=", ":", 1).split(":", 1) for entry in build.extra_hosts)
    with engine.translate(f"build the image {name}"):
        try:
            events = engine.api.build(
                path=str(build.context),
                dockerfile=str(build.context / build.dockerfile),
                tag=name,
                buildargs={key: value for key, value in arguments.items() if value is not None},
                target=build.target or "",
                labels=dict(labels),
                cache_from=list(build.cache_from) or None,
                extra_hosts=hosts or None,
                platform=build.platforms[0] if build.platforms else None,
                network_mode=build.network,
                nocache=no_cache,
                pull=pull,
                rm=True,
                forcerm=True,
                decode=True,
            )
            yield from _classic_lines(events)
        except docker.errors.APIError as error:
            if "dockerfile parse error" not in str(error.explanation):
                raise
            yield str(error.explanation)
            raise _BuildFailed from error


def _classic_lines(events: Any) -> Iterator[str]:  # noqa: ANN401  # docker-py's untyped stream
    failed = False
    for event in events:  # to the very end: only then is the connection given back
        text = event.get("error") or event.get("stream") or event.get("status") or ""
        failed = failed or "error" in event
        plain = _ESCAPE_SEQUENCE.sub("", str(text))
        yield from (line for line in plain.splitlines() if line.strip())
    if failed:
        raise _BuildFailed


def _follow(
    lines: Iterator[str], service: str, name: str, on_line: Callable[[str], None] | None
) -> None:
    last: deque[str] = deque(maxlen=LAST_LINES)
    try:
        for line in lines:
            last.append(line)
            if on_line is not None:
                on_line(line)
    except _BuildFailed:
        why = next((line for line in reversed(last) if line.strip()), "no output")
        hint = f"correct the Dockerfile, then `owctl rebuild {service}`"
        if any(_PODMAN_SHORT_NAME in line for line in last):
            hint = (
                "name the image in full, such as localhost/NAME: Podman looks for the short names of "
                "`FROM` at docker.io only"
            )
        raise EngineError(
            f"Cannot build {service} (image {name}): {why.strip()}",
            hint=hint,
            details=list(last),
        ) from None
    except OSError as error:
        # docker-py names a file of the context that it cannot read in the text alone.
        if error.errno is not None:
            raise
        raise EngineError(
            f"Cannot build {service} (image {name}): {error}",
            hint="make the file readable, or list it in .dockerignore",
        ) from error


class _BuildFailed(Exception):
    """The builder ended with an error, which is in its output."""
