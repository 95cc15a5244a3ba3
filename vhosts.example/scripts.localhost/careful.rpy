"""
Any resource can stand behind wrappers, in a script too.
"""

from mixweb import Headers, stack
from twisted.web.static import Data

resource = stack(Data(b"<p>Look at my headers.</p>", "text/html"), Headers(set=["X-From: a script"]))
