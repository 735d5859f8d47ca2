"""The raw body that creates a container, and the names and labels around it."""

from pathlib import Path

import pytest

from owctl.compose.model import (
    Attachment,
    Dependency,
    HealthCheck,
    Logging,
    Mount,
    Network,
    Port,
    Resources,
    Service,
    Stack,
    Ulimit,
    Volume,
)
from owctl.engine import naming
from owctl.engine.create_config import container_config

SPEC = {"image": "base:1"}


def stack_of(service: Service) -> Stack:
    return Stack(
        project="shop",
        working_dir=Path("/srv/shop"),
        config_files=(Path("/srv/shop/compose.yaml"), Path("/srv/shop/more.yaml")),
        environment_files=(Path("/srv/shop/.env"),),
        services={service.name: service},
        networks={key: Network(key, f"shop_{key}") for key in ("default", "back", "zone")},
        volumes={"files": Volume("files", "shop_files")},
    )


def body(api_version: str = "1.41", number: int = 1, proxies=None, **fields: object) -> dict:
    service = Service(name="web", **{"image": "base:1", "spec": SPEC, **fields})
    return container_config(
        stack_of(service), service, number=number, image_id="sha256:1", api_version=api_version,
        proxy_environment=proxies,
    )  # fmt: skip


def test_the_least_service_sets_the_least():
    made = body(attachments=(Attachment("default"),), restart="no")
    labels = made.pop("Labels")
    assert made == {
        "Image": "base:1",
        "AttachStdout": True,
        "AttachStderr": True,
        "Env": [],
        "ExposedPorts": {},
        "HostConfig": {"NetworkMode": "shop_default"},
        "NetworkingConfig": {
            "EndpointsConfig": {"shop_default": {"Aliases": ["shop-web-1", "web"]}}
        },
    }
    assert labels[naming.PROJECT] == "shop"


def test_the_labels_are_composes():
    labels = body(
        number=2,
        labels={"purpose": "test"},
        depends_on=(Dependency("db", "service_healthy", restart=True), Dependency("cache")),
    )["Labels"]
    assert labels.pop(naming.CONFIG_HASH)
    assert len(labels.pop(naming.SPEC_HASH)) == 64
    assert labels == {
        "purpose": "test",
        "com.docker.compose.project": "shop",
        "com.docker.compose.service": "web",
        "com.docker.compose.version": naming.COMPOSE_VERSION,
        "com.docker.compose.project.working_dir": "/srv/shop",
        "com.docker.compose.project.config_files": "/srv/shop/compose.yaml,/srv/shop/more.yaml",
        "com.docker.compose.project.environment_file": "/srv/shop/.env",
        "com.docker.compose.oneoff": "False",
        "com.docker.compose.container-number": "2",
        "com.docker.compose.depends_on": "db:service_healthy:true,cache:service_started:false",
        "com.docker.compose.image": "sha256:1",
    }


def test_networks_and_volumes_have_no_config_hash():
    stack = stack_of(Service(name="web"))
    network = naming.network_labels(stack, Network("default", "shop_default", labels={"a": "b"}))
    assert network == {
        "a": "b", naming.PROJECT: "shop", naming.NETWORK: "default",
        naming.VERSION: naming.COMPOSE_VERSION,
    }  # fmt: skip
    volume = naming.volume_labels(stack, Volume("files", "shop_files"))
    assert volume == {
        naming.PROJECT: "shop", naming.VOLUME: "files", naming.VERSION: naming.COMPOSE_VERSION,
        naming.VOLUME_OWNER: "/srv/shop",
    }  # fmt: skip


def test_a_declared_name_is_kept():
    service = Service(name="web", container_name="my-web")
    assert naming.container_name(stack_of(service), service, 1) == "my-web"
    assert naming.container_name(stack_of(service), Service(name="web"), 3) == "shop-web-3"


def test_the_spec_hash_is_of_the_body_without_labels():
    same = body(environment={"A": "1"})["Labels"][naming.SPEC_HASH]
    assert body(environment={"A": "1"}, labels={"x": "y"})["Labels"][naming.SPEC_HASH] == same
    assert body(environment={"A": "2"})["Labels"][naming.SPEC_HASH] != same


