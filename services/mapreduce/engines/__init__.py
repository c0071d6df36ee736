"""Where a job runs.

An engine is a module here with

    async def run(spec: Spec, *, workers: int = ..., progress: Callable[[Progress], None] | None = None, ...) -> Result

that runs one job to its end and raises `SpecError` when it cannot be run (before anything is written), `JobFailed`
when it ends without a result. `progress` is called with `protos.mapreduce_pb2.Progress`. Paths in the spec are
the caller's own files; an engine makes them those of its file system. `code.pack(spec)` gives what tasks
need to know of the user's code, `plan.py` the job's message, `job.reader_of` what reads the parts.

`cluster`: processes of its own, gRPC between them. `local`: all in this process (4.7). `dask`: a dask cluster.
"""
