"""What is done to the nodes of a cluster while they live: pauses, and the rules of their doors."""

from __future__ import annotations

import asyncio
import signal
import time

import grpc
from google.protobuf import json_format

from protos import control_pb2
from services.real.folder import ClusterError, write_whole
from services.real.nodes import ANSWERS_WITHIN, POLL, Nodes


class Faults(Nodes):
    """A cluster, as far as its nodes can be hurt."""

    async def pause(self, name: str) -> None:
        """Stops a node where it stands (SIGSTOP), and returns when it has stopped."""
        self._signal(name, signal.SIGSTOP)
        process, deadline = self._process(name), time.monotonic() + ANSWERS_WITHIN
        # The kernel stops one thread after another, when each next runs.
        while process is not None and process.state() == "running" and time.monotonic() < deadline:
            await asyncio.sleep(POLL / 4)
        self._event(name, "pause", self._node(name).incarnation)

    async def resume(self, name: str) -> None:
        """Lets a paused node go on (SIGCONT), with the rules that were set meanwhile."""
        self._signal(name, signal.SIGCONT)
        self._event(name, "resume", self._node(name).incarnation)
        rules = self.folder.rules_of(name)
        if rules.exists():
            await self._push(name, json_format.Parse(rules.read_text(), control_pb2.Rules()))

    async def configure(self, name: str, rules: control_pb2.Rules) -> None:
        """Puts rules in place at the door of a host, in the place of those before.

        They hold for its next lives as well, except orders to lose replies.

        Args:
            name: the host; "" for all that have no rules of their own, and are yet to come.
            rules: the whole state.

        Raises:
            ClusterError: the node lives but does not answer.
        """
        kept = control_pb2.Rules()
        kept.CopyFrom(rules)
        kept.ClearField("lost_replies")
        data = json_format.MessageToJson(kept).encode()
        if not name:
            write_whole(self.folder.rules, data)
            return
        write_whole(self.folder.node(name).rules, data)
        await self._push(name, rules)

    async def _push(self, name: str, rules: control_pb2.Rules) -> None:
        if name in self._clients:
            self._clients[name].read_rules()
        process = self._process(name)
        if process is None or process.state() != "running":
            return  # it reads them itself when it starts, and is told when it goes on
        try:
            async with self._control(name) as control:
                await control.SetRules(rules, timeout=ANSWERS_WITHIN, wait_for_ready=True)
        except grpc.aio.AioRpcError as exc:
            if process.alive():
                raise ClusterError(f"{name} does not answer its control service: {exc.code().name}") from None

    def _signal(self, name: str, number: signal.Signals) -> None:
        self._node(name)
        process = self._process(name)
        if process is None or not process.alive():
            raise ClusterError(f"{name} is dead")
        process.signal_group(number)
