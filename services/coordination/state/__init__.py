"""The replicated database (ZooKeeper, figure 4): znodes, transactions and how requests become them.

Pure code: no I/O, no tasks, no clock, no chance. Whoever uses it says what time it is, which zxid comes
next, who asks, and what was drawn by chance. Semantics are Apache ZooKeeper 3.8's where the paper is silent.

The leader prepares, everybody applies, each server reads:

    preparer = Preparer(tree, Limits())                     # prepare.py: a new one at each `ready`
    transaction = preparer.prepare(                         # 4.1: against the future state; never raises,
        request, session=, cxid=, server=, identities=, time=, zxid=)  # a failed precondition is an ErrorTxn
    data = encode(transaction)                              # transactions.py
    broadcast.propose(data, transaction.configuration)      # `configuration`: only of a Reconfigure

    transaction = decode(data)                              # ValueError: damaged, or of a newer format
    applied = tree.apply(zxid, transaction)                 # tree.py: a few microseconds, idempotent
    preparer.delivered(zxid)                                # on the leader: the tree knows it now
    for session, event in watches.fire(zxid, applied.changes, may_read): ...  # first of all (2.3)
    applied.code, applied.result                            # for who asked (transaction.session, .cxid)

    reader = Reader(tree, watches)                          # reads.py
    result = reader.read(request, session, identities)      # raises CoordinationError; sets watches
    events = watches.set_again(tree, session, request, may_read)  # SetWatches: what fires at once

`Preparer`
    prepare(request, *, session, cxid, server, identities, time, zxid, synced=None) -> Transaction
        time: ms since the Unix epoch; server: through which the request came (SESSION_MOVED);
        synced: ids of the servers in sync with the leader (reconfiguration: NEW_CONFIG_NO_QUORUM)
    remove_expired(path, *, time, zxid) -> Transaction | None   what `expiry.due` found, if it still is
    own(session, server)                                    a session has moved to that server
    delivered(zxid), closing(session) -> bool
`Tree(configuration)`
    apply(zxid, transaction) -> Applied(code, result, changes)
    zxid, digest, sessions: dict[int, Session(timeout, password)], ephemerals: dict[int, dict[path, None]]
    configuration, len(tree) (znodes), data_size (approximate, as `mntr` tells), fuzzy
    lookup(path) -> Znode | None
`Watches`: fire, set_again, drop(session) (its connection is gone), by_path, by_session, len
`snapshot(tree) -> Iterator[bytes]`; `Restoration().add(piece)`, `.finish() -> Tree`; 4.3, ValueError
`due(tree, now, never_used) -> Iterator[path]`: expiry.py, what the leader may remove
`authenticate(scheme, credentials, super_digest) -> tuple[Identity, ...]`: acl.py; AUTH_FAILED
`AccessList.permits(permission, identities)`: what `may_read` asks

Session ids are signed 64-bit numbers that `znode.is_session` takes: not 0, top byte not 0xff or 0x80 alone.

Modules, in the order to read them: `paths`, `acl`, `znode`, `transactions`, `hierarchy`, `tree`,
`outstanding`, `limits`, `prepare`, `quota`, `reconfigure`, `expiry`, `reads`, `watches`, `digest`,
`snapshot`.
"""
