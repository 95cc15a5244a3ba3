"""
The same hosts from Python: twistd -ny vhosts.example/site.tac
"""

from pathlib import Path

from mixweb import Files, Headers, Host, Redirect, Respond
from mixweb import application as make

here = Path(__file__).parent

application = make(
    port="8080",
    default=Host(Files(here / "default")),
    hosts=[
        Host("static.localhost", Files(here / "static.localhost")),
        Host("scripts.localhost", Files(here / "scripts.localhost")),
        Host(
            "shop.localhost",
            "www.shop.localhost",
            "*.shop.localhost",
            Files(here / "_shop", listing=False),
            Headers(set=["X-Shop: open"]),
            Redirect(rules={"/sale": "/offers/"}),
            Respond("ok\n", at="/health"),
        ),
    ],
)
