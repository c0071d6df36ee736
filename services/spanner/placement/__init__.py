"""Where data is, and how it gets elsewhere (2, 2.2): system tables, location proxies, movedir.

Placement is a client of the database: what it knows stands in system tables of group 0, and changes by
transactions.

Read in this order: `system.py` (the tables), `fragments.py` (who has what), `root.py` and `location.py` (how
clients come to know), `zonemaster.py` (a program), `control.py` and `movedir.py` (how a range is moved),
`steps.py` (on a real universe), `groups.py`, `schemas.py`, `decisions.py` and `driver.py` (what is done),
`universe.py` (the program that does it).
"""
