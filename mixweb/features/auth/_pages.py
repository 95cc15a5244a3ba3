"""
The pages for people: log in, log out, choose a password, become a user. They need no script.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from html import escape
from urllib.parse import quote

from mixweb.engine.request import Request
from mixweb.interfaces import IFormToken

_STYLE = """
:root{color-scheme:light dark;--ink:#1c2024;--soft:#60656c;--line:#c9ccd1;--lit:#f3f5f7;--link:#0b5cad;--page:#fff;
--bad:#b3261e}
@media(prefers-color-scheme:dark){:root{--ink:#e8eaed;--soft:#9ba1a8;--line:#454a52;--lit:#22262b;--link:#82b8f5;
--page:#17191c;--bad:#f2a19b}}
*{box-sizing:border-box}
body{margin:12vh auto 0;max-width:23rem;padding:0 1.25rem 3rem;background:var(--page);color:var(--ink);
font:1rem/1.5 system-ui,sans-serif}
h1{font-size:1.4rem;font-weight:600;margin:0 0 1.25rem}
label{display:block;font-size:.9rem;color:var(--soft);margin:.9rem 0 .25rem}
input{font:inherit;color:inherit;width:100%;padding:.5rem .75rem;background:var(--lit);border:1px solid var(--line);
border-radius:.5rem}
button{font:inherit;font-weight:600;margin-top:1.4rem;padding:.55rem 1.4rem;border:0;border-radius:.5rem;
background:var(--link);color:var(--page);cursor:pointer}
input:focus-visible,button:focus-visible,a:focus-visible{outline:2px solid var(--link);outline-offset:2px}
a{color:var(--link)}
p{margin:.75rem 0;overflow-wrap:anywhere}
[role=alert]{color:var(--bad);font-weight:600}
nav{margin-top:2rem;display:flex;gap:1.25rem;font-size:.9rem}
"""

_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>{title}</h1>
{body}
</main>
</body>
</html>
"""

_POLICY = (
    "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; "
    f"style-src 'sha256-{b64encode(sha256(_STYLE.encode()).digest()).decode()}'"
).encode()


@dataclass(frozen=True)
class Input:
    """
    One line of a form.

    :ivar complete: what a browser fills it with (the ``autocomplete`` attribute).
    """

    name: str
    label: str
    complete: str
    value: str = ""
    secret: bool = False

    def html(self, focus: bool) -> str:
        """The line."""
        kind = "password" if self.secret else "text"
        more = ' autocapitalize="none" spellcheck="false"' if not self.secret else ""
        return (
            f'<label for="{self.name}">{escape(self.label)}</label>\n'
            f'<input id="{self.name}" name="{self.name}" type="{kind}" value="{escape(self.value)}"'
            f' autocomplete="{self.complete}"{more} required{" autofocus" if focus else ""}>'
        )


def user_input(name: str = "") -> Input:
    """Asks for a name."""
    return Input("username", "Name", "username", name)


PASSWORD = Input("password", "Password", "current-password", secret=True)
NEW_PASSWORD = Input("new_password", "New password", "new-password", secret=True)
FIRST_PASSWORD = Input("password", "Password", "new-password", secret=True)


@dataclass(frozen=True)
class Form:
    """
    A page with one form.

    :ivar action: where it is sent to.
    :ivar button: what is on the button.
    :ivar goto: where it leads in the end.
    :ivar hint: a sentence before it.
    """

    title: str
    action: str
    button: str
    inputs: tuple[Input, ...] = ()
    goto: str = ""
    hint: str = ""


def show(request: Request, form: Form, problem: str = "", links: Iterable[tuple[str, str]] = ()) -> bytes:
    """
    Answer with a form.

    :param problem: why it is there again.
    :param links: paths and texts of what else one may want.
    """
    hidden = [("goto", form.goto)] if form.goto else []
    token = IFormToken(request, None)
    if token is not None:
        hidden.append((token.field, token.value))
    empty = next((item for item in form.inputs if not item.value), None)
    lines = [f'<p role="alert">{escape(problem)}</p>'] if problem else []
    lines += [f"<p>{escape(form.hint)}</p>"] if form.hint else []
    lines.append(f'<form method="post" action="{escape(form.action)}">')
    lines += [f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">' for name, value in hidden]
    lines += [item.html(focus=item is empty) for item in form.inputs]
    lines.append(f"<button>{escape(form.button)}</button>\n</form>")
    shown = [f'<a href="{escape(path)}">{escape(text)}</a>' for path, text in links]
    lines += [f"<nav>{' '.join(shown)}</nav>"] if shown else []
    request.setHeader(b"Content-Type", b"text/html; charset=utf-8")
    if not request.responseHeaders.hasHeader(b"Content-Security-Policy"):
        request.setHeader(b"Content-Security-Policy", _POLICY)
    request.setHeader(b"X-Frame-Options", b"DENY")
    return _PAGE.format(title=escape(form.title), style=_STYLE, body="\n".join(lines)).encode()


def with_goto(path: str, goto: str) -> str:
    """A path with a ``goto``, if there is one."""
    return f"{path}?goto={quote(goto, safe='/')}" if goto else path
