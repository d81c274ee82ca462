"""An alarm of the Prefect server's own for runs that no worker takes: a worker that died cannot send one."""

from datetime import timedelta

from prefect.blocks.notifications import SlackWebhook
from prefect.client.orchestration import SyncPrefectClient
from prefect.events.actions import SendNotification
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

from sentiflow import notifications
from sentiflow.settings import Settings

NAME = "sentiflow: no worker takes a run"
_PATIENCE = timedelta(minutes=10)
_TEXT = (
    "Sentiflow: {{ flow.name }} {{ flow_run.name }} is late, and no worker has taken it. Does a worker run? "
    "{{ flow_run|ui_url or '' }}"
)
# What happens to a run that is not left alone.
_TAKEN = ("Pending", "Running", "AwaitingConcurrencySlot", "Cancelling", "Cancelled", "Crashed", "Failed")


def write_alarm(client: SyncPrefectClient, settings: Settings, patience: timedelta = _PATIENCE) -> bool:
    """Write the alarm to the server, or remove it where the settings want none; what is paused stays paused."""
    existing = client.read_automations_by_name(NAME)
    for each in existing:
        client.delete_automation(each.id)
    if not notifications.wanted(settings, "late"):
        return False
    trigger = EventTrigger(
        posture=Posture.Proactive,
        after={"prefect.flow-run.Late"},
        expect={f"prefect.flow-run.{state}" for state in _TAKEN},
        for_each={"prefect.resource.id"},
        threshold=1,
        within=patience,
    )
    actions = [
        SendNotification(block_document_id=_block(number, url), subject="Sentiflow", body=_TEXT)
        for number, url in enumerate(notifications.as_apprise(settings, "late"), 1)
    ]
    enabled = all(each.enabled for each in existing)
    client.create_automation(AutomationCore(name=NAME, trigger=trigger, actions=actions, enabled=enabled))
    return True


def _block(number: int, url: str) -> object:
    """The address as Prefect keeps it, encrypted; what is no address of Slack's, its block leaves to Apprise."""
    return SlackWebhook(url=url).save(f"sentiflow-{number}", overwrite=True)
