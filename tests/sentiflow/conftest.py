"""What several tests of the library share."""

from pathlib import Path

import pytest

from sentiflow.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings whose data folder is the test's own and which name no mirror."""
    return Settings(data_dir=tmp_path / "data", download_retries=0, download_timeout=5)
