"""
The named blocks of a page of documentation, as files and modules.
"""

import re
import sys
from importlib import import_module, invalidate_caches
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"

_FENCE = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Document:
    """
    A page.

    :ivar blocks: the text of each named block.
    :ivar commands: what is typed in the console blocks, with what is printed.
    """

    def __init__(self, name):
        self.text = (DOCS / name).read_text()
        self.blocks = {name: text for _, name, text in _FENCE.findall(self.text) if name}
        consoles = [text for language, _, text in _FENCE.findall(self.text) if language == "console"]
        self.commands = dict(block.removeprefix("$ ").split("\n", 1) for block in consoles)

    def write(self, folder):
        """Write the blocks to files."""
        for name, text in self.blocks.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def module(self, folder, name, monkeypatch):
        """One of the blocks as a module, forgotten with the test."""
        if not (folder / name).exists():
            self.write(folder)
        monkeypatch.syspath_prepend(folder)
        invalidate_caches()
        module = name.removesuffix(".py")
        monkeypatch.delitem(sys.modules, module, raising=False)
        found = import_module(module)
        monkeypatch.setitem(sys.modules, module, found)
        return found
