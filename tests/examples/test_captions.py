import numpy as np

from examples import captions


def test_pictures_and_captions_depend_on_the_seed_alone() -> None:
    (first, told), (again, told_again), (other, _) = (captions.examples(20, seed) for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert told == told_again
    assert not np.array_equal(first, other)


def test_a_caption_names_the_colour_that_the_picture_has_on_its_left() -> None:
    pictures, told = captions.examples(300, 5)
    beside = [
        (picture, text.split()[1]) for picture, text in zip(pictures, told, strict=True) if " left of " in text
    ]
    assert len(beside) > 50
    for picture, colour in beside:
        lit = picture[:, :12][picture[:, :12].max(axis=2) > 0.5]  # the shape's pixels, without the background
        assert np.allclose(lit.mean(axis=0), captions.COLOURS[colour], atol=0.1)
