"""Random and mutated messages at every call of a running universe, while a bank goes on in it.

`python -m tests.spanner.hostile.hunt CASES [SEED]` sends as many as one likes; `test_hunt.py` some hundred.
After each batch: nobody has died, nothing has failed inside. At the end every server is restarted from its
disk, and the bank's history is held against what Spanner promises: no wrong read, no lost commit.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from typing import Annotated, Any

import grpc
from msgspec import Meta

from protos import spanner_pb2 as pb
from protos import spanner_pb2_grpc as rpc
from scenarios.spanner.accounts import SCHEMA, Banker
from scenarios.spanner.cluster import LOCATION, MASTERS, Universe
from scenarios.spanner.promises import INVARIANTS, PROMISES, TOTAL, check_invariants, check_total
from services.spanner.schema import Schema, apply_change
from sim import World, run, scenario
from sim.faults import Crash
from tests.spanner.hostile import requests
from tests.spanner.hostile.letters import deliver
from tests.spanner.hostile.mutate import broken

ACCOUNTS = 12
BATCH = 20  # cases under way at once
PATIENCE = 0.3  # seconds
CLEAR = "every message gets a clear status"
CALM = "servers go on"
WHOLE = apply_change(SCHEMA, requests.SCRATCH)
_SCRATCH = WHOLE.table(requests.TABLE)
CUTS = [
    WHOLE.table("Accounts").key([ACCOUNTS // 2]),
    _SCRATCH.everything.start,
    *(_SCRATCH.key([number]) for number in (100, 200, 300)),
]

SPANSERVER, REPLICAS = "/dsim.spanner.Spanserver/", "/dsim.spanner.Replicas/"
CALLS = (
    *((SPANSERVER, name) for name in requests.UNARY for _ in range(2 + 4 * (name in ("Commit", "Prepare")))),
    *((SPANSERVER, name) for name in requests.STREAMED for _ in range(5)),
    *((SPANSERVER, "Pipeline") for _ in range(6)),
    *((REPLICAS, "Deliver") for _ in range(12)),
    (REPLICAS, "Checkpoint"),
    ("/dsim.spanner.TimeMaster/", "Now"),
    *(("/dsim.spanner.Location/", name) for name in requests.LOCATION),
    ("/dsim.spanner.Zonemaster/", "Status"),
    *(("/dsim.spanner.Universe/", name) for name in requests.UNIVERSE),
)
UNCLEAR = ("UNKNOWN", "INTERNAL")
OF_THE_CLIENT = "Internal error from Core"
"""What a client of grpc.aio makes up where a stream ends while it writes: the server's status is not read."""


