"""
Configurations to begin with.
"""

from __future__ import annotations

from pathlib import Path

_SITE = """\
# What this server serves. `mixweb check` tells what is wrong, `mixweb show` what is in force.
# Run it with `mixweb site.toml`, or `twistd -n web-mix --config site.toml`.

port = "8080" # on loopback; `listen = ["tcp:80"]` for all addresses

[files]
path = "{path}"
# index = ["index.html"]
# listing = false # no list of a folder without an index file
# fallback = "index.html" # what a single-page application wants

# [cachecontrol]
# rules = {{ "*.css" = "max-age=3600" }}
"""

_HOSTS = """\
# Each folder in vhosts/ is served as the host it is named for, vhosts/default to every other name;
# vhosts/NAME.toml says more about one.

port = "8080"
vhosts = "vhosts"
"""

_TAC = """\
# The same from Python: twistd -ny site.tac

from mixweb import application as make

application = make("site.toml")
"""

_UNIT = """\
[Unit]
Description=mixweb
After=network.target

[Service]
Type=exec
WorkingDirectory={directory}
ExecStart=mixweb site.toml
ExecReload=kill -HUP $MAINPID
DynamicUser=yes
AmbientCapabilities=CAP_NET_BIND_SERVICE
StateDirectory=mixweb
ProtectSystem=strict
TimeoutStopSec=40

[Install]
WantedBy=multi-user.target
"""

_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<title>It works</title>
<h1>It works</h1>
<p>This is {where}.</p>
</html>
"""

KINDS = {
    "static": {
        "site.toml": _SITE.format(path="site"),
        "site/index.html": _PAGE.format(where="site/index.html"),
    },
    "hosts": {
        "site.toml": _HOSTS,
        "vhosts/default/index.html": _PAGE.format(where="vhosts/default/index.html"),
        "vhosts/a.localhost/index.html": _PAGE.format(where="vhosts/a.localhost/index.html"),
    },
}


def files_of(kind: str, directory: Path) -> dict[str, str]:
    """
    The files of a kind of site by their names.

    :param directory: where they are to stand.
    """
    return {**KINDS[kind], "site.tac": _TAC, "mixweb.service": _UNIT.format(directory=directory)}
