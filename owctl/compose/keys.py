"""Keys that compose knows and owctl does not, with a way out, and guesses at misspelt ones."""

from collections.abc import Iterable

_RUN_WITH_COMPOSE = "run this file with docker compose"

UNSUPPORTED: dict[str, dict[str, str]] = {
    "document": {
        "include": "name the files with -f or COMPOSE_FILE",
        "models": _RUN_WITH_COMPOSE,
    },
    "service": {
        "extends": "use a YAML anchor (&name, <<: *name), or several files with -f",
        "links": "services reach each other by name; use depends_on for the order",
        "external_links": "join the other project's network (networks: … external: true)",
        "volumes_from": "use a named volume",
        "provider": _RUN_WITH_COMPOSE,
        "models": _RUN_WITH_COMPOSE,
        "post_start": "put it into the image's entry point",
        "pre_stop": "handle stop_signal in the image",
        "label_file": "put the labels under labels",
        "log_driver": "use logging.driver",
        "log_opt": "use logging.options",
        "net": "use network_mode",
        "dockerfile": "use build.dockerfile",
        "volume_driver": "use the driver of a top-level volume",
        **dict.fromkeys(
            (
                "annotations",
                "attach",
                "blkio_config",
                "cgroup",
                "cgroup_parent",
                "cpu_count",
                "cpu_percent",
                "cpu_period",
                "cpu_quota",
                "cpu_rt_period",
                "cpu_rt_runtime",
                "cpu_shares",
                "cpuset",
                "credential_spec",
                "device_cgroup_rules",
                "dns_opt",
                "dns_search",
                "domainname",
                "ipc",
                "isolation",
                "mac_address",
                "mem_swappiness",
                "memswap_limit",
                "oom_kill_disable",
                "oom_score_adj",
                "pid",
                "runtime",
                "storage_opt",
                "sysctls",
                "use_api_socket",
                "userns_mode",
                "uts",
            ),
            _RUN_WITH_COMPOSE,
        ),
    },
    "build": dict.fromkeys(
        (
            "additional_contexts",
            "cache_to",
            "dockerfile_inline",
            "entitlements",
            "isolation",
            "no_cache",
            "privileged",
            "provenance",
            "pull",
            "sbom",
            "secrets",
            "shm_size",
            "ssh",
            "tags",
            "ulimits",
        ),
        "build the image with docker buildx and name it under image",
    ),
    "network attachment": dict.fromkeys(
        ("link_local_ips", "driver_opts", "gw_priority", "interface_name"), _RUN_WITH_COMPOSE
    ),
    "bind": {"recursive": _RUN_WITH_COMPOSE},
    "volume": {"subpath": "mount the whole volume", "labels": "use a top-level volume with labels"},
    "mount": {"image": _RUN_WITH_COMPOSE},
    "network": {"enable_ipv4": _RUN_WITH_COMPOSE},
    "limits": {},
    "reservations": {"generic_resources": _RUN_WITH_COMPOSE},
    "secret or config": dict.fromkeys(
        ("driver", "driver_opts", "template_driver"), "say where it comes from: file or environment"
    ),
    "env_file": {"format": "write the file so that it can be read without"},
}


def unknown_key(path: str, key: str, section: str, known: Iterable[str]) -> str:
    """Return the message for a key that cannot be used below ``path``."""
    full = f"{path}.{key}" if path else key
    unsupported = UNSUPPORTED.get(section, {})
    if key in unsupported:
        return f"{full} is not supported by owctl; {_way_out(unsupported[key])}"
    import difflib

    matches = difflib.get_close_matches(key, [*known, *unsupported], n=1)
    guess = f"; did you mean {matches[0]}?" if matches else ""
    return f"{full} is not a key of compose files{guess}"


def _way_out(advice: str) -> str:
    return advice if advice == _RUN_WITH_COMPOSE else f"{advice}, or {_RUN_WITH_COMPOSE}"
