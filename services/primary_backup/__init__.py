"""A log on two hosts that loses nothing it has acknowledged: primary and backup, with a witness.

**The problem.** Two hosts cannot elect a primary between themselves: when each finds the other silent,
neither can know whether the other is dead or only cut off. If both go on alone, there are two
logs. So a third host, the *witness*, holds no log but only the answer to one question: who is in
charge? (Primary and backup as in Alsberg and Day, 1976; the configuration authority outside the
replicas as in van Renesse and Schneider's chain replication, OSDI 2004, and in Vertical Paxos,
Lamport, Malkhi and Zhou, PODC 2009; the matching of logs as in Raft, Ongaro and Ousterhout, 2014.)

**Views.** The witness keeps one durable `View`: a number, a primary, perhaps a backup. Anybody
may propose a next one; it takes the first with the next number whose primary was a member of the
present view. Three changes happen: a backup that hears nothing proposes itself, alone; a primary whose
backup does not answer proposes itself, alone; a primary whose former partner has caught up
proposes both. A replica that begins to lead, after a restart too, first proposes a view of its own.

**Writing.** The primary appends an entry to its own log and syncs it, has the backup do the same, and
only then acknowledges. A replica refuses what comes from an older view than it knows (fencing): so an
old primary, cut off or paused, finds no backup to confirm its writes, asks the witness, and learns
that it is not in charge. It reads likewise: an answer waits until the backup has confirmed that
there is no newer view.

**What holds** at every moment, and why nothing is lost:

1. An acknowledged entry is durable on every member of the view that holds: the primary waits for
   its backup, and a backup becomes a member only when it has everything.
2. Only a member can be the primary of the next view. With 1: whoever leads has every acknowledged entry.
3. No two primaries ever write in views of the same number; so entries at the same position with
   the same view number are the same, and so is everything before them.
4. A member never drops an entry that it confirmed in the view that holds.
5. A request is in the log once: its client numbers it, and whoever leads looks it up first.

Either host may fail, or both one after the other, while a member of the present view comes back in the
end; without the witness the pair goes on, but cannot change its view.

`witness.py` is the witness, `replica.py` a replica, `log.py` its log on disk, `client.py` a client.
"""
