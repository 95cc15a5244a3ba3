"""
Where each wrapper stands.
"""

from pathlib import Path

from mixweb.feature import Stage, Wrap

GOLDEN = Path(__file__).parent / "config" / "order.txt"


def test_order(features):
    """The order of the wrappers, outermost first, is the one in tests/config/order.txt."""
    wrappers = [feature for feature in features.features.values() if isinstance(feature, Wrap)]
    found = "".join(
        f"{Stage(feature.stage).name.lower():<10} {feature.name}{' (by default)' if feature.default else ''}\n"
        for feature in sorted(wrappers, key=lambda feature: (feature.stage, feature.name))
    )
    assert found == GOLDEN.read_text()