def test_environment_proxies_and_names_without_a_value():
    made = body(
        environment={"B": "2", "A": "", "NO_PROXY": "mine", "GONE": None},
        proxies={"HTTP_PROXY": "http://p", "NO_PROXY": "theirs"},
    )
    assert made["Env"] == ["A=", "B=2", "GONE", "HTTP_PROXY=http://p", "NO_PROXY=mine"]


@pytest.mark.parametrize("api_version", ["1.41", "1.44"])
def test_a_health_check_is_in_nanoseconds_and_start_interval_needs_a_newer_engine(api_version):
    check = HealthCheck(
        test=("CMD", "true"), interval_seconds=5, timeout_seconds=0.5, start_period_seconds=90,
        start_interval_seconds=1, retries=3,
    )  # fmt: skip
    expected = {
        "Test": ["CMD", "true"], "Interval": 5_000_000_000, "Timeout": 500_000_000,
        "StartPeriod": 90_000_000_000, "Retries": 3,
    }  # fmt: skip
    if api_version == "1.44":
        expected["StartInterval"] = 1_000_000_000
    assert body(api_version, healthcheck=check)["Healthcheck"] == expected


def test_a_health_check_that_is_off_or_only_retimed():
    assert body(healthcheck=HealthCheck(test=("NONE",), retries=3))["Healthcheck"] == {
        "Test": ["NONE"]
    }
    assert body(healthcheck=HealthCheck(interval_seconds=1))["Healthcheck"] == {
        "Interval": 1_000_000_000
    }


def test_ports():
    made = body(
        ports=(
            Port(80, "8080", "127.0.0.1"), Port(80, "8081"), Port(53, "53", protocol="udp"),
            Port(9000, ""), Port(9001), Port(90, "3000-3005"),
        ),
        expose=("7000", "7001/udp"),
    )  # fmt: skip
    assert made["HostConfig"]["PortBindings"] == {
        "80/tcp": [
            {"HostIp": "127.0.0.1", "HostPort": "8080"}, {"HostIp": "", "HostPort": "8081"},
        ],
        "53/udp": [{"HostIp": "", "HostPort": "53"}],
        "9000/tcp": [{"HostIp": "", "HostPort": ""}],
        "90/tcp": [{"HostIp": "", "HostPort": "3000-3005"}],
    }  # fmt: skip
    assert list(made["ExposedPorts"]) == [
        "53/udp", "7000/tcp", "7001/udp", "80/tcp", "90/tcp", "9000/tcp", "9001/tcp",
    ]  # fmt: skip


def test_mounts_take_the_form_that_compose_gives_them():
    host = body(
        mounts=(
            Mount("volume", "/data", "files"),
            Mount("volume", "/anonymous"),
            Mount("volume", "/copy", "files", read_only=True, no_copy=True),
            Mount("bind", "/b", "/host/b"),
            Mount("bind", "/c", "/host/c", read_only=True),
            Mount("bind", "/d", "/host/d", create_host_path=False),
            Mount("bind", "/f", "/host/f", selinux="z"),
            Mount(
                "bind", "/g", "/host/g", create_host_path=False, selinux="Z", propagation="rslave"
            ),
            Mount("bind", "/e", "/host/e", propagation="rslave"),
            Mount("tmpfs", "/long", tmpfs_size_bytes=1024, tmpfs_mode=0o1777),
            Mount("tmpfs", "/short"),
        ),
        spec={**SPEC, "tmpfs": ["/short:size=1m"]},
    )["HostConfig"]
    assert host["Binds"] == [
        "/host/b:/b:rw",
        "/host/c:/c:ro",
        "/host/f:/f:rw,z",
        "/host/g:/g:rw,Z,rslave",
    ]
    assert host["Tmpfs"] == {"/short": "size=1m"}
    assert host["Mounts"] == [
        {"Type": "volume", "Target": "/data", "Source": "shop_files", "VolumeOptions": {}},
        {"Type": "volume", "Target": "/anonymous", "VolumeOptions": {}},
        {"Type": "volume", "Target": "/copy", "ReadOnly": True, "Source": "shop_files",
         "VolumeOptions": {"NoCopy": True}},
        {"Type": "bind", "Target": "/d", "Source": "/host/d", "BindOptions": {}},
        {"Type": "bind", "Target": "/e", "Source": "/host/e",
         "BindOptions": {"Propagation": "rslave"}},
        {"Type": "tmpfs", "Target": "/long", "TmpfsOptions": {"SizeBytes": 1024, "Mode": 0o1777}},
    ]  # fmt: skip


