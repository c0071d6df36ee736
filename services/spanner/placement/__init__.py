"""Where data is, and how it gets elsewhere (2, 2.2): system tables, location proxies, movedir.

Placement is a client of the database: what it knows stands in system tables of group 0, and changes by
transactions.

Read in this order: `founding.py` (which programs there are), `system.py` (the tables), `fragments.py` (who
has what), `root.py` and `location.py` (how clients come to know), `zonemaster.py` (a program), `control.py`
and `movedir.py` (how a range is moved), `steps.py` (on a real universe), `groups.py`, `schemas.py`,
`options.py`, `patience.py`, `decisions.py` and `driver.py` (what is done, and when), `universe.py` (the
program that does it), `told.py` and `status_page.py` (what it shows).
"""
