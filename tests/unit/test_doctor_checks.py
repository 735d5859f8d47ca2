"""The doctor's verdicts that need no engine: `.env`, images' names, disk, memory, the report."""

import os
from pathlib import Path

import pytest

from owctl.compose.model import Mount, Port, Service, Stack
from owctl.doctor.data import check_data
from owctl.doctor.engine import is_pinned
from owctl.doctor.environment import check_environment
from owctl.doctor.examine import examine, run_checks
from owctl.doctor.finding import CHECKS, START_CHECKS, Finding, Report, Situation, in_order
from owctl.doctor.ports import check_exposure
from owctl.doctor.resources import MEGABYTE, check_disk, judge_disk, judge_memory
from owctl.engine.images import Image
from owctl.errors import OwctlError
from owctl.figures import rough_size
from owctl.postgres.files import image_major
from owctl.settings import Settings

GOOD = "Zk3f8sQp1LmW9xTb7VcR"


def stack_of(folder: Path, *services: Service) -> Stack:
    return Stack(
        project="proj",
        working_dir=folder,
        config_files=(folder / "compose.yaml",),
        environment_files=(),
        services={service.name: service for service in services},
        networks={},
        volumes={},
    )


def settings_of(folder: Path, environment: dict[str, str] | None = None) -> Settings:
    path = folder / ".env"
    return Settings(
        project_dir=folder,
        compose_files=(),
        environment_files=(path,) if path.exists() else (),
        project_name=None,
        profiles=(),
        docker_context=None,
        environment=environment or {},
    )


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").touch(mode=0o600)
    return tmp_path


def env_findings(folder: Path, **variables: str) -> list[tuple[str, str]]:
    service = Service("backend", image="backend", environment=variables)
    found = check_environment(settings_of(folder), stack_of(folder, service))
    return [(finding.status, finding.detail) for finding in found]


def test_a_private_file_with_good_secrets(folder):
    found = env_findings(folder, POSTGRES_PASSWORD=GOOD, WEBUI_SECRET_KEY=GOOD[::-1])
    assert found == [("ok", ".env: private, and every secret is set")]


@pytest.mark.parametrize(
    ("value", "status", "words"),
    [
        ("", "failed", "is empty"),
        ("open_webui_password", "warning", "widely known"),
        ("changeme", "warning", "widely known"),
        ("Zk3f8s", "warning", "weak"),
        ("abababababababababab", "warning", "weak"),
    ],
)
def test_a_secret_that_is_none(folder, value, status, words):
    ((found, detail),) = env_findings(folder, POSTGRES_PASSWORD=value)
    assert found == status
    assert words in detail
    assert not value or value not in detail


def test_a_password_that_breaks_the_address_it_stands_in(folder):
    value = "Zk3f8sQp/LmW9x@Tb"
    address = f"postgresql://web:{value}@postgres:5432/chats"
    assert env_findings(folder, POSTGRES_PASSWORD=value)[0][0] == "ok"
    ((status, detail),) = env_findings(folder, POSTGRES_PASSWORD=value, DATABASE_URL=address)
    assert status == "warning"
    assert "addresses" in detail
    assert value not in detail


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_file_that_others_can_open(folder, mode):
    (folder / ".env").chmod(mode)
    ((status, detail),) = env_findings(folder, POSTGRES_PASSWORD=GOOD)
    assert status == "warning"
    assert f"{mode:04o}" in detail


def test_no_file_at_all(folder):
    (folder / ".env").unlink()
    assert env_findings(folder, POSTGRES_PASSWORD=GOOD) == [("failed", ".env does not exist")]


def test_secrets_are_judged_even_if_the_stack_cannot_be_loaded(folder):
    found = check_environment(settings_of(folder, {"REDIS_PASSWORD": "redis"}), None)
    assert [finding.status for finding in found] == ["warning"]


@pytest.mark.parametrize(
    ("reference", "pinned"),
    [
        ("postgres", False),
        ("postgres:latest", False),
        ("registry:5000/team/backend", False),
        ("registry:5000/team/backend:latest", False),
        ("registry:5000/team/backend:1.2", True),
        ("postgres:16-alpine", True),
        ("backend@sha256:" + "0" * 64, True),
        ("backend:latest@sha256:" + "0" * 64, True),
    ],
)
def test_which_names_are_pinned(reference, pinned):
    assert is_pinned(reference) is pinned


@pytest.mark.parametrize(
    ("reference", "environment", "major"),
    [
        ("anything", ["PG_MAJOR=16"], "16"),
        ("anything", ["PG_VERSION=17.2-1.pgdg120+1"], "17"),
        ("anything", ["PATH=/usr/lib/postgresql/15/bin:/bin"], "15"),
        ("postgres:16-alpine", None, "16"),
        ("docker.io/library/postgres:17.2", None, "17"),
        ("pgvector/pgvector:pg16", None, "16"),
        ("postgres:16-alpine", ["PG_MAJOR=15"], "15"),
        ("postgres:alpine", None, None),
        ("mine:16", None, None),
    ],
)
def test_the_major_of_an_image(reference, environment, major):
    raw = {"Config": {"Env": environment}}
    image = None if environment is None else Image("sha256:1", (), (), 0, None, {}, raw)
    assert image_major(reference, image) == major


