"""How long the parts of the replicated log wait for one another, in seconds.

No promise rests on these: they decide when a view changes, never whether it may.
"""

HEARTBEAT = 0.1  # an idle primary gives its backup a sign of life this often
CONFIRM = 0.3  # a backup that has not confirmed by then is dropped
SILENCE = 0.7  # a backup that has heard nothing for so long takes over
RETRY = 0.1  # between two attempts at anything that failed
ATTEMPT = 1.0  # a client's patience with one replica