def test_networks_are_joined_by_priority_then_key():
    made = body(
        attachments=(
            Attachment("zone"),
            Attachment("default", aliases=("www",), ipv4_address="10.0.0.9"),
            Attachment("back", priority=10, mac_address="02:42:ac:11:00:03"),
        ),
    )
    assert made["HostConfig"]["NetworkMode"] == "shop_back"
    endpoints = made["NetworkingConfig"]["EndpointsConfig"]
    assert list(endpoints) == ["shop_back", "shop_default", "shop_zone"]
    assert endpoints["shop_default"] == {
        "Aliases": ["shop-web-1", "web", "www"], "IPAMConfig": {"IPv4Address": "10.0.0.9"},
    }  # fmt: skip
    assert made["MacAddress"] == "02:42:ac:11:00:03"  # before API 1.44 it was the container's


@pytest.mark.parametrize(("mode", "expected"), [("host", "host"), (None, "none")])
def test_without_a_network_of_the_project(mode, expected):
    made = body(network_mode=mode)
    assert made["HostConfig"]["NetworkMode"] == expected
    assert "NetworkingConfig" not in made


def test_limits_and_rights():
    host = body(
        restart="on-failure:3",
        cap_add=("NET_ADMIN",),
        cap_drop=("ALL",),
        security_opt=("no-new-privileges:true",),
        ulimits={"nproc": Ulimit(5, 6), "nofile": Ulimit(1, 2)},
        extra_hosts=("host.docker.internal:host-gateway", "v6=[::1]", "v4=10.0.0.1"),
        devices=("/dev/fuse", "/dev/a:/dev/b:r"),
        resources=Resources(
            memory_limit_bytes=1024, memory_reservation_bytes=512, cpus=0.5, pids_limit=9,
            devices=({"driver": "nvidia", "count": "all", "capabilities": ["gpu"]},
                     {"device_ids": ["0"], "capabilities": ["gpu"]}),
        ),
        logging=Logging("json-file", {"max-size": "10m"}),
        privileged=True, read_only=True, init=True, shm_size_bytes=1 << 20,
    )["HostConfig"]  # fmt: skip
    assert host["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 3}
    assert host["Ulimits"] == [
        {"Name": "nofile", "Soft": 1, "Hard": 2}, {"Name": "nproc", "Soft": 5, "Hard": 6},
    ]  # fmt: skip
    assert host["ExtraHosts"] == [
        "host.docker.internal:host-gateway", "v6:::1", "v4:10.0.0.1",
    ]  # fmt: skip
    assert host["Devices"] == [
        {"PathOnHost": "/dev/fuse", "PathInContainer": "/dev/fuse", "CgroupPermissions": "rwm"},
        {"PathOnHost": "/dev/a", "PathInContainer": "/dev/b", "CgroupPermissions": "r"},
    ]
    assert (host["Memory"], host["MemoryReservation"]) == (1024, 512)
    assert (host["NanoCpus"], host["PidsLimit"]) == (500_000_000, 9)
    assert [(each["Count"], each["DeviceIDs"]) for each in host["DeviceRequests"]] == [
        (-1, []), (0, ["0"]),
    ]  # fmt: skip
    assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "10m"}}
    assert host["Privileged"]
    assert host["ReadonlyRootfs"]
    assert host["Init"]
    assert host["ShmSize"] == 1 << 20


def test_command_entrypoint_and_process():
    made = body(
        command=("a", "b"), entrypoint=(), user="1:1", working_dir="/x", hostname="h", tty=True,
        stdin_open=True, stop_signal="SIGINT", stop_grace_period_seconds=90.0,
    )  # fmt: skip
    assert (made["Cmd"], made["Entrypoint"]) == (["a", "b"], [])
    assert (made["User"], made["WorkingDir"], made["Hostname"]) == ("1:1", "/x", "h")
    assert (made["Tty"], made["OpenStdin"]) == (True, True)
    assert (made["StopSignal"], made["StopTimeout"]) == ("SIGINT", 90)
