"""What a request must be before anything looks at it."""

from __future__ import annotations

import pytest

from protos import spanner_pb2 as pb
from services.spanner.errors import SpannerError
from services.spanner.spanserver import checks
from services.spanner.spanserver.settings import founding_of, settings_of

WHO = pb.Transaction(id="t", age=1)
STRONG = pb.TransactionSelector(read_only=pb.TimestampBound(strong=True))


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (pb.ReadRequest(), "needs a transaction selector"),
        (
            pb.ReadRequest(transaction=pb.TransactionSelector(read_only=pb.TimestampBound())),
            "needs a timestamp bound",
        ),
        (
            pb.ReadRequest(transaction=pb.TransactionSelector(read_write=pb.Transaction())),
            "id has 1 to 256",
        ),
        (
            pb.ReadRequest(
                transaction=pb.TransactionSelector(read_only=pb.TimestampBound(read_timestamp=1 << 63))
            ),
            "read_timestamp is",
        ),
        (pb.ReadRequest(transaction=STRONG, columns=["a"] * 2000), "2000 columns"),
        (
            pb.ReadRequest(transaction=STRONG, ranges=[pb.KeyRange(start=b"b", end=b"a")]),
            "ends after its start",
        ),
        (
            pb.ReadRequest(
                transaction=STRONG,
                ranges=[pb.KeyRange(start=b"b", end=b"d"), pb.KeyRange(start=b"c", end=b"e")],
            ),
            "in order",
        ),
    ],
)
def test_reads_that_make_no_sense_are_refused(request_, why):
    with pytest.raises(SpannerError, match=why) as caught:
        checks.read(request_)
    assert caught.value.code == "INVALID_ARGUMENT"


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (pb.CommitRequest(transaction=WHO, group=1, participants=[1]), "takes part twice"),
        (pb.CommitRequest(transaction=WHO, group=1, participants=[2, 2]), "takes part twice"),
        (pb.CommitRequest(transaction=WHO, mutations=[pb.Mutation(kind=9)]), "no mutation of kind 9"),
        (pb.CommitRequest(transaction=pb.Transaction(id="t", age=1 << 63)), "below 2"),
        (
            pb.CommitRequest(
                transaction=WHO, ownership=pb.Ownership(acquired=[pb.KeyRange()]), placement=True
            ),
            "range",
        ),
        (pb.CommitRequest(transaction=WHO, ownership=pb.Ownership()), "by placement only"),
        (pb.CommitRequest(transaction=WHO, schema=b"\x90"), "by placement only"),
        (pb.CommitRequest(transaction=WHO, mutations=[pb.Mutation(table="spanner_sys.moves")]), "sys.moves"),
    ],
)
def test_commits_that_make_no_sense_are_refused(request_, why):
    with pytest.raises(SpannerError, match=why):
        checks.commit(request_)


def test_settings_that_make_no_sense_are_named():
    with pytest.raises(ValueError, match="lase"):
        settings_of({"paxos": {}, "lase": 3})
    with pytest.raises(ValueError, match="two have the same number"):
        founding_of([{"group": 1, "members": [{"server": "a", "zone": "z"}]}] * 2)
    with pytest.raises(ValueError, match="groups"):
        founding_of([{"group": "x"}])
