"""Says in one paragraph what happened in a run: who took part, what broke, how fast it was, the verdict."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec

from protos.trace import ClockSample, FaultEvent, Lost, Message
from sim.trace.calls import OK_CODES, Calls
from sim.trace.faults import Period, Periods, describe
from sim.trace.latency import Durations, in_words
from sim.trace.read import TraceError, read_history, read_trace

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from protos.history import Operation
    from protos.trace import TraceEvent

STORYTELLER = "scenario"  # the host on which the scenario's own tasks run: no machine of the cluster
FAULTS_TOLD = 8  # one by one; the others are counted

HAPPENED = {
    "crash": "{hosts} crashed",
    "pause": "{hosts} was paused",
    "slow": "{hosts} was slow",
    "isolate": "{hosts} was cut off from all others",
    "partition": "the network split ({groups})",
    "cut": "the link {link} was cut",
    "delay": "messages {link} were delayed",
    "loss": "packets {link} were lost",
    "lose-reply": "a reply of {hosts} was lost after execution",
    "disk-full": "the disk of {hosts} was full",
    "sync-fails": "syncing failed on {hosts}",
    "slow-disk": "the disk of {hosts} was slow",
    "corrupt": "a byte on the disk of {hosts} was flipped",
    "torn-write": "{hosts} was set to tear its next write at a crash",
    "clock-skew": "the clock of {hosts} was wrong",
    "clock-drift": "the clock of {hosts} drifted",
    "clock-jump": "the clock of {hosts} jumped",
    "lying-master": "the time master {hosts} lied",
}


def paragraph(
    events: Iterable[TraceEvent], history: Iterable[Operation] = (), summary: Mapping[str, Any] | None = None
) -> str:
    """Tells a run.

    Args:
        events: its trace.
        history: its operations.
        summary: what `summary.json` holds.

    Returns:
        One paragraph of plain text.
    """
    summary = summary or {}
    hosts: dict[str, None] = {}
    calls, codes, latency = Calls(), Counter[str](), Durations()
    faults = Periods()
    lost = 0
    start: int | None = None
    end = 0
    for event in events:
        end = max(end, event.time)
        start = event.time if start is None else start
        if isinstance(event, FaultEvent):
            faults.see(event)
            continue
        if event.host != STORYTELLER and not isinstance(event, ClockSample):
            hosts[event.host] = None
        if isinstance(event, (Message, Lost)):
            hosts[event.source] = None
            lost += isinstance(event, Lost)
            call = calls.see(event)
            if call is not None:
                codes["OK" if call.code in OK_CODES else call.code] += 1
                latency.add(call.latency)
    unanswered = sum(1 for _ in calls.open)
    began = start if start is not None and start > 1 << 60 else 0  # the file of a single real node
    length = max((end - began) / 1e9, float(summary.get("virtual_s", 0)))  # nothing need happen at its end
    hosts.pop("", None)
    told = [
        _opening(summary, length, list(hosts)),
        _calls(codes, unanswered, lost, latency, length),
        _faults(faults.all, began),
        _operations(history),
        _verdict(summary),
    ]
    return " ".join(sentence for sentence in told if sentence)


def of_run(run_dir: Path) -> str:
    """Tells the run in a folder.

    Raises:
        TraceError: its trace, history or summary cannot be read.
    """
    summary: dict[str, Any] = {}
    try:
        summary = msgspec.json.decode((run_dir / "summary.json").read_bytes(), type=dict[str, Any])
    except FileNotFoundError:
        pass
    except (OSError, msgspec.DecodeError) as error:
        raise TraceError(f"{run_dir / 'summary.json'}: {error}") from None
    history = run_dir / "history.jsonl"
    operations = read_history(history) if history.exists() else ()
    return paragraph(read_trace(run_dir / "trace.jsonl"), operations, summary)


def _opening(summary: Mapping[str, Any], length: float, hosts: list[str]) -> str:
    name = summary.get("scenario", "The run")
    clock = {"sim": " of virtual time", "grpc": " of real time"}.get(str(summary.get("world")), "")
    seed = f" (seed {summary['seed']})" if "seed" in summary else ""
    who = f"{len(hosts):,} host{_s(len(hosts))}"
    if 0 < len(hosts) <= 6:
        who += f" ({', '.join(hosts)})"
    if not hosts:
        who = "no host that did anything"
    return f"{name}{seed} took {in_words(length * 1e9)}{clock}, with {who}."


def _calls(codes: Counter[str], unanswered: int, lost: int, latency: Durations, length: float) -> str:
    total = codes.total() + unanswered
    if not total:
        return ""
    if total == codes["OK"]:
        ended = "all OK" if total > 1 else "OK"
    else:
        parts = [
            f"{count:,} {code}" for code, count in sorted(codes.items(), key=lambda one: (-one[1], one[0]))
        ]
        if unanswered:
            parts.append(f"{unanswered:,} without an answer")
        ended = _and(parts)
    text = f"{total:,} call{_s(total)}: {ended}"
    if latency.count:
        text += (
            f"; the median took {in_words(latency.percentile(0.5))}, p99 {in_words(latency.percentile(0.99))}"
        )
    if length > 0:
        rate = total / length
        text += f", {rate:,.0f} a second" if rate >= 100 else f", {rate:.3g} a second"
    text += f"; {lost:,} message{_s(lost)} {'was' if lost == 1 else 'were'} lost" if lost else ""
    return text + "."


def _faults(periods: list[Period], began: int) -> str:
    if not periods:
        return "No fault was injected."
    parts = []
    for period in periods[:FAULTS_TOLD]:
        text = f"at {in_words(period.start - began)} {_happened(period)}"
        if period.end is None:
            text += " and stayed down" if period.name == "crash" else " to the end"
        elif not period.instant:
            lasted = in_words(period.end - period.start)
            text += f" and came back after {lasted}" if period.name == "crash" else f" for {lasted}"
        parts.append(text)
    if len(periods) > FAULTS_TOLD:
        parts.append(f"{len(periods) - FAULTS_TOLD:,} more faults followed")
    told = _and(parts)
    return told[0].upper() + told[1:] + "."


def _happened(period: Period) -> str:
    fields = period.fields
    link = (
        describe(period).removeprefix(period.name).strip() if "source" in fields or "target" in fields else ""
    )
    groups = " | ".join(", ".join(group) for group in fields.get("groups") or [period.hosts])
    text = HAPPENED.get(period.name, period.name + " of {hosts}")
    many = len(period.hosts) > 1
    if many and text.startswith("{hosts} was"):
        text = text.replace("{hosts} was", "{hosts} were", 1)
    return text.format(hosts=_and(period.hosts) or "a host", link=link or "everywhere", groups=groups)


def _operations(history: Iterable[Operation]) -> str:
    ends: Counter[str] = Counter()
    began: dict[int | str, int] = {}
    latency = Durations()
    for step in history:
        if step.type == "invoke":
            began[step.process] = step.time
            ends["invoke"] += 1
            continue
        ends[step.type] += 1
        since = began.pop(step.process, None)
        if step.type == "ok" and since is not None:
            latency.add(step.time - since)
    total = ends["invoke"]
    if not total:
        return ""
    unknown = total - ends["ok"] - ends["fail"]
    parts = [f"{ends['ok']:,} succeeded"]
    if ends["fail"]:
        parts.append(f"{ends['fail']:,} failed")
    if unknown:
        parts.append(f"of {unknown:,} the outcome is unknown")
    text = f"Clients invoked {total:,} operation{_s(total)}: {_and(parts)}"
    if latency.count:
        text += f" (median {in_words(latency.percentile(0.5))}, p99 {in_words(latency.percentile(0.99))})"
    return text + "."


def _verdict(summary: Mapping[str, Any]) -> str:
    verdict = summary.get("verdict")
    if verdict is None:
        return ""
    checks = [check for check in summary.get("checks", ()) if isinstance(check, dict)]
    broken = [check for check in checks if not check.get("ok")]
    if verdict == "fail" and broken:
        details = [
            f"{check.get('name')} ({check['detail']})" if check.get("detail") else str(check.get("name"))
            for check in broken
        ]
        return f"Verdict: fail; violated: {'; '.join(details)}."
    if verdict == "pass" and checks:
        held = "its check" if len(checks) == 1 else f"all {len(checks)} checks"
        return f"Verdict: pass; {held} held ({', '.join(str(check.get('name')) for check in checks)})."
    error = str(summary.get("error") or "").strip().splitlines()[-1:]  # of a traceback: what it was
    return f"Verdict: {verdict}{f' ({error[0].strip()})' if error else ''}."


def _and(parts: list[str]) -> str:
    return ", ".join(parts[:-1]) + " and " + parts[-1] if len(parts) > 1 else "".join(parts)


def _s(count: int) -> str:
    return "" if count == 1 else "s"
