"""Ways to run a job: `cluster` (processes, gRPC), `local` (this process), `dask`. Each has a `run`."""
