"""Strategies for a compose file of many services and an override of it, both in all their forms."""

from typing import Any

from hypothesis import strategies as st

TOP = {
    "networks": {"n1": None, "n2": {"driver": "bridge", "labels": ["a=1"]}},
    "volumes": {"v1": None, "v2": {"labels": {"a": "b"}}},
    "secrets": {"s1": {"file": "./s"}, "s2": {"environment": "V"}},
    "configs": {"c1": {"file": "~/c"}, "c2": {"content": "x${V}"}},
}
HELPERS = {"z1": {"image": "z"}, "z2": {"image": "z"}}

Strategy = st.SearchStrategy[Any]


def pick(*values: Any) -> Strategy:
    return st.sampled_from(values)


def some(*values: Any) -> Strategy:
    return st.lists(pick(*values), unique=True, max_size=3)


def part_of(**fields: Strategy) -> Strategy:
    return st.fixed_dictionaries({}, optional=fields)


def mapped(keys: Strategy, values: Strategy) -> Strategy:
    return st.dictionaries(keys, values, max_size=4)


VALUE = pick("1", 1, 1.5, 1e6, True, "", None, "v w", "$$x", "${V:-d}", "$V", "0x10", -3)
ENVIRONMENT = st.one_of(
    mapped(pick("A", "B", "C", "V", "W"), VALUE), some("A=1", "B=", "C=x y", "V", "W==a=b")
)
LABELS = st.one_of(mapped(pick("la", "lb", "l.c"), VALUE), some("la=1", "lb", "l.c=x"))
COMMAND = pick(
    "a b", "sh -c 'x y'", ["a", "b c"], [], "", None, 'a "b c" d', "echo $$X", "a\\ b", ["${V:-q}"]
)
PORT = st.one_of(
    pick("80", "8080:80", 3000, "127.0.0.1:1:1", "127.0.0.1::77", "53:53/udp", "8080:80/tcp",
         "6000-6002:70-72", "6000-6002:70", "[::1]:6:7", "9000:90", "9000:90/udp", "0.0.0.0:80:80"),
    st.fixed_dictionaries(
        {"target": pick(80, 90)},
        optional={
            "published": pick("9000", 9000, "9000-9002", ""),
            "protocol": pick("tcp", "udp"),
            "mode": pick("host", "ingress"),
            "host_ip": pick("127.0.0.1"),
        },
    ),
)  # fmt: skip
VOLUME = pick(
    "v1:/a", "v2:/a:ro", "./src:/b", "/abs:/c:ro", "~/h:/d", "/anonymous", "v1:/e:nocopy",
    "../up:/f:rw,z", "/abs/../x:/c", "./src:/b:ro,rshared", "v2:/g:rw",
    {"type": "volume", "target": "/a", "source": "v1", "volume": {"nocopy": True}},
    {"type": "volume", "target": "/h", "source": "v2", "read_only": True, "volume": {}},
    {"type": "bind", "target": "/b", "source": "./src", "read_only": False},
    {"type": "bind", "target": "/b", "source": "~/h", "bind": {"propagation": "rslave"}},
    {"type": "bind", "target": "/c", "source": "/abs", "bind": {"create_host_path": False}},
    {"type": "tmpfs", "target": "/i", "tmpfs": {"size": "1m"}},
    {"type": "tmpfs", "target": "/i", "tmpfs": {"size": 100, "mode": 448}},
)  # fmt: skip
ATTACHMENT = pick(
    None, {}, {"aliases": ["x", "y"]}, {"ipv4_address": "10.1.1.1", "priority": 5}, {"priority": 0},
    {"mac_address": "02:42:ac:11:00:02"},
)  # fmt: skip
DEPENDENCY = pick(
    {"condition": "service_healthy"},
    {"condition": "service_started", "restart": True},
    {"condition": "service_completed_successfully", "required": False},
)
DURATION = pick("10s", "1m30s", "500ms", "1h", "0s", "1.5s")
DEVICE = pick(
    {"capabilities": ["gpu"]},
    {"capabilities": ["gpu"], "driver": "nvidia", "count": "all"},
    {"capabilities": ["gpu"], "device_ids": ["0"], "options": {"a": "b"}},
)
RESOURCES = part_of(
    limits=part_of(memory=pick("10m", "1g"), cpus=pick("0.5", 1, 0.25), pids=pick(5, 100)),
    reservations=part_of(
        memory=pick("10m", "1g"), cpus=pick("0.5", "1"), devices=st.tuples(DEVICE).map(list)
    ),
)
DEPLOY = part_of(
    replicas=pick(0, 1, 2),
    mode=pick("replicated"),
    labels=LABELS,
    resources=RESOURCES,
    restart_policy=part_of(
        condition=pick("any", "on-failure", "none"), max_attempts=pick(3), delay=DURATION
    ),
    update_config=pick({"parallelism": 1, "delay": "1s"}),
)
# Keys that say the same as others under deploy: a service gets the one kind or the other.
LIMITS = {
    "mem_limit": pick("10m", 1024, "1.5g", "0"),
    "mem_reservation": pick("10m", "1g"),
    "cpus": pick("0.5", 1.5, 2, 0, 0.1),
    "pids_limit": pick(5, -1, 0),
    "scale": pick(0, 1, 2),
}
FIELDS: dict[str, Strategy] = {
    "build": pick(
        ".", "./ctx", {"context": "."}, {"context": "./c", "dockerfile": "D", "target": "t"},
        {"context": "/abs/../x", "args": ["A=1", "V"], "labels": ["a=1"]},
        {"args": {"A": 1e6, "B": None, "V": None, "C": True}, "cache_from": ["a"], "network": "host"},
        {"context": ".", "extra_hosts": ["a:1.1.1.1"], "platforms": ["linux/amd64"]},
    ),
    "command": COMMAND,
    "entrypoint": COMMAND,
    "environment": ENVIRONMENT,
    "env_file": pick(
        "one.env", ["one.env", "two.env"], [{"path": "two.env"}, {"path": "no", "required": False}]
    ),
    "ports": st.lists(PORT, max_size=3),
    "expose": some("80", 90, "70-72", "53/udp", "80/tcp"),
    "volumes": st.lists(VOLUME, max_size=3),
    "tmpfs": pick("/tm", ["/tm", "/tn:size=1m"], []),
    "networks": st.one_of(
        some("n1", "n2", "default"), mapped(pick("n1", "n2", "default"), ATTACHMENT)
    ),
    "depends_on": st.one_of(some("z1", "z2"), mapped(pick("z1", "z2"), DEPENDENCY)),
    "healthcheck": part_of(
        test=pick("curl x", ["CMD", "a", "b"], ["CMD-SHELL", "x y"], ["NONE"]),
        interval=DURATION,
        timeout=DURATION,
        start_period=DURATION,
        start_interval=DURATION,
        retries=pick(3, "4", 0),
        disable=pick(True, False),
    ),
    "restart": pick("no", "always", "unless-stopped", "on-failure", "on-failure:3"),
    "extra_hosts": pick(
        ["a:1.1.1.1", "b=::1"], {"a": "1.2.3.4", "c": "host-gateway"}, ["b:1.1.1.1", "a:2.2.2.2"]
    ),
    "labels": LABELS,
    "user": pick("1000", "a:b", "${V:-u}"),
    "working_dir": pick("/w"),
    "hostname": pick("h"),
    "init": st.booleans(),
    "tty": pick(True, False, "true"),
    "stdin_open": st.booleans(),
    "stop_signal": pick("SIGINT"),
    "stop_grace_period": DURATION,
    "logging": pick(
        {"driver": "json-file"}, {"driver": "json-file", "options": {"max-size": "1m", "max-file": 3}},
        {"options": {"a": "b"}}, {"driver": "local"}, {},
    ),
    "ulimits": pick({"nofile": 5}, {"nofile": {"soft": 1, "hard": 2}}, {"nproc": 7, "nofile": 5}),
    "shm_size": pick("64m", 1024, "1gb", "0"),
    "cap_add": some("NET_ADMIN", "SYS_TIME", "ALL"),
    "cap_drop": some("ALL", "X"),
    "privileged": st.booleans(),
    "read_only": pick(False),
    "dns": pick("8.8.8.8", ["8.8.8.8", "1.1.1.1"], []),
    "platform": pick("linux/amd64"),
    "pull_policy": pick("always", "missing", "never", "if_not_present", "build"),
    "devices": pick(["/dev/null:/dev/x"], ["/dev/a:/dev/b:r", "/dev/a"], ["/dev/c:/dev/x:rw"]),
    "secrets": st.lists(
        pick("s1", "s2", {"source": "s1", "target": "t"}, {"source": "s2", "mode": 0o440, "uid": "1"}),
        max_size=3,
    ).filter(lambda grants: len(grants) == len({str(grant) for grant in grants})),
    "configs": some("c1", "c2"),
    "develop": pick({"watch": [{"path": ".", "action": "rebuild", "ignore": ["a"]}]}, {}),
    "x-own": pick(1, {"a": [1, 2]}, "v"),
}  # fmt: skip


@st.composite
def services(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a file of some services, and an override of some of their keys."""
    base: dict[str, Any] = dict(HELPERS)
    over: dict[str, Any] = {}
    for index in range(12):
        fields = dict(FIELDS)
        fields |= LIMITS if draw(st.booleans()) else {"deploy": DEPLOY}
        keys = draw(st.lists(pick(*fields), unique=True, min_size=1, max_size=6))
        base[f"a{index}"] = {"image": "x"} | {key: draw(fields[key]) for key in keys}
        changed = draw(st.lists(pick(*keys, *fields), unique=True, max_size=3))
        over[f"a{index}"] = {key: _tagged(draw, draw(fields[key])) for key in changed}
    return {"services": base, **TOP}, {"services": over}


def _tagged(draw: st.DrawFn, value: Any) -> Any:
    tag = draw(pick("", "", "", "", "!override", "!reset"))
    return (tag, value) if tag else value
