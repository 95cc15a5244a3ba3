"""
python -m mixweb: the ``mixweb`` command.
"""

from mixweb.cli import main

main()
