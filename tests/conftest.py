"""What every test may use."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real data beside the checkout, where there is some; a test that wants it skips where there is none."""
    path = ROOT.parent / "shared"
    if not path.is_dir():
        pytest.skip("needs the real data beside the checkout")
    return path