def test_a_disk_is_judged_by_what_is_free(tmp_path):
    status = os.statvfs(tmp_path)
    free = status.f_bavail * status.f_frsize

    def verdict(warning: int, failed: int) -> str:
        return judge_disk("it", tmp_path, status, (warning, failed)).status

    assert verdict(0, 0) == "ok"
    assert verdict(free + 1, 0) == "warning"
    assert verdict(free + 1, free + 1) == "failed"


def test_no_place_to_look_at_is_no_verdict(tmp_path):
    assert check_disk(None, tmp_path / "gone")[0].status == "skipped"


def test_memory():
    total = 4000 * MEGABYTE

    def verdict(available: int, swap: int = 0) -> Finding:
        known = {"MemTotal": total, "MemAvailable": available, "SwapFree": swap}
        return judge_memory(total, known)

    assert verdict(2000 * MEGABYTE).status == "ok"
    assert verdict(300 * MEGABYTE).status == "warning"
    assert verdict(300 * MEGABYTE, swap=2000 * MEGABYTE).status == "ok"
    assert verdict(50 * MEGABYTE).status == "failed"
    # Another machine's memory says nothing about the engine's.
    assert judge_memory(total * 2, {"MemTotal": total, "MemAvailable": 1}).status == "ok"
    assert judge_memory(total, {}).status == "ok"


def test_sizes_for_people():
    assert [rough_size(n * MEGABYTE) for n in (12, 999, 1400)] == ["12 MB", "999 MB", "1.4 GB"]


def test_a_database_that_everybody_can_reach(tmp_path):
    def verdict(*ports: Port) -> str:
        service = Service("postgres", image="postgres:16", ports=ports)
        return check_exposure(stack_of(tmp_path, service))[0].status

    assert verdict(Port(5432, "5432")) == "warning"
    assert verdict(Port(5432, "5432", "0.0.0.0")) == "warning"
    assert verdict(Port(5432, "5432", "127.0.0.1")) == "ok"
    assert verdict(Port(5432)) == "ok"


def test_the_worst_finding_is_the_reports():
    def status(*each: str) -> str:
        return Report("p", tuple(Finding("disk", one, "") for one in each)).status

    assert status("ok", "skipped") == "ok"
    assert status("ok", "warning", "skipped") == "warning"
    assert status("warning", "failed", "ok") == "failed"


def test_findings_come_in_the_order_of_the_checks():
    mixed = [Finding(name, "ok", "") for name in reversed(CHECKS)]
    assert tuple(finding.check for finding in in_order(mixed)) == CHECKS
    assert set(START_CHECKS) < set(CHECKS)


def test_a_check_that_cannot_be_made_does_not_stop_the_others():
    def broken() -> tuple[Finding, ...]:
        raise OwctlError("no answer", hint="again")

    def fine() -> tuple[Finding, ...]:
        return (Finding("disk", "ok", "plenty"),)

    found = run_checks({("ports",): broken, ("disk",): fine}, ())
    assert found == [
        Finding("ports", "skipped", "no answer", "again"),
        Finding("disk", "ok", "plenty"),
    ]
    assert run_checks({("ports",): broken, ("disk",): fine}, ("ports", "disk")) == []


def test_every_check_is_in_the_report_whatever_is_missing():
    report = examine(None, None, None, ignore=("disk",))
    assert tuple(finding.check for finding in report.findings) == CHECKS
    assert {finding.status for finding in report.findings} == {"skipped"}
    ignored = next(finding for finding in report.findings if finding.check == "disk")
    assert ignored.detail == "ignored"


PGDATA = "/var/lib/postgresql/data"


@pytest.mark.parametrize(
    ("mounts", "environment", "words"),
    [
        ((), {}, f"at {PGDATA}: with its container gone"),
        ((Mount("volume", "/var/lib/postgresql", "data"),), {}, f"at {PGDATA}: with its container"),
        ((Mount("volume", PGDATA),), {}, f"at {PGDATA}: with its container gone"),
        ((), {"PGDATA": "/elsewhere"}, "in its container itself"),
        ((Mount("volume", PGDATA, "data"),), {}, ""),
        ((Mount("bind", PGDATA, "/srv/data"),), {"PGDATA": f"{PGDATA}/below"}, ""),
        ((Mount("volume", "/elsewhere", "data"),), {"PGDATA": "/elsewhere/below"}, ""),
    ],
)
def test_data_that_is_in_no_volume_with_a_name(
    tmp_path: Path, mounts: tuple[Mount, ...], environment: dict[str, str], words: str
):
    raw = {"Config": {"Volumes": {PGDATA: {}}, "Env": [f"PGDATA={PGDATA}"]}}
    image = Image("sha256:1", ("postgres:16",), (), 0, "", {}, raw)
    service = Service("postgres", image="postgres:16", mounts=mounts, environment=environment)
    stack = stack_of(tmp_path, service)
    found = check_data(Situation(None, stack, images={"postgres:16": image}))
    warnings = [each for each in found if each.status == "warning"]
    assert bool(warnings) == bool(words)
    for warning in warnings:
        assert words in warning.detail
        folder = environment.get("PGDATA", PGDATA)
        assert f"`- postgres_data:{folder}` under the volumes of postgres" in (warning.hint or "")
