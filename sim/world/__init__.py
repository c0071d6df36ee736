"""The simulated world: hardware on SimPy, and the asyncio loop and grpc.aio that run on it."""
