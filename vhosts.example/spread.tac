"""
One site, two processes: twistd -ny vhosts.example/spread.tac

This process has the port and the files. It starts another one from the same file, and again when it ends, which has the
shop; they meet at a socket.
"""

import os
import sys
from pathlib import Path
from tempfile import gettempdir

from twisted.application.service import Application
from twisted.runner.procmon import ProcessMonitor

from mixweb import Distrib, Files, Host, service

here = Path(__file__).absolute().parent
socket = os.environ.get("SPREAD_SOCKET") or f"{gettempdir()}/mixweb-{os.getpid()}.socket"
application = Application("spread")

if "SPREAD_SOCKET" in os.environ:
    shop = service(personal=True, listen=[f"unix:{socket}:mode=600"], default=Host(Files(here / "_shop")))
    shop.setServiceParent(application)
else:
    monitor = ProcessMonitor()
    again = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "--pidfile=", "-ny", __file__]
    monitor.addProcess("shop", again, env={**os.environ, "SPREAD_SOCKET": socket})
    monitor.setServiceParent(application)
    front = service(port="8080", default=Host(Files(here / "default"), Distrib(f"unix:{socket}", at="/shop")))
    front.setServiceParent(application)
