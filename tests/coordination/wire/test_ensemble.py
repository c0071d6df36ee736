"""Each of kazoo's recipes on three real processes, whose leader is killed in the middle of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.coordination.wire.recipes import RECIPES, Clients, connect
from tests.coordination.wire.servers import Servers


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with Servers(tmp_path_factory.mktemp("ensemble")) as made:
        made.start()
        made.serving()
        yield made


@pytest.fixture(scope="module")
def clients(servers: Servers) -> Iterator[Clients]:
    made = connect(servers.hosts, 3)
    yield made
    for client in made:
        client.stop()
        client.close()


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_survives_the_death_of_the_leader(servers: Servers, clients: Clients, name: str) -> None:
    deaths = 0

    def disturb() -> None:
        nonlocal deaths
        servers.serving()  # also the one that was killed before
        leader = servers.leader()
        servers.kill(leader)
        deaths += 1
        servers.leader()  # the next one
        for client in clients:
            client.retry(client.exists, "/")
        servers.start(leader)

    RECIPES[name](clients, disturb)
    assert deaths
