"""Clients for tests of recipes."""

from __future__ import annotations

import asyncio


class Clients:
    """Some clients, each on a host of its own."""

    def __init__(self, rig, count):
        self.rig, self.count = rig, count

    async def __aenter__(self):
        self.all = [self.rig.client(self.rig.simulation.boot(f"c{number}")) for number in range(self.count)]
        for client in self.all:
            await client.__aenter__()
        return self.all

    async def __aexit__(self, *_):
        await asyncio.gather(*(client.close() for client in self.all))


def started(*work):
    return [asyncio.create_task(one) for one in work]


async def settled(seconds=1.0):
    """Lets whatever is under way come to rest."""
    await asyncio.sleep(seconds)
