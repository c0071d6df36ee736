"""ZooKeeper's own door: its protocol as of 3.8, four-letter words, `/commands/...` and metrics.

Read `connection.py` first: one client from its greeting to its end, on top of `requests.py` (frames to
requests of `api`), `results.py` (results to bytes) and `jute.py` (what both are made of). `door.py` listens
and counts. What an operator may ask is in `report.py`, and printed by `four_letter.py` and `admin.py`.
"""
