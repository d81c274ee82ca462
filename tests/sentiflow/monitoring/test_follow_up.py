"""What follows drift, or a drop of the accuracy."""

from pathlib import Path

import pytest

from sentiflow.monitoring.follow_up import follow_up
from sentiflow.monitoring.sample import samples
from sentiflow.store import review
from sentiflow.store.review import Label
from tests.sentiflow.monitoring.test_replay import MODEL, TEXTS, log_of
from tests.world import World


@pytest.mark.story
def test_people_are_asked_until_a_sample_is_labelled_and_then_for_its_rows(
    registry: World, tmp_path: Path
) -> None:
    settings = log_of(tmp_path / "log", registry.settings, TEXTS[:20])
    first = follow_up(MODEL, settings)
    (drawn,) = samples(MODEL, settings)
    assert first.dataset == "" and first == follow_up(MODEL, settings)
    page = review.page_url(drawn.experiment, drawn.queue, settings)
    assert (
        first.text == f"Nothing new to train on. Label {drawn.title}: {page}"
        and len(samples(MODEL, settings)) == 1
    )
    review.delete(drawn.texts[0].trace, drawn.experiment, settings)  # by somebody, in MLflow: nobody can label it
    for each in drawn.texts[1:]:
        review.add_label(drawn.title, Label(each.trace, "anna", "positive"), settings)
    then = follow_up(MODEL, settings)
    assert (
        f"The labels of {drawn.title} are no rows yet (sentiflow data --dataset sample --from-labels)."
        in then.text
    )
    assert then.text.endswith("log has no text of sample-sentiment that was not drawn.")
    log_of(tmp_path / "log", settings, TEXTS[20:25])
    assert "are no rows yet" in (then := follow_up(MODEL, settings)).text
    assert f"Label {samples(MODEL, settings)[1].title}: http" in then.text
