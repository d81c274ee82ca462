"""``sentiflow label``: a sample of the logged texts, for people to label."""

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.options import OPERATE, JsonOption, WhoseOption, command, file_option
from flows.cli.output import stdout_for, to_open
from sentiflow.console import escape, progress_bar
from sentiflow.errors import UsageError
from sentiflow.names import dataset_of

MOST_PEOPLE = 10  # as MLflow has it

app = typer.Typer()


@command(
    app, OPERATE, "sentiflow label", "sentiflow label --export texts.csv",
    "sentiflow label --import texts.csv --by anna",
)  # fmt: skip
def label(
    *,
    texts: Annotated[int, typer.Option(min=20, max=10_000, help="How many texts to draw.")] = 200,
    dataset: WhoseOption = None,
    export: Annotated[Path | None, file_option(help="Write the newest sample to a .csv file.")] = None,
    import_: Annotated[Path | None, file_option("--import", help="Read labels from such a file.")] = None,
    by: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,...", help="Who labels, at most 10 people, by their logins. Or who gave the imports."
        ),
    ] = None,
    delete: Annotated[
        str | None, typer.Option(metavar="ID", help="Delete a text: from log, sample and MLflow.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Draw texts for people to label.

    Draws at random from the texts that were scored and served since the last sample, and puts them into a review
    queue of MLflow, without the model's answer. From the labels, sentiflow monitor tells the accuracy in use.
    """
    from sentiflow.monitoring import labelling
    from sentiflow.monitoring.log import need_log
    from sentiflow.settings import load_settings
    from sentiflow.store import review
    from sentiflow.store.find import model_named

    others = sum(given is not None for given in (export, import_, delete))
    if others > 1:
        raise UsageError("--export, --import and --delete do not go together.", "Give one of them.")
    people = [name for part in (by or "").split(",") if (name := part.strip())]
    if len(people) > MOST_PEOPLE:
        raise UsageError(f"A queue is for at most {MOST_PEOPLE} people, not {len(people)}.", "--by anna,bob")
    if import_ is not None and len(people) != 1:
        raise UsageError("Imported labels are one person's.", "sentiflow label --import texts.csv --by anna")
    settings = load_settings()
    if not others:
        need_log(settings)
    model = model_named(settings, dataset)
    if delete is not None:
        sample, reports = labelling.delete(delete, model, settings)
        done = f"Deleted {delete} from the log, from {sample.title} and from MLflow."
        if moved := [table for table in sample.tables if not Path(table).exists()]:
            done += f" Not found, so look whether it is in them: {', '.join(moved)}"
        if reports:
            done += f" Reports of these runs may quote it (delete what does in MLflow): {', '.join(reports)}"
    elif export is not None:
        labelling.export(sample := labelling.need_samples(model, settings)[-1], export)
        done = f"Wrote {len(sample.texts):,} texts of {sample.title} to {export}"
    elif import_ is not None:
        samples = labelling.need_samples(model, settings)
        sample, count = labelling.add_labels(import_, people[0], samples, settings)
        done = f"Added {count:,} labels of {people[0]} to {sample.title}"
    else:
        sample = labelling.new_sample(model, texts, people, settings, progress_bar)
        done = f"{sample.title}: {len(sample.texts):,} of {sum(sample.population):,} texts, drawn at random"
    page = review.page_url(sample.experiment, sample.queue, settings)
    stdout = stdout_for({"sample": sample.number, "texts": len(sample.texts), "page": page}, as_json=as_json)
    stdout.say(f"[bold]{escape(done)}[/]")
    stdout.say(
        f"Label them:  {escape(to_open(page, settings))}",
        f"The accuracy: sentiflow monitor --dataset {dataset_of(model)}",
    )
