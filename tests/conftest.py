"""
What the tests share.
"""

import os

import pytest
from twisted.logger import globalLogPublisher

from mixweb.registry import registry


@pytest.fixture
def failures():
    """What was logged as a failure while the test ran."""
    seen = []

    def observe(event):
        if "log_failure" in event:
            seen.append(event["log_failure"])

    globalLogPublisher.addObserver(observe)
    yield seen
    globalLogPublisher.removeObserver(observe)


@pytest.fixture
def features():
    """The features that there are."""
    return registry()


def needs(program):
    """The path of a program from Debian; the test is skipped without it, or fails where everything is required."""
    from shutil import which

    found = which(program)
    if found is None:
        if os.environ.get("MIXWEB_REQUIRE_ALL"):
            pytest.fail(f"{program} is missing")
        pytest.skip(f"{program} is missing")
    return found


@pytest.fixture
def program():
    """Finds a program of the system, or skips the test."""
    return needs
