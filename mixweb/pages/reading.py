"""
Reading the body of a request before its handler is called.
"""

from __future__ import annotations

from mixweb.pages.bodies import reader_of
from mixweb.pages.call import Action, Call, resume, run


def read_content(call: Call, then: Action) -> None:
    """
    Read the body of a call's request while it arrives, then go on.

    :raises HTTPError: when nothing can be done with it.
    """
    request = call.request
    reader = reader_of(request, call.app.limits)
    if reader is None:
        request.when_body(lambda _: resume(call, then))
        return

    def complete() -> None:
        call.content = reader.finish()
        run(call, then)

    request.notifyFinish().addBoth(lambda _: reader.close())
    request.receive_body(reader.feed, complete)
