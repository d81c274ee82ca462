import pytest

from sentiflow.settings import Settings
from sentiflow.store.client import connect, experiment_id
from sentiflow.store.ui import ui_url
from sentiflow.store.versions import version_rows
from tests.world import World


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


@pytest.mark.parametrize("odd", ["it's", '"', "') OR 1=1 --", "` = ", "a b", "", "'" * 300])
def test_a_version_with_an_odd_run_id_stands_in_the_table_beside_the_others(world: World, odd: str) -> None:
    """Red if what stands in place of an id goes into a question as it is: the whole table then failed."""
    client = connect(world.settings)
    run = client.create_run(experiment_id(client, world.settings), run_name="night-train").info.run_id
    client.create_registered_model("mine")
    for run_id in (run, odd):
        client.create_model_version("mine", source="/nowhere", run_id=run_id)
    assert [row.run for row in version_rows("mine", world.settings)] == [odd[:8] or "-", "night-train"]
