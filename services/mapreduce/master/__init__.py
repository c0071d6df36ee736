"""The master (MapReduce 3): program `serve`.

`state` holds the rules; `splits`, `locality` (3.4), `backups` (3.6), `locations` (3.1 step 4), `unreadable`
(3.3), `tally` (4.9) one idea each; `job` puts a job together from them; `workers` who is there; `assignment`
gives tasks; `scheduler` carries decisions out; `checkpoint` and `recovery` outlive a crash; `finish` ends a
job; `service` is what others call; `view` is what a status page may look at.

The notes it writes to the trace. Those about one execution have `job`, `kind` ("map" or "reduce"),
`number`, `attempt`, `worker` and `backup` (a bool):

- `job started`: `job`, `title`, `maps`, `reduces`, `input_bytes`, `output`, `recovered` (after a restart)
- `job finished`: `job`, `state` ("done", "failed", "cancelled"), `error`
- `progress`: once a ping interval, totals so far, which fall by what dies: `job`, `input_bytes`,
  `intermediate_bytes`, `shuffled_bytes`, `output_bytes`
- `worker registered`: `worker`, `incarnation`, `maps`, `reduces` (its slots), `rack`
- `worker failed`: `worker`, `incarnation`, `why` ("silent", "restarted", "left")
- `worker leaving`: it wants no more work: `worker`, `incarnation`
- `worker banned`, `worker pardoned`: it fails often; is used again, being the last: `worker`, `incarnation`
- `assigned`: an execution begins, or waits at its worker; of a map, `near`: "data-local", "rack-local",
  "remote"
- `adopted`: a worker has it under way, from before the master's restart or the worker's absence
- `completed`: it has completed its task: without `backup`, with `input_bytes`, `output_bytes`
- `failed`: it has failed: `error`, `mishap` (it was the machine's fault)
- `died`: its worker has failed
- `withdrawn`: it is no longer wanted: another was first, or the job is over
- `ignored`: a completion message that changes nothing: without `backup`, with `failure`
- `reopened`: a completed map is idle again: `job`, `kind`, `number`, `worker`, `why`
- `input lost`: a reduce could not read a map's output: `job`, `number`, `attempt`, `worker`, `reduce`,
  `missing`
- `skipping`: a record is left out from now on: `job`, `kind`, `number`, `record`
- `checkpoint failed`: the master's disk fails: `error`
"""

from __future__ import annotations

from services.mapreduce.master.service import serve

__all__ = ["serve"]
