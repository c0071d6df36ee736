"""The status page's HTML (MapReduce 4.8), from the same values that its JSON has."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from services.live import link, page, table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def overview(about: dict[str, Any]) -> str:
    """Returns the first page: all jobs, failed workers, workers."""
    jobs = [
        (
            link(job["link"], job["title"] or job["job"]),
            _state(job["state"]),
            _bar(job["maps_completed"], job["maps_running"], job["maps"]),
            _bar(job["reduces_completed"], job["reduces_running"], job["reduces"]),
            _bytes(job["input_bytes"]),
            _rate(job["rates"]["input_bytes"]) if job["state"] == "running" else "",
            _seconds(job["elapsed_s"]),
        )
        for job in about["jobs"]
    ]
    body = "<h2>Jobs</h2>" + table(
        ["Job", "State", "Maps", "Reduces", "#Input", "#Rate", "#Time"],
        jobs,
        "No job has been submitted yet.",
    )
    body += _failed_workers(about["failed_workers"])
    body += f"<h2>Workers ({len(about['workers'])})</h2>" + table(
        ["Worker", "Rack", "#Slots: map + reduce", "#Running", "#Waiting", "#Heard of", ""],
        [
            (
                escape(worker["name"]),
                escape(worker["rack"]),
                f"{worker['map_slots']} + {worker['reduce_slots']}",
                str(worker["running"]),
                str(worker["waiting"]),
                f"{_seconds(worker['heard'])} ago",
                _condition(worker),
            )
            for worker in about["workers"]
        ],
        "No worker has registered.",
    )
    return page(f"MapReduce master {about['master']}", "", body)


def job(about: dict[str, Any]) -> str:
    """Returns a job's page."""
    job = about["job"]
    body = f"<p>{_state(job['state'])} for {_seconds(job['elapsed_s'])}"
    if job["map_phase_s"]:
        body += f", the maps took {_seconds(job['map_phase_s'])}"
    body += f" <span class=soft>id {escape(job['job'])}</span></p>"
    if job["error"]:
        body += f"<p class=error>{escape(job['error'])}</p>"
    if job["failed_log"]:
        body += f"<pre>{escape(job['failed_log'])}</pre>"
    body += "<h2>Tasks</h2>" + table(
        ["", "Progress", "#Completed", "#In progress", "#Idle", "#All"],
        [_task_row(job, "map", "maps"), _task_row(job, "reduce", "reduces")],
        "",
    )
    body += f"<p>{job['executions']} executions so far, {job['backups']} of them backup tasks."
    if any(count for word, count in about["locality"].items() if word != "remote"):  # else all is as near
        near = ", ".join(f"{count} {word}" for word, count in about["locality"].items())
        body += f" Maps by place of their input: {escape(near)}."
    body += "</p><h2>Data</h2>" + table(
        ["", "#Bytes", "#Of", "#Rate" if job["state"] == "running" else "#Mean rate"],
        [
            ("Input", _bytes(job["input_bytes"]), _bytes(job["total_input_bytes"]), _rate_of(job, "input")),
            ("Intermediate", _bytes(job["intermediate_bytes"]), "", _rate_of(job, "intermediate")),
            ("Output", _bytes(job["output_bytes"]), "", _rate_of(job, "output")),
        ],
        "",
    )
    body += _failed_workers(about["failed_workers"])
    if about["failed"]:
        body += "<h2>Failed executions</h2>" + _attempts(job, about["failed"])
    if job["skipped"]:
        body += "<h2>Skipped records</h2>" + table(
            ["Task", "#Record", "Where", "Error"],
            [
                (
                    f"{bad.get('kind', 'MAP').lower()} {bad.get('task', 0)}",
                    str(bad.get("number", 0)),
                    escape(bad.get("where", "")),
                    escape(bad.get("error", "")),
                )
                for bad in job["skipped"]
            ],
            "",
        )
    if job["state"] == "running":
        body += f"<h2>Executions under way ({len(about['running'])})</h2>"
        body += _attempts(job, about["running"][:200])
    body += "<h2>Counters</h2>" + table(
        ["Counter", "#Value"],
        [(escape(name), f"{value:,}") for name, value in job["counters"].items()],
        "Nothing has been counted yet.",
    )
    return page(job["title"] or job["job"], _crumbs(about), body)


