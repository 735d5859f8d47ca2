"""Networks and volumes on a real engine."""

from dataclasses import replace

import pytest
from engine_helpers import run

from owctl.compose.model import Mount, Network, Volume
from owctl.engine.networks import (
    ensure_network,
    find_network,
    list_networks,
    remove_network,
)
from owctl.engine.volumes import (
    ensure_volume,
    inspect_volume,
    list_volumes,
    remove_volume,
    volume_sizes,
)
from owctl.errors import EngineError, NotFound

pytestmark = pytest.mark.engine


def test_a_network_is_made_once_with_composes_labels(engine, make_stack, project):
    stack = make_stack()
    made = ensure_network(engine, stack, stack.networks["default"])
    again = ensure_network(engine, stack, stack.networks["default"])
    assert made == again
    assert (made.name, made.key, made.project) == (f"{project}_default", "default", project)
    assert not any("config-hash" in label for label in made.labels)
    assert list_networks(engine, project) == [made]


def test_the_settings_of_a_network_arrive(engine, make_stack, project):
    stack = make_stack()
    network = Network(
        key="back",
        name=f"{project}_back",
        driver="bridge",
        driver_opts={"com.docker.network.bridge.enable_icc": "false"},
        internal=True,
        ipam={"config": [{"subnet": "10.213.7.0/28", "gateway": "10.213.7.1"}]},
        labels={"purpose": "test"},
    )
    made = ensure_network(engine, stack, network)
    raw = engine.api.inspect_network(made.id)
    assert raw["Internal"] is True
    assert raw["IPAM"]["Config"] == [{"Subnet": "10.213.7.0/28", "Gateway": "10.213.7.1"}]
    assert raw["Options"] == {"com.docker.network.bridge.enable_icc": "false"}
    assert made.labels["purpose"] == "test"


def test_a_name_is_not_mistaken_for_a_longer_one(engine, make_stack, project):
    stack = make_stack()
    ensure_network(engine, stack, Network(key="longer", name=f"{project}_net_longer"))
    assert find_network(engine, f"{project}_net") is None


def test_an_external_network_must_exist(engine, make_stack, project):
    stack = make_stack()
    with pytest.raises(NotFound, match="external") as caught:
        ensure_network(engine, stack, Network("x", f"{project}_x", external=True))
    assert f"docker network create {project}_x" in (caught.value.hint or "")


def test_a_network_in_use_is_not_removed(engine, make_stack, sleeper, project):
    service = sleeper()
    stack = make_stack(service)
    run(engine, stack, service)
    network = list_networks(engine, project)[0]
    with pytest.raises(EngineError, match="still attached") as caught:
        remove_network(engine, network.id, network.name)
    assert network.name in caught.value.message


def test_removing_a_network_twice_is_no_error(engine, make_stack):
    stack = make_stack()
    network = ensure_network(engine, stack, stack.networks["default"])
    remove_network(engine, network.id)
    remove_network(engine, network.id)
    assert find_network(engine, network.name) is None


def test_a_volume_is_made_once_with_composes_labels(engine, make_stack, project):
    stack = make_stack(volumes=("data",))
    made = ensure_volume(engine, stack, stack.volumes["data"])
    assert ensure_volume(engine, stack, stack.volumes["data"]) == made
    assert (made.name, made.key, made.project) == (f"{project}_data", "data", project)
    assert made.working_dir == str(stack.working_dir)
    assert not any("config-hash" in label for label in made.labels)
    assert list_volumes(engine, project) == [made]


def test_an_external_volume_must_exist(engine, make_stack, project):
    with pytest.raises(NotFound, match="external"):
        ensure_volume(engine, make_stack(), Volume("x", f"{project}_x", external=True))


def test_a_volume_in_use_is_not_removed_and_has_a_size(engine, make_stack, sleeper, project):
    service = sleeper(
        command=("sh", "-c", "head -c 100000 /dev/zero > /data/zeros; exec sleep 3600"),
        mounts=(Mount("volume", "/data", source="data"),),
    )
    stack = make_stack(service, volumes=("data",))
    container = run(engine, stack, service)
    with pytest.raises(EngineError, match="in use by a container") as caught:
        remove_volume(engine, f"{project}_data")
    assert container.id[:12] in caught.value.message
    assert volume_sizes(engine)[f"{project}_data"] >= 0


def test_removing_a_volume_twice_is_no_error(engine, make_stack, project):
    stack = make_stack(volumes=("data",))
    ensure_volume(engine, stack, stack.volumes["data"])
    remove_volume(engine, f"{project}_data")
    remove_volume(engine, f"{project}_data")
    assert inspect_volume(engine, f"{project}_data") is None


def test_a_volume_of_the_same_name_is_taken_as_it_is(engine, make_stack, project):
    stack = make_stack(volumes=("data",))
    other = replace(stack.volumes["data"], labels={"made": "before"})
    ensure_volume(engine, stack, other)
    assert ensure_volume(engine, stack, stack.volumes["data"]).labels["made"] == "before"
