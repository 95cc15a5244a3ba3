"""
mixweb: a modular web server on Twisted Web.
"""

from mixweb._version import __version__

__all__ = ["__version__"]