class Attacker:
    """Sends what no honest program would.

    Args:
        world: where.
        universe: whose servers are attacked.

    Attributes:
        answers: by call and status, how many there were.
        unclear: what got no clear status, in words.
    """

    def __init__(self, world: World, universe: Universe) -> None:
        self.answers: Counter[str] = Counter()
        self.unclear: list[str] = []
        self._universe = universe
        self._rng = world.stream("hostile")
        self._host = world.client("hostile")
        self._maker = requests.Maker(self._rng, WHOLE, self._host.clock.time_ns())
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._leaders: dict[int, str] = {}

    async def learn(self) -> None:
        """Finds out what the schema is, and the time: requests are to be nearly right."""
        reply = await rpc.LocationStub(self._channel(self._universe.locations[0])).Schema(pb.SchemaRequest())
        self._maker.schema = Schema.decode(reply.schema)
        self._maker.now = self._host.clock.time_ns()
        statuses = await self._universe.statuses()
        found = [(name, group) for name, status in statuses.items() for group in status.groups]
        self._leaders |= {group.group: group.leader for _, group in found if group.leader}
        self._leaders |= {group.group: name for name, group in found if group.term}

    async def one(self) -> None:
        """Sends one message, and looks at what comes."""
        service, name = self._rng.choice(CALLS)
        to = self._rng.choice(self._universe.names)
        if "Location" in service or "Zonemaster" in service:
            to = self._rng.choice(self._universe.locations)
        elif "Universe" in service:
            to = LOCATION
        elif "TimeMaster" in service:
            to = str(self._rng.choice(MASTERS)["name"])
        metadata: tuple[tuple[str, str], ...] = ()
        if name == "Deliver":
            metadata, letters = deliver(self._rng, to)
            kind: Any = pb.Letters
            data = letters.SerializeToString() if self._rng.random() < 0.9 else broken(letters, self._rng)
        else:
            kind, data, group = self._request(service, name)
            if self._rng.random() < 0.8 and service == SPANSERVER:
                to = self._leaders.get(group, to)
            if name == "Checkpoint":
                metadata, _ = deliver(self._rng, to)
        code, words = await self._send(to, service + name, data, metadata)
        self.answers[f"{name} {code}"] += 1
        try:
            kind.FromString(data)
        except Exception:
            if "DecodeError" in words:
                return  # gRPC's own answer to bytes that are no message
        if code in UNCLEAR or "\n" in words or (code not in ("OK", "DEADLINE_EXCEEDED") and not words):
            self.unclear.append(f"{service}{name} at {to}: {code} {words[:400]!r} to {data[:400]!r}")

    def _request(self, service: str, name: str) -> tuple[Any, bytes, int]:
        """Returns a request's type, its bytes, and the group that it is for."""
        rng = self._rng
        if name == "Checkpoint":
            return pb.CheckpointRequest, broken(pb.CheckpointRequest(group=rng.randrange(9)), rng), 0
        if name == "Now" or "Zonemaster" in service:
            return pb.Poll, broken(pb.Poll(), rng), 0
        kind: Any = pb.Calls if name == "Pipeline" else _kinds(service)[name]
        message = self._maker.make(name)
        data = broken(message, rng)
        try:
            spared = requests.spared(name, kind.FromString(data))
        except Exception:
            return kind, data, 0
        if name == "Pipeline":
            groups = [
                getattr(call, call.WhichOneof("request")).group
                for call in spared.calls
                if call.WhichOneof("request") not in (None, "cancel")
            ]
            group = groups[0] if groups else 0
        else:
            group = getattr(spared, "group", getattr(spared, "coordinator", 0))
        return kind, spared.SerializeToString(), group

    async def _send(
        self, to: str, method: str, data: bytes, metadata: tuple[tuple[str, str], ...]
    ) -> tuple[str, str]:
        channel = self._channel(to)
        many = method.rsplit("/", 1)[1] in ("Pipeline", "Deliver")
        streams = many or method.rsplit("/", 1)[1] in ("Read", "Export", "Checkpoint")
        how = channel.stream_stream if many else channel.unary_stream if streams else channel.unary_unary
        call: Any = None
        try:
            patience = 3.0 if method.endswith("ChangeSchema") else PATIENCE
            async with asyncio.timeout(4 * patience):
                if many:
                    call = how(method)(metadata=metadata, timeout=patience)
                    await call.write(data)
                    await call.done_writing()
                else:
                    call = how(method)(data, metadata=metadata, timeout=patience)
                if not streams:
                    await call
                else:
                    while await call.read() is not grpc.aio.EOF:
                        pass
                return (await call.code()).name, await call.details() or ""
        except grpc.aio.AioRpcError as exc:
            if exc.details() == OF_THE_CLIENT:
                return "UNAVAILABLE", OF_THE_CLIENT
            return exc.code().name, exc.details() or ""
        except asyncio.InvalidStateError:  # it ended while something was being written
            return (await call.code()).name, await call.details() or ""
        except TimeoutError:
            return "UNKNOWN", "no answer"
        finally:
            if call is not None:
                call.cancel()

    def _channel(self, to: str) -> grpc.aio.Channel:
        if to not in self._channels:
            self._channels[to] = self._host.connect(to)
        return self._channels[to]


def _kinds(service: str) -> dict[str, type[Any]]:
    if "Location" in service:
        return requests.LOCATION
    if "Universe" in service:
        return requests.UNIVERSE
    return {**requests.UNARY, **requests.STREAMED}


@scenario(checks=(*PROMISES, TOTAL, INVARIANTS, CLEAR, CALM), plots=(), limit_s=100_000)
async def hostile(world: World, *, cases: Annotated[int, Meta(ge=1)] = 500) -> None:
    """Hostile messages at every call, while a bank goes on."""
    universe = Universe(world, WHOLE, CUTS)
    await universe.start()
    banker, other = (Banker(universe, name, ACCOUNTS) for name in ("c1", "c2"))
    await banker.open_accounts()
    attacker = Attacker(world, universe)
    for number in range(0, cases, BATCH):
        if number % (5 * BATCH) == 0:
            await attacker.learn()
            await asyncio.gather(banker.transfer(), other.transfer())
            check_total(world, await banker.audit(), ACCOUNTS)
        await asyncio.gather(*(attacker.one() for _ in range(min(BATCH, cases - number))))
        failed = [f"{one.host}: {one.error}\n{one.detail}" for one in world.failures()]
        world.check(CALM, not failed, f"by case {number + BATCH}: " + "; ".join(failed))
        if failed:
            return
        if len(attacker.unclear) > 20:
            break
    for name in universe.names:
        await world.inject(Crash(host=name))
    await world.heal()
    await other.transfer()
    check_total(world, await banker.audit(), ACCOUNTS)
    world.check(CLEAR, not attacker.unclear, "; ".join(attacker.unclear[:5]))
    for what, count in sorted(attacker.answers.items()):
        world.measure(what, count)
    await universe.close()
    check_invariants(world)


def main() -> None:
    """Runs the hunt."""
    cases, seed = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    start = time.monotonic()
    summary = run(hostile, {"cases": cases}, seed=seed, limit_s=100_000)
    if summary.error:
        print(summary.error)
    for one in summary.measures:
        print(f"{one.name:40} {one.value:8.0f}")
    for check in summary.checks:
        if not check.ok:
            print(f"{check.name}: {check.detail}")
    print(f"{cases} cases, seed {seed}: {summary.verdict}, {time.monotonic() - start:.1f} s")
    sys.exit(summary.verdict != "pass")


if __name__ == "__main__":
    main()
