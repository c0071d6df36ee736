"""A page that shows how something is, live: one document with no assets but itself.

It renews its `main` every two seconds without moving under the reader's eyes; without scripts it is loaded
anew. `pages.py` serves it.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882; --good: #2a8f4f; --run: #2f6fd0; --bad:
#c0392b; } body { font: 15px/1.45 system-ui, sans-serif; margin: 0 auto; max-width: 76rem; padding: 1rem
1.5rem 4rem; } h1 { font-size: 1.5rem; margin: .5rem 0; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; } a {
color: var(--run); text-decoration: none; } a:hover { text-decoration: underline; } table { border-collapse:
collapse; width: 100%; } .scroll { overflow-x: auto; } th, td { text-align: left; padding: .3rem .8rem .3rem
0; border-bottom: 1px solid var(--line); vertical-align: top; } th { font-weight: 600; } td.n, th.n {
text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; } .state { border-radius: .6rem;
padding: .05rem .6rem; color: #fff; background: #777; white-space: nowrap; } .done, .completed { background:
var(--good); } .running, .in-progress { background: var(--run); } .failed { background: var(--bad); } .soft {
opacity: .7; } .error { color: var(--bad); overflow-wrap: anywhere; } .bar { display: flex; height: .9rem;
min-width: 8rem; background: var(--soft); border-radius: .3rem; overflow: hidden; } .bar i { background:
var(--good); } .bar i + i { background: var(--run); opacity: .6; } pre { background: var(--soft); padding:
.6rem; overflow-x: auto; } nav a { margin-right: 1rem; }
"""

_SCRIPT = """
async function renew() {
  try {
    const answer = await fetch(location.href, {cache: "no-store"});
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.querySelector("main");
    if (answer.ok && fresh) document.querySelector("main").replaceWith(fresh);
    const alive = document.getElementById("alive");
    alive.textContent = answer.ok ? "" : "this page is gone";
    alive.title = "renewed " + new Date().toLocaleTimeString();
  } catch { document.getElementById("alive").textContent = "nobody answers"; }
  setTimeout(renew, 2000);
}
setTimeout(renew, 2000);
"""


def page(title: str, crumbs: str, body: str) -> str:
    """Returns a page of HTML: a title, links to others, and what is renewed."""
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width, initial-scale=1'>"
        "<noscript><meta http-equiv=refresh content=2></noscript>"
        f"<title>{escape(title)}</title><style>{_STYLE}</style>"
        f"<nav>{crumbs}<span id=alive class=error></span></nav>"
        f"<main><h1>{escape(title)}</h1>{body}</main><script>{_SCRIPT}</script></html>"
    )


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], empty: str) -> str:
    """Returns a table of HTML; a column whose head begins with "#" is of numbers."""
    if not rows:
        return f"<p class=soft>{escape(empty)}</p>"
    kinds = [" class=n" if head.startswith("#") else "" for head in heads]
    head = "".join(
        f"<th{kind}>{escape(name.removeprefix('#'))}</th>" for name, kind in zip(heads, kinds, strict=True)
    )
    lines = "".join(
        "<tr>" + "".join(f"<td{kind}>{cell}</td>" for cell, kind in zip(row, kinds, strict=True)) + "</tr>"
        for row in rows
    )
    return f"<div class=scroll><table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>"


def link(target: str, text: str) -> str:
    """Returns a link of HTML."""
    return f'<a href="{escape(target)}">{escape(text)}</a>'
