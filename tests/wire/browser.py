"""
A real browser without a screen, driven by WebDriver.
"""

import base64
import json
import time
import urllib.request
from pathlib import Path

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--mute-audio", "--autoplay-policy=no-user-gesture-required",
)  # fmt: skip


class Browser:
    """
    One window of Chromium.

    :param driver: the address of chromedriver.
    :param profile: an empty folder for what it keeps.
    """

    def __init__(self, driver, chromium, profile, *flags):
        self.driver = driver
        arguments = [*FLAGS, f"--user-data-dir={profile}", *flags]
        options = {"binary": chromium, "args": arguments}
        capabilities = {
            "alwaysMatch": {
                "goog:chromeOptions": options,
                "goog:loggingPrefs": {"browser": "ALL"},
                "acceptInsecureCerts": True,
            }
        }
        self.session = ""
        self.session = f"/session/{self._call('POST', '/session', {'capabilities': capabilities})['sessionId']}"

    def _call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.driver + self.session + path, data, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]

    def open(self, url):
        """Go to a page."""
        self._call("POST", "/url", {"url": url})

    def run(self, script, *arguments):
        """What a script returns."""
        return self._call("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def wait(self, expression, seconds=20):
        """The value of an expression, once it is true."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = self.run(f"return {expression}")
            if found:
                return found
            time.sleep(0.1)
        raise AssertionError(f"never true: {expression}; the page says: {self.run('return document.body.innerText')}")

    def console(self):
        """What the page and the browser wrote to the console since the last look."""
        return [entry["message"] for entry in self._call("POST", "/se/log", {"type": "browser"})]

    def cookies(self):
        """The cookies of the page by name, with their flags."""
        return {cookie["name"]: cookie for cookie in self._call("GET", "/cookie")}

    def screenshot(self, path):
        """Save what is seen as a PNG."""
        Path(path).write_bytes(base64.b64decode(self._call("GET", "/screenshot")))

    def close(self):
        """End it."""
        self._call("DELETE", "")