def tasks(about: dict[str, Any]) -> str:
    """Returns a page of tasks."""
    job, kind = about["job"], about["kind"]
    base = f"{job['link']}/{kind}"
    links = [link(f"{base}?state={state}", state) for state in ("idle", "in-progress", "completed")]
    body = f"<nav>{link(base, 'all')} {' '.join(links)}</nav>"
    rows: list[Sequence[str]] = []
    for task in about["tasks"]:
        first = (
            str(task["number"]),
            _state(task["state"]),
            f"skips {', '.join(map(str, task['skip']))}" if task["skip"] else "",
        )
        attempts = [_attempt(job, attempt) for attempt in task["attempts"]] or [[""] * 5]
        rows += [(*(first if not index else ("", "", "")), *row) for index, row in enumerate(attempts)]
    empty = "No such task." if job["state"] == "running" else "The job is over: its tasks are not kept."
    body += table(["#Task", "State", "", "Attempt", "Worker", "State", "Progress", "Log"], rows, empty)
    if about["next"] is not None:
        state = f"state={quote(about['state'])}&" if about["state"] else ""
        more = f"{base}?{state}from={about['next']}"
        body += f"<p>{link(more, 'more')}</p>"
    return page(f"{kind.capitalize()} tasks", _crumbs(about, job), body)


def _attempts(job: dict[str, Any], attempts: Iterable[dict[str, Any]]) -> str:
    rows = [(f"{attempt['kind']} {attempt['number']}", *_attempt(job, attempt)) for attempt in attempts]
    return table(["Task", "Attempt", "Worker", "State", "Progress", "Log"], rows, "None.")


def _attempt(job: dict[str, Any], attempt: dict[str, Any]) -> list[str]:
    words = ["backup"] if attempt["backup"] else []
    words += [attempt["near"]] if attempt["near"] else []
    if attempt["state"] == "running":
        told = f"{attempt['progress']:.0%} after {_seconds(attempt['seconds'])}"
    else:
        told = f"{_seconds(attempt['seconds'])} ago" if attempt["state"] == "failed" else ""
    told = escape(" ".join(filter(None, (told, attempt["status"]))))
    if attempt["error"]:
        told += f" <span class=error>{escape(attempt['error'])}</span>"
    log = f"{job['link']}/log/{attempt['kind']}/{attempt['number']}/{attempt['attempt']}"
    return [
        str(attempt["attempt"]),
        escape(attempt["worker"]),
        f"{_state(attempt['state'])} <span class=soft>{escape(', '.join(words))}</span>",
        told,
        link(log, "log") if attempt["log"] else "",
    ]


def _failed_workers(workers: Iterable[dict[str, Any]]) -> str:
    rows = [
        (
            f"{escape(worker['name'])} <span class=soft>incarnation {worker['incarnation']}</span>",
            escape(worker["why"]),
            f"{_seconds(worker['ago'])} ago",
            escape(", ".join(worker["executing"])) or "nothing",
        )
        for worker in workers
    ]
    if not rows:
        return ""
    return f"<h2>Failed workers ({len(rows)})</h2>" + table(
        ["Worker", "Why", "#When", "Was executing"], rows, ""
    )


def _task_row(job: dict[str, Any], word: str, plural: str) -> tuple[str, ...]:
    total, done, running = job[plural], job[f"{plural}_completed"], job[f"{plural}_running"]
    return (
        link(f"{job['link']}/{word}", f"{word.capitalize()} tasks"),
        _bar(done, running, total),
        str(done),
        str(running),
        str(max(0, total - done - running)),
        str(total),
    )


def _condition(worker: dict[str, Any]) -> str:
    words = [word for word in ("banned", "leaving") if worker[word]]
    if worker["troubles"]:
        words.append(f"its machine failed {worker['troubles']} executions")
    return escape(", ".join(words))


def _crumbs(about: dict[str, Any], job: dict[str, Any] | None = None) -> str:
    first = link("/", f"all jobs and workers of {about['master']}")
    return first + (link(job["link"], job["title"] or job["job"]) if job is not None else "")


def _state(word: str) -> str:
    return f'<span class="state {escape(word)}">{escape(word)}</span>'


def _bar(done: int, running: int, total: int) -> str:
    if not total:
        return "<span class=soft>none</span>"
    parts = "".join(f"<i style='width:{100 * part / total:.2f}%'></i>" for part in (done, running))
    return f"<div class=bar title='{done} of {total} completed, {running} in progress'>{parts}</div>"


def _rate_of(job: dict[str, Any], what: str) -> str:
    return _rate(job["rates"][f"{what}_bytes"])


def _rate(value: float) -> str:
    return f"{_bytes(value)}/s"


def _bytes(value: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if abs(value) < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} TB"


def _seconds(value: float) -> str:
    if value < 10:
        return f"{value:.1f} s"
    minutes, seconds = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {seconds:02} s" if minutes else f"{seconds} s"
