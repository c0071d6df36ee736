"""kazoo 2.11, unmodified, against the server: every documented call, every recipe.

What calls are to answer was recorded from Apache ZooKeeper 3.8 (`transcript.json`); `test_apache.py` checks
that it says so still, where it can be had.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.coordination.wire.alone import Threaded, threaded
from tests.coordination.wire.calls import STEPS, SUPER, transcript
from tests.coordination.wire.recipes import RECIPES, Clients, connect

TRANSCRIPT = Path(__file__).with_name("transcript.json")
EXPECTED: dict[str, Any] = json.loads(TRANSCRIPT.read_text())


@pytest.fixture(scope="module")
def answers() -> dict[str, Any]:
    with threaded(super_digest=SUPER, max_session_timeout=40_000) as server:
        return transcript(server.port)


@pytest.mark.parametrize("step", STEPS)
def test_a_call_is_answered_as_by_apache(answers: dict[str, Any], step: str) -> None:
    assert answers[step] == EXPECTED[step]


@pytest.fixture(scope="module")
def server() -> Iterator[Threaded]:
    with threaded(max_session_timeout=40_000) as made:
        yield made


@pytest.fixture(scope="module")
def clients(server: Threaded) -> Iterator[Clients]:
    made = connect(f"127.0.0.1:{server.port}", 3)
    yield made
    for client in made:
        client.stop()
        client.close()


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_works(clients: Clients, name: str) -> None:
    RECIPES[name](clients, lambda: None)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_survives_the_loss_of_all_connections(server: Threaded, clients: Clients, name: str) -> None:
    for client in clients:  # what the run without disturbance has left
        for child in client.get_children("/"):
            if child != "zookeeper":
                client.delete(f"/{child}", recursive=True)

    def disturb() -> None:
        for link in list(server.door._connections):
            server.call(link._transport.abort)

    RECIPES[name](clients, disturb)
