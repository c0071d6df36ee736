"""Channel arguments and call arguments that the simulation cannot honour are refused, not ignored."""

from __future__ import annotations

import json
from typing import Any

import grpc
import pytest

from protos import echo_pb2, echo_pb2_grpc
from sim.simulate import simulate

RETRY = {"maxAttempts": 3, "initialBackoff": "0.1s", "maxBackoff": "1s", "backoffMultiplier": 2}


def make(config: Any, *more: tuple[str, Any]) -> None:
    async def main() -> None:
        text = config if isinstance(config, str) else json.dumps(config)
        grpc.aio.insecure_channel("localhost:1", options=[("grpc.service_config", text), *more])

    simulate(main)


@pytest.mark.parametrize("policy", [{"retryPolicy": RETRY}, {"timeout": "1s"}, {"waitForReady": True}])
def test_a_service_config_that_says_how_calls_are_made_is_refused(policy: dict[str, Any]) -> None:
    with pytest.raises(NotImplementedError, match=f"grpc.service_config with {next(iter(policy))}"):
        make({"methodConfig": [{"name": [{}], **policy}]})


def test_a_service_config_without_effect_here_is_taken() -> None:
    make({"loadBalancingConfig": [{"round_robin": {}}]})
    make({"methodConfig": [{"name": [{}], "retryPolicy": RETRY}]}, ("grpc.enable_retries", 0))
    make("no json")


def test_call_credentials_are_a_usage_error_as_in_grpc() -> None:
    async def main() -> None:
        stub = echo_pb2_grpc.EchoStub(grpc.aio.insecure_channel("localhost:1"))
        with pytest.raises(grpc.aio.UsageError, match="Call credentials are only valid on secure channels"):
            await stub.Say(echo_pb2.Words(), credentials=grpc.access_token_call_credentials("token"))

    simulate(main)
