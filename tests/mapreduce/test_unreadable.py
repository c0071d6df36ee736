"""Whose fault it is when a reduce cannot read a map's output (3.3)."""

from __future__ import annotations

from services.mapreduce.master.unreadable import ALONE_S, RECENT_S, Blame, Unreadable

A, B, C, D = (("abcd"[n], 0) for n in range(4))


def test_two_readers_are_believed() -> None:
    reports = Unreadable()
    assert reports.report(A, B, 0.0) is Blame.NOBODY
    assert reports.report(A, C, 0.1) is Blame.SOURCE


def test_one_reader_is_believed_after_a_while() -> None:
    reports = Unreadable()
    assert reports.report(A, B, 0.0) is Blame.NOBODY
    assert reports.report(A, B, ALONE_S - 0.1) is Blame.NOBODY
    assert reports.report(A, B, ALONE_S) is Blame.SOURCE


def test_but_not_if_it_cannot_read_from_others_either() -> None:
    reports = Unreadable()
    reports.report(A, B, 0.0)
    reports.report(C, B, 1.0)
    assert reports.report(A, B, ALONE_S) is Blame.READER


def test_unless_others_cannot_either() -> None:
    reports = Unreadable()
    reports.report(A, B, 0.0)
    reports.report(C, B, 1.0)
    reports.report(C, D, 2.0)
    assert reports.report(A, B, ALONE_S) is Blame.SOURCE, "C is out of everybody's reach, A of B's alone"


def test_what_was_said_long_ago_counts_no_more() -> None:
    reports = Unreadable()
    reports.report(A, B, 0.0)
    assert reports.report(A, C, RECENT_S) is Blame.NOBODY
    assert reports.report(A, B, RECENT_S + 1.0) is Blame.SOURCE, "C has said so a second ago"
