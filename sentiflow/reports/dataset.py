"""A page of a table before anything is trained on it: what it holds, and which labels look wrong."""

import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import scipy.sparse
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline

from sentiflow.base.model import base
from sentiflow.data import division, reviews
from sentiflow.data.prepare import Prepared
from sentiflow.data.rows import count_left_out
from sentiflow.reports.blocks import Block, Picture, Quote, Report, Section, Table, Text
from sentiflow.reports.plots import BLUE, ORANGE, describe
from sentiflow.scoring import is_positive
from sentiflow.scoring.vocabulary import FIRST_WORD, spaces

_FOLDS = 5
_STRENGTH = 1.0  # C
_WORDS, _SUSPECTS, _PAIRS, _FILES = 25, 30, 20, 100  # shown at most
_SMOOTHING = 0.5  # added to each count
_SCRIPTS = {"Cjk": "Han", "": "Digits and signs"}


def dataset_page(prepared: Prepared) -> str:
    """An HTML page of a prepared dataset."""
    table = _Dataset(prepared)
    zero, one = table.content.label_names
    share = f"{table.content.label.mean():.1%} of them {one}, the others {zero}"
    left_out = [count_left_out(prepared.left_out)] if prepared.left_out else []
    left_out += [str(prepared.rejected)] if prepared.rejected else []
    left_out += prepared.joined.sentences() if prepared.joined else []
    sections = [
        Section("Left out", [Text(sentence) for sentence in left_out or ["No row was left out."]]),
        Section("Labels and lengths", table.labels()),
        Section("Scripts and words", table.scripts()),
        Section("Words by label", table.words_by_label()),
        Section("Nearly equal texts", table.near()),
        Section("Labels that look wrong", table.suspects()),
    ]
    warnings = [Text(warning, strong=True) for warning in division.warnings(prepared.table)]
    lead = Text(f"{len(table.content):,} different texts of {prepared.origin}: {share}.")
    return Report(f"Dataset {prepared.name}", [lead, *warnings], sections).page()


