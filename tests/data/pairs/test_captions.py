"""Canvases against their captions, read back from the pixels alone; patches against loops."""

import numpy as np
import pytest

from data.digits import digits
from data.pairs.captions import CaptionsConfig, load_canvases, named, over_canvas, steps_of


def read_back(canvas: np.ndarray, pixels: np.ndarray, labels: np.ndarray) -> str:
    """Finds every digit image in a canvas, pixel for pixel, and describes them from above and from the left."""
    found = {}
    for y in range(13):
        for x in range(13):
            equal = (pixels == canvas[y : y + 8, x : x + 8]).all(axis=(1, 2))
            if equal.any():
                found[y, x] = int(labels[equal.argmax()])
    rows: list[list[tuple[int, int]]] = []
    for y, x in sorted(found):
        if rows and y - rows[-1][0][0] < 8:
            rows[-1].append((y, x))
        else:
            rows.append([(y, x)])
    ordered = (sorted(row, key=lambda place: place[1]) for row in rows)
    return " above ".join(" left of ".join(named(found[place]) for place in row) for row in ordered)


def test_captions_describe_the_pixels() -> None:
    canvases = load_canvases(CaptionsConfig(count=20, held_out=25, seed=3))
    for split, part in canvases.items():
        images = digits(split)  # of this split alone
        pixels = images.inputs[..., 0].reshape(-1, 8, 8)
        read = [read_back(image, pixels, images.targets) for image in part.images]
        assert read == part.captions
    assert {caption.count("a") > 0 for caption in canvases["test"].captions} == {True}


def test_patches() -> None:
    """Step l is patch l, row by row; a map over the canvas has the weight of its patch at every pixel."""
    config = CaptionsConfig(read="patches", patch=5)
    images = np.random.default_rng(0).random((2, 20, 20)).astype(np.float32)
    steps, weights = steps_of(images, config), np.random.default_rng(1).random((3, 16))
    maps = over_canvas(weights, config)
    assert config.sizes == steps.shape[1:] == (16, 25)
    for step in range(16):
        y, x = 5 * (step // 4), 5 * (step % 4)
        np.testing.assert_array_equal(steps[1, step], images[1, y : y + 5, x : x + 5].ravel())
        np.testing.assert_array_equal(maps[2, y : y + 5, x : x + 5], weights[2, step])
    rows = over_canvas(np.arange(20.0), CaptionsConfig())
    np.testing.assert_array_equal(rows, np.arange(20.0)[:, None] * np.ones(20))


def test_refuses() -> None:
    for config, match in (
        (CaptionsConfig(most=5), "--data.most is 5"),
        (CaptionsConfig(held_out=0), "--data.held-out must be 1 or more"),
        (CaptionsConfig(read="patches", patch=3), "--data.patch 3 doesn't divide the 20 pixels"),
        (CaptionsConfig(side=28), "--data.side 28 is for MNIST's images"),
    ):
        with pytest.raises(ValueError, match=match):
            load_canvases(config)
