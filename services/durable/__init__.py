"""Files that tell a torn end from damage: what the logs and checkpoints of all systems here are made of.

| | |
| --- | --- |
| `headers.py` | the start of each file: what it is, and whose |
| `batches.py` | a log: batches, each appended in one write and made durable by one sync |
| `pieces.py` | a checkpoint: pieces and an end, with its name only when whole |
| `values.py` | small values, old or new, whatever happens meanwhile |
| `errors.py` | what can be wrong with a disk, at the start and later |

What a log holds, when it is rolled and purged, and what counts after a crash is each system's own
(`coordination/storage/`, `spanner/storage/`).
"""
