"""Describe a picture in words: an image in, a sentence of varying length out.

    python examples/captions.py --figure captions.png

The pictures are made here: one coloured shape, or two of them beside or above each other. A small convolutional
network turns a picture into a vector, and a SimpleRNN starts from that vector instead of zeros. It writes a word
at a time and reads each word that it wrote, until it writes the end.
"""

import argparse
from pathlib import Path

# isort: off
import sentiflow.training.network  # noqa: F401 - loads TensorFlow without its notes on processors and GPUs

# isort: on
import keras
import matplotlib as mpl
import numpy as np

mpl.use("Agg")
import matplotlib.pyplot as plt

SIDE = 24  # pixels
COLOURS = {"red": (0.9, 0.2, 0.2), "green": (0.2, 0.7, 0.3), "blue": (0.2, 0.3, 0.9), "yellow": (0.9, 0.8, 0.1)}
SHAPES = ("circle", "cross", "triangle")
WORDS = ("", "<start>", "<end>", "a", *COLOURS, *SHAPES, "left", "of", "above")  # number 0 fills up short captions
START, END = WORDS.index("<start>"), WORDS.index("<end>")
LONGEST = 9  # "a red circle left of a blue cross <end>"
UNITS = 128
BATCH = 64


def draw(picture: np.ndarray, random: np.random.Generator, row: float, column: float) -> str:
    """Draw a shape of random kind, colour and size near a place, and give its words."""
    colour, shape = random.choice(list(COLOURS)), random.choice(SHAPES)
    radius = random.uniform(4, 5)
    row, column = random.uniform(-1, 1) + row, random.uniform(-1, 1) + column
    rows, columns = np.mgrid[:SIDE, :SIDE]
    down, across = rows - row, abs(columns - column)
    inside = {
        "circle": down**2 + across**2 <= radius**2,
        "cross": (np.maximum(abs(down), across) <= radius) & (np.minimum(abs(down), across) <= radius / 3),
        "triangle": (abs(down) <= radius) & (across <= (down + radius) / 2),
    }[shape]
    picture[inside] = COLOURS[colour]
    return f"a {colour} {shape}"


def example(random: np.random.Generator) -> tuple[np.ndarray, str]:
    """A picture of shape (24, 24, 3) with a little noise, and its caption."""
    picture = np.zeros((SIDE, SIDE, 3))
    near, far = SIDE / 4, 3 * SIDE / 4
    kind = random.integers(3)
    if kind == 0:
        caption = draw(picture, random, *random.uniform(near, far, 2))
    elif kind == 1:
        row = random.uniform(near, far)
        caption = f"{draw(picture, random, row, near)} left of {draw(picture, random, row, far)}"
    else:
        column = random.uniform(near, far)
        caption = f"{draw(picture, random, near, column)} above {draw(picture, random, far, column)}"
    return picture + random.normal(0, 0.03, picture.shape), caption


def examples(count: int, seed: int) -> tuple[np.ndarray, list[str]]:
    """Pictures, shape (count, 24, 24, 3), and their captions."""
    random = np.random.default_rng(seed)
    pictures, captions = zip(*(example(random) for _ in range(count)), strict=True)
    return np.stack(pictures).astype("float32"), list(captions)


def numbers(captions: list[str]) -> np.ndarray:
    """The number of each word from ``<start>`` to ``<end>``, then zeros; shape (n, LONGEST + 1)."""
    rows = np.zeros((len(captions), LONGEST + 1), dtype="int32")
    for row, caption in zip(rows, captions, strict=True):
        words = ["<start>", *caption.split(), "<end>"]
        row[: len(words)] = [WORDS.index(word) for word in words]
    return rows


def build() -> tuple[keras.Model, keras.Model]:
    """The encoder (picture to vector) and the decoder (vector and words so far to chances of each next word)."""
    encoder = keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 3)),
            keras.layers.Conv2D(24, 5, strides=2, activation="relu"),
            keras.layers.Conv2D(48, 3, strides=2, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(UNITS, activation="tanh"),
        ]
    )
    vector, words = keras.Input((UNITS,)), keras.Input((None,), dtype="int32")
    read = keras.layers.Embedding(len(WORDS), 32)(words)
    states = keras.layers.SimpleRNN(UNITS, return_sequences=True)(read, initial_state=vector)
    return encoder, keras.Model([vector, words], keras.layers.Dense(len(WORDS), activation="softmax")(states))


def train(count: int = 12_000, epochs: int = 8, seed: int = 0) -> tuple[keras.Model, keras.Model]:
    """Teach encoder and decoder together: each next word of a caption from the picture and the words before it."""
    keras.utils.set_random_seed(seed)
    encoder, decoder = build()
    pictures, captions = examples(count, seed)
    words = numbers(captions)
    before, after = words[:, :-1], words[:, 1:]
    picture, so_far = keras.Input((SIDE, SIDE, 3)), keras.Input((None,), dtype="int32")
    both = keras.Model([picture, so_far], decoder([encoder(picture), so_far]))
    rate = keras.optimizers.schedules.CosineDecay(0.002, epochs * -(-count // BATCH))
    both.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy")
    both.fit([pictures, before], after, sample_weight=after > 0, epochs=epochs, batch_size=BATCH, verbose=0)
    return encoder, decoder


def describe(encoder: keras.Model, decoder: keras.Model, pictures: np.ndarray) -> list[str]:
    """Write a caption for each picture: always the likeliest next word, until ``<end>``."""
    vectors = encoder.predict(pictures, verbose=0)
    words = np.full((len(pictures), 1), START)
    for _ in range(LONGEST):
        likeliest = decoder.predict([vectors, words], verbose=0)[:, -1].argmax(axis=-1)
        words = np.column_stack([words, likeliest])
    return [" ".join(WORDS[word] for word in row[1:]).partition(" <end>")[0] for row in words]


def show(pictures: np.ndarray, written: list[str], captions: list[str], path: Path) -> None:
    """Save the first twelve pictures with what was written of them; a wrong caption is red."""
    figure, axes = plt.subplots(3, 4, figsize=(11, 8.5), layout="constrained")
    for axis, picture, mine, right in zip(axes.flat, pictures, written, captions, strict=False):
        axis.imshow(picture.clip(0, 1))
        axis.set_axis_off()
        axis.set_title(
            mine.replace(" of a", " of\na").replace(" above", "\nabove"), color="k" if mine == right else "r"
        )
    figure.savefig(path, dpi=100)
    plt.close(figure)


def main() -> None:
    """Train, describe pictures that were held out, and save a figure of some."""
    parser = argparse.ArgumentParser(description="Teach a network to describe pictures of coloured shapes.")
    parser.add_argument(
        "--figure", type=Path, help="where to save a figure of twelve held-out pictures (.png, .svg)"
    )
    chosen = parser.parse_args()
    encoder, decoder = train()
    pictures, captions = examples(1_000, seed=1)
    written = describe(encoder, decoder, pictures)
    right = np.mean([mine == caption for mine, caption in zip(written, captions, strict=True)])
    lengths = sorted({len(caption.split()) for caption in written})
    print(f"{right:.1%} of the captions of {len(pictures):,} held-out pictures are right, word for word.")
    print(f"Captions have {', '.join(map(str, lengths))} words. The first three:")
    for mine in written[:3]:
        print(f"  {mine}")
    if chosen.figure:
        show(pictures, written, captions, chosen.figure)
        print(f"Saved {chosen.figure}")


if __name__ == "__main__":
    main()
