"""
The page that shows a directory: no request but itself, complete without scripts.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Sequence
from html import escape
from urllib.parse import urlencode

from mixweb.features.files._listing import MAX_ENTRIES, Entry, Listing, View

_STYLE = """
:root{color-scheme:light dark;--ink:#1c2024;--soft:#60656c;--line:#e3e5e8;--lit:#f3f5f7;--link:#0b5cad;--page:#fff;
--folder:#c98a0c}
@media(prefers-color-scheme:dark){:root{--ink:#e8eaed;--soft:#9ba1a8;--line:#30343a;--lit:#22262b;--link:#82b8f5;
--page:#17191c;--folder:#e3b341}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:1rem/1.45 system-ui,sans-serif}
main,header,footer{max-width:62rem;margin:auto;padding:0 1.25rem}
header{display:flex;flex-wrap:wrap;gap:.75rem 1.5rem;align-items:center;justify-content:space-between;
padding-top:1.75rem;padding-bottom:.9rem}
h1{font-size:1.2rem;font-weight:600;margin:0;overflow-wrap:anywhere}
h1 span{color:var(--soft);font-weight:400;padding:0 .3rem}
a{color:var(--link);text-decoration:none}
a:hover{text-decoration:underline}
input{font:inherit;font-size:.95rem;color:inherit;background:var(--lit);border:1px solid var(--line);
border-radius:.5rem;padding:.4rem .75rem;width:15rem;max-width:100%}
input:focus-visible,a:focus-visible{outline:2px solid var(--link);outline-offset:1px}
table{width:100%;border-collapse:collapse;font-variant-numeric:tabular-nums}
th{font-size:.8rem;font-weight:600;text-align:left;padding:.4rem .6rem;border-bottom:1px solid var(--line);
white-space:nowrap}
th a{color:var(--soft)}
td{padding:.45rem .6rem;border-bottom:1px solid var(--line);vertical-align:top}
tbody tr:hover{background:var(--lit)}
td a{display:flex;gap:.65rem;overflow-wrap:anywhere}
svg{flex:none;width:1.15rem;height:1.15rem;margin-top:.15rem;fill:var(--soft)}
svg.icons{position:absolute;width:0;height:0}
.dir svg{fill:var(--folder)}
.size,.date{color:var(--soft);white-space:nowrap;width:1%}
.size{text-align:right}
.date{padding-left:1.25rem}
[hidden]{display:none!important}
p{margin:1.25rem .6rem;color:var(--soft)}
footer{color:var(--soft);font-size:.85rem;padding-top:1rem;padding-bottom:2.5rem;display:flex;flex-wrap:wrap;
gap:.4rem 1.25rem}
footer span{margin-right:auto;padding-left:.6rem}
@media(max-width:36rem){
main,header,footer{padding-left:.6rem;padding-right:.6rem}
h1,form{padding:0 .4rem}
form,input{width:100%}
thead tr{display:flex;border-bottom:1px solid var(--line)}
th,th.size{border:0;padding:.4rem;width:auto}
tbody tr{display:grid;grid-template-columns:1fr auto;border-bottom:1px solid var(--line);padding:.4rem 0}
td{border:0;padding:.05rem .4rem}
td.size,td.date{width:auto;font-size:.85rem}
td.date{grid-column:1/-1;padding-left:2.2rem}
td:empty{display:none}
footer span{padding-left:.4rem}
}
"""

_SCRIPT = """
addEventListener("DOMContentLoaded",()=>{
const box=document.querySelector("input[name=filter]"),rows=document.querySelectorAll("tr[data-name]");
box.addEventListener("input",()=>{
const text=box.value.trim().toLowerCase();
for(const row of rows)row.hidden=!row.dataset.name.includes(text)});
})
"""

_ICONS = (
    '<svg class="icons" aria-hidden="true"><symbol id="d" viewBox="0 0 24 24"><path d="M10.6 5H4.5A2.5 2.5 0 0 0 2 7.5'
    'v9A2.5 2.5 0 0 0 4.5 19h15a2.5 2.5 0 0 0 2.5-2.5v-7A2.5 2.5 0 0 0 19.5 7h-6.9z"/></symbol><symbol id="f"'
    ' viewBox="0 0 24 24"><path d="M6.5 2A2.5 2.5 0 0 0 4 4.5v15A2.5 2.5 0 0 0 6.5 22h11a2.5 2.5 0 0 0 2.5-2.5v-11'
    "L13.5 2zm0 1.8H12v4.7c0 .8.7 1.5 1.5 1.5h4.7v9.5c0 .4-.3.7-.7.7h-11a.7.7 0 0 1-.7-.7v-15c0-.4.3-.7.7-.7z"
    '"/></symbol></svg>'
)


def _hash(text: str) -> str:
    return "'sha256-" + b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii") + "'"


#: The page may use what is in it and nothing else.
CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; style-src {_hash(_STYLE)}; script-src {_hash(_SCRIPT)}; form-action 'self'; base-uri 'none';"
    " frame-ancestors 'self'"
).encode("ascii")


def as_html(listing: Listing, above: Sequence[str], below: Sequence[str]) -> bytes:
    """
    The page.

    :param above: the segments of the path down to the root of the files, decoded.
    :param below: the segments from there to this directory.
    """
    entries = listing.arranged()
    path = "/" + "".join(name + "/" for name in (*above, *below))
    rows = [_row(entry) for entry in entries]
    if below:
        rows.insert(0, _PARENT)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(path)}</title>\n<style>{_STYLE}</style>\n<script>{_SCRIPT}</script>\n</head>\n<body>\n{_ICONS}\n"
        f"<header>\n<h1>{_breadcrumb(above, below)}</h1>\n{_form(listing.view)}\n</header>\n<main>\n"
        f"<table>\n<thead><tr>{_head(listing.view)}</tr></thead>\n<tbody>\n{''.join(rows)}</tbody>\n</table>\n"
        f"{_note(listing)}</main>\n<footer><span>{_summary(entries)}</span>{_formats(listing.view)}</footer>\n"
        "</body>\n</html>\n"
    ).encode()


_PARENT = (
    '<tr class="dir"><td><a href="../"><svg aria-hidden="true"><use href="#d"/></svg>Parent directory</a></td>'
    '<td class="size"></td><td class="date"></td></tr>\n'
)


def _breadcrumb(above: Sequence[str], below: Sequence[str]) -> str:
    crumbs = [escape(name) for name in above[:-1]]
    names = [above[-1] if above else "Files", *below]
    for depth, name in zip(range(len(below), -1, -1), names, strict=True):
        crumbs.append(f'<a href="{"../" * depth}">{escape(name)}</a>' if depth else escape(name))
    return "<span>/</span>".join(crumbs)


def _query(view: View, **changes: str) -> str:
    fields = {"sort": view.sort, "order": "desc" if view.descending else "asc", "filter": view.filter} | changes
    defaults = {"sort": "name", "order": "asc", "filter": ""}
    return "?" + urlencode({name: value for name, value in fields.items() if value != defaults.get(name)})


def _form(view: View) -> str:
    kept = {"sort": view.sort, "order": "desc" if view.descending else "asc"} if _query(view, filter="") != "?" else {}
    hidden = "".join(f'<input type="hidden" name="{name}" value="{value}">' for name, value in kept.items())
    return (
        f'<form role="search"><input type="search" name="filter" value="{escape(view.filter)}" placeholder="Filter"'
        f' aria-label="Filter by name" autocomplete="off" spellcheck="false">{hidden}</form>'
    )


def _head(view: View) -> str:
    cells = []
    for key, title in (("name", "Name"), ("size", "Size"), ("date", "Modified")):
        current = key == view.sort
        order = "asc" if not current or view.descending else "desc"
        sorted_by = f' aria-sort="{"descending" if view.descending else "ascending"}"' if current else ""
        arrow = (" ↓" if view.descending else " ↑") if current else ""
        link = escape(_query(view, sort=key, order=order))
        cells.append(f'<th class="{key}" scope="col"{sorted_by}><a href="{link}">{title}{arrow}</a></th>')
    return "".join(cells)


def _row(entry: Entry) -> str:
    name = escape(entry.text)
    kind, icon, slash = ("dir", "d", "/") if entry.is_directory else ("file", "f", "")
    size = "" if entry.is_directory else f'<span title="{entry.size:,} bytes">{human_size(entry.size)}</span>'
    time = entry.time
    date, _, clock = time.partition("T")
    return (
        f'<tr class="{kind}" data-name="{escape(entry.text.lower())}"><td><a href="{escape(entry.href)}">'
        f'<svg aria-hidden="true"><use href="#{icon}"/></svg><span>{name}{slash}</span></a></td>'
        f'<td class="size">{size}</td><td class="date"><time datetime="{time}"'
        f' title="{date} {clock[:8]} UTC">{date} {clock[:5]}</time></td></tr>\n'
    )


def _note(listing: Listing) -> str:
    if listing.truncated:
        return f"<p>Only {MAX_ENTRIES:,} entries are shown. The filter looks at all of them.</p>\n"
    if not listing.entries:
        return "<p>No name matches the filter.</p>\n" if listing.view.filter else "<p>This directory is empty.</p>\n"
    return ""


def _summary(entries: Sequence[Entry]) -> str:
    folders = sum(entry.is_directory for entry in entries)
    files = len(entries) - folders
    counts = [
        f"{count:,} {word}{'' if count == 1 else 's'}"
        for count, word in ((folders, "folder"), (files, "file"))
        if count
    ]
    return ", ".join(counts) + (f", {human_size(sum(entry.size for entry in entries))}" if files else "")


def _formats(view: View) -> str:
    return "".join(
        f'<a href="{escape(_query(view, format=key))}">{title}</a>'
        for key, title in (("json", "JSON"), ("text", "Text"))
    )


def human_size(size: int) -> str:
    """A size in bytes for people, in powers of 1024."""
    amount = float(size)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if amount < 999.5:
            return f"{size} B" if unit == "B" else f"{amount:.3g} {unit}" if amount < 99.95 else f"{amount:.0f} {unit}"
        amount /= 1024
    return f"{amount:.0f} PiB"