class _Dataset:
    """Reviews of a prepared table, and which words each holds."""

    def __init__(self, prepared: Prepared) -> None:
        self.content = reviews.read(prepared.table)
        self._vocabulary = reviews.read_vocabulary(prepared.table)
        self._places = reviews.places(prepared.table)
        self._texts = reviews.of_test(prepared.table, "text")
        self._lengths = self.content.n_tokens - 1  # without the start marker

    @cached_property
    def _holds(self) -> scipy.sparse.csr_array:
        """How often a review holds a word, (n, words)."""
        ids = np.concatenate(self.content.tokens)
        ends = np.concatenate([[0], np.cumsum(self.content.n_tokens)]).astype(np.int32)
        shape = len(self.content), len(self._vocabulary) + FIRST_WORD
        counts = scipy.sparse.csr_array((np.ones(len(ids)), ids, ends), shape)
        counts.sum_duplicates()
        return counts[:, FIRST_WORD:]

    def labels(self) -> list[Block]:
        """Rows of each label and their lengths, by split and by file."""
        groups = {split: self.content.split == split for split in reviews.SPLITS}
        rows = [self._row(name, chosen) for name, chosen in groups.items() if chosen.any()]
        blocks: list[Block] = [Table(self._heading("split"), rows), Picture(self._drawn(), "Lengths by label")]
        files = np.array([place.rsplit(" ", 2)[0] for place in self._places])  # file line 5, or file row 5
        names = np.unique(files).tolist()
        if 1 < len(names) < len(files):  # a built-in dataset has none
            rows = [self._row(name, files == name) for name in names[:_FILES]]
            blocks.append(Table(self._heading("file"), rows))
        return blocks

    def _heading(self, first: str) -> Sequence[str]:
        return first, "texts", self.content.label_names[1], "median words", "95% have up to", "longest"

    def _row(self, name: str, chosen: NDArray[np.bool_]) -> Sequence[str]:
        lengths = np.quantile(self._lengths[chosen], (0.5, 0.95, 1.0), method="nearest")
        share = self.content.label[chosen].mean()
        return name, f"{chosen.sum():,}", f"{share:.1%}", *(f"{length:,.0f}" for length in lengths)

    def _drawn(self) -> Figure:
        figure = Figure(figsize=(6.4, 3), layout="constrained")
        axes, most = figure.subplots(), max(np.quantile(self._lengths, 0.99), 1)
        parts = [self._lengths[self.content.label == label].clip(max=most) for label in (1, 0)]
        names = [name.replace("$", r"\$") for name in self.content.label_names[::-1]]
        axes.hist(parts, bins=30, range=(0, most), color=(BLUE, ORANGE), label=names)
        axes.legend(frameon=False)
        describe(axes, "", "words of a text; the longest 1% at the end", "texts")
        return figure

    def scripts(self) -> list[Block]:
        """In which scripts the words are, and how many of them are known to the base."""
        counts = self._holds.sum(axis=0)
        scripts, known = Counter[str](), 0.0
        of_base = set(base().scorer.vocabulary.words)
        for word, count in zip(self._vocabulary.words, counts.tolist(), strict=True):
            scripts[_script(word)] += int(count)
            known += count * (word in of_base)
        total = max(counts.sum(), 1)
        rows = [(name, f"{count:,}", f"{count / total:.1%}") for name, count in scripts.most_common() if count]
        text = f"The base, an English network that trainings start from, knows {known / total:.1%} of all words."
        return [
            Text(f"{text} Words that only test texts hold are not counted."),
            Table(("script", "words", ""), rows),
        ]

    def words_by_label(self) -> list[Block]:
        """The words that tell one label from the other most surely: by the z-score of their log-odds."""
        held = self._holds.sign()
        one, zero = (_SMOOTHING + held[self.content.label == label].sum(axis=0) for label in (1, 0))
        positive = int(self.content.label.sum())
        odds = np.log(one / (positive + 1 - one)) - np.log(zero / (len(self.content) - positive + 1 - zero))
        score = odds / np.sqrt(1 / one + 1 / zero)
        order, words = np.argsort(score, kind="stable"), self._vocabulary.words
        blocks: list[Block] = []
        for label, ids in ((1, order[::-1]), (0, order)):
            rows = [
                (words[k], f"{one[k] - _SMOOTHING:,.0f}", f"{zero[k] - _SMOOTHING:,.0f}") for k in ids[:_WORDS]
            ]
            names = [f"texts labelled {name}" for name in self.content.label_names[::-1]]
            blocks += [Text(f"Say {self.content.label_names[label]} most surely:"), Table(("word", *names), rows)]
        return blocks

    def near(self) -> list[Block]:
        """Test texts that are nearly equal to learnt ones."""
        pairs = division.near_pairs(self.content)
        if not pairs:
            return [Text("No test text is nearly equal to one that is learnt from.")]
        names = self.content.label_names
        rows = [
            [f"{self._places[k]}: {names[self.content.label[k]]}" for k in pair] + [self._text(pair[0])[:200]]
            for pair in pairs[:_PAIRS]
        ]
        text = f"{len(pairs):,} of the test texts share nine tenths of their word triples with learnt ones:"
        return [Text(text), Table(("test text", "learnt text", "the test text"), rows, words=3)]

    def suspects(self) -> list[Block]:
        """Texts whose label is most surely another by a model that has not learnt from them."""
        labels = self.content.label
        folds = StratifiedKFold(min(_FOLDS, *np.bincount(labels)), shuffle=True, random_state=0)
        model = LogisticRegression(C=_STRENGTH, solver="liblinear", dual=True, random_state=0, max_iter=1_000)
        weighted = make_pipeline(TfidfTransformer(sublinear_tf=True), model)
        scores = cross_val_predict(weighted, self._holds, labels, cv=folds, method="predict_proba")[:, 1]
        right, names = is_positive(scores) == labels, self.content.label_names
        surely = np.argsort(-np.abs(scores - labels), kind="stable")
        lead = (
            f"A logistic regression on words, each text scored by a fit to the other folds, agrees with "
            f"{right.mean():.1%} of the labels. These it contradicts most surely: read them first."
        )
        found: list[Block] = [Text(lead)]
        for k in surely[:_SUSPECTS]:
            if not right[k]:
                other = f"{names[1 - labels[k]]} ({abs(scores[k] - labels[k]):.0%})"
                found.append(
                    Quote(self._text(k), caption=f"{self._places[k]}: {names[labels[k]]}, read as {other}")
                )
        return found

    def _text(self, k: int) -> str:
        """A text as it came, of a test review; of others its words."""
        name = str(self.content.review_id[k])
        words = self._vocabulary.decode(self.content.tokens[k], "").split(" ")
        return self._texts.get(name) or "".join(map(str.__add__, spaces(words), words))


def _script(word: str) -> str:
    """The script of a word's first letter, by its name in Unicode."""
    letter = next(filter(str.isalpha, word), "")
    name = unicodedata.name(letter, "").partition(" ")[0].capitalize() if letter else ""
    return _SCRIPTS.get(name, name)
