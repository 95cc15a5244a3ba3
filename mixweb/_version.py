"""
Provides mixweb version information.
"""

# Written by incremental: python -m incremental.update mixweb --newversion=...

from incremental import Version

__version__ = Version("mixweb", 26, 11, 0)
__all__ = ["__version__"]
