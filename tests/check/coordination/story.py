"""Histories of a coordination service written by hand, a line a call, and what a check is to say of them."""

from __future__ import annotations

from protos.history import Operation

SECOND = 1_000_000_000


class Story:
    """A history, line by line. Calls name the process, what was asked, and how it ended."""

    def __init__(self) -> None:
        self.events: list[Operation] = []
        self.now = 0

    def line(self, process, kind, f, value=None, key=None, error=""):
        self.now += 1_000_000
        event = Operation(process, kind, f, value, self.now, len(self.events), error=error)
        if key is not None:
            event.key = key
        self.events.append(event)
        return self

    def ask(self, process, f, key=None, **asked):
        return self.line(process, "invoke", f, asked, key)

    def told(self, process, f, key=None, **told):
        return self.line(process, "ok", f, told, key)

    def call(self, process, f, key=None, asked=None, error="", **told):
        self.line(process, "invoke", f, asked or {}, key)
        if error:
            return self.line(process, "fail", f, asked or {}, key, error)
        return self.line(process, "ok", f, told, key)

    def lost(self, process, f, key=None, **asked):
        self.line(process, "invoke", f, asked, key)
        return self.line(process, "info", f, asked, key, "connection loss")

    def session(self, client, event, **more):
        return self.call(f"{client}/s", "session", asked={"event": event, **more}, event=event, **more)

    def event(self, client, type_, path, **more):
        return self.call(f"{client}/e", "event", path, asked={"type": type_, **more}, type=type_, **more)

    def create(self, process, path, zxid, data="", named=None, **flags):
        return self.call(process, "create", path, {"data": data, **flags}, path=named or path, zxid=zxid)

    def set(self, process, path, zxid, data, version, expected=-1):
        return self.call(
            process, "set", path, {"data": data, "version": expected}, version=version, zxid=zxid
        )

    def get(self, process, path, zxid, data, version, watch=False, **more):
        asked = {"watch": True} if watch else {}
        return self.call(process, "get", path, asked, data=data, version=version, zxid=zxid, **more)


def found(check, story, said):
    ok, detail = check(story.events if isinstance(story, Story) else story)
    assert not ok
    assert said in detail, detail


def holds(check, story):
    ok, detail = check(story.events if isinstance(story, Story) else story)
    assert ok, detail
