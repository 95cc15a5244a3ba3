"""
Writes the option tables of the feature pages from the settings of the features: ``make docs``.
"""

import re
from pathlib import Path
from typing import get_type_hints

from mixweb.convert import expected
from mixweb.dump import toml_value
from mixweb.feature import Feature, Wrap, default_of, principal_field, settings_fields
from mixweb.plan import Server
from mixweb.registry import registry

DOCS = Path(__file__).parent
_MARK = re.compile(r"<!-- options: (\w+) -->\n(?:\n?\|.*\n)*(?:\n(?=\n))?")


def table(name: str) -> str:
    """The options of a feature, or of the server, as a Markdown table."""
    feature = None if name == "server" else registry().features[name]
    settings = Server if feature is None else feature.settings
    hints = get_type_hints(settings)
    rows = ["| TOML | Command line | Value | Default | |", "|---|---|---|---|---|"]
    for item in settings_fields(settings):
        default = default_of(item)
        shown = toml_value(default if not isinstance(default, tuple) else list(default))
        value = expected(hints[item.name])
        cells = [f"`{item.name}`", f"`{option(feature, item.name)}`", value, f"`{shown}`", item.metadata["help"]]
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def option(feature: Feature | None, field: str) -> str:
    """What a field is called on the command line."""
    dashed = field.replace("_", "-")
    if feature is None or field in ("at", "paths", "except_paths"):
        return f"--{dashed}"
    return f"--{feature.name}" if field == principal_field(feature.settings) else f"--{feature.name}-{dashed}"


def order() -> str:
    """The stages with the wrappers that stand there, outermost first."""
    wrappers = sorted(
        (feature for feature in registry().features.values() if isinstance(feature, Wrap)),
        key=lambda feature: (feature.stage, feature.name),
    )
    return "".join(f"{feature.stage.name:<10} {feature.name}\n" for feature in wrappers)


def filled(page: str) -> str:
    """A page with its tables as they are now."""
    return _MARK.sub(lambda found: f"<!-- options: {found[1]} -->\n\n{table(found[1])}\n", page).rstrip("\n") + "\n"


def main() -> None:
    """Bring all pages up to date."""
    for path in sorted(DOCS.rglob("*.md")):
        text = path.read_text(encoding="utf-8")
        if filled(text) != text:
            path.write_text(filled(text), encoding="utf-8")
            print(path)


if __name__ == "__main__":
    main()
