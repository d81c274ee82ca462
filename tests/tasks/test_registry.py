import pytest

from sentiment.settings import Settings
from tasks.registry import ui_url


@pytest.mark.parametrize(
    ("given", "leads_to"),
    [
        ({"tracking_uri": "sqlite:///mlflow.db"}, "http://127.0.0.1:5000"),
        ({"tracking_uri": "http://mlflow:5000/"}, "http://mlflow:5000"),
        ({"tracking_uri": "http://mlflow:5000", "ui_url": "http://127.0.0.1:8500/"}, "http://127.0.0.1:8500"),
    ],
)
def test_links_lead_where_the_settings_say_else_to_the_server(given: dict[str, str], leads_to: str) -> None:
    """Inside the stack the server has a name that no browser finds."""
    assert ui_url(Settings(_env_file=None, **given)) == leads_to
