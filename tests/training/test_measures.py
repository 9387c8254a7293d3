"""Measures of galaxies against loops over pixels, and against what was drawn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from galmorph.training.measures import LEVELS, compute_measures, to_normal_scores

SIDE = 112


def draw(axis_ratio: float, angle: float, arms: float = 0.0, sigma: float = 12.0) -> np.ndarray:
    """An elliptical Gaussian about the pixel (56, 56), with two arms, (3, SIDE, SIDE) bytes."""
    y, x = np.mgrid[:SIDE, :SIDE] - 56.0
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    radius = np.hypot(along, across / axis_ratio)
    light = 200 * np.exp(-(radius**2) / (2 * sigma**2))
    light *= 1 + arms * np.cos(2 * np.arctan2(across / axis_ratio, along) - radius / 8)
    return np.clip(light * np.array([1.0, 0.8, 0.6])[:, None, None] + 10, 0, 255).astype(np.uint8)


def measure(*images: np.ndarray) -> np.ndarray:
    return compute_measures(torch.from_numpy(np.stack(images))).numpy()


def smooth(plane: np.ndarray) -> np.ndarray:
    out = np.empty_like(plane)
    for y in range(SIDE):
        for x in range(SIDE):
            out[y, x] = plane[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].mean()
    return out


def flood(above: np.ndarray, start: tuple[int, int]) -> list[tuple[int, int]]:
    seen, todo = {start}, [start]
    while todo:
        y, x = todo.pop()
        for to in ((y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)):
            if to not in seen and above[to]:
                seen.add(to)
                todo.append(to)
    return sorted(seen)


def test_isophotes_gini_and_m20_agree_with_loops_over_pixels() -> None:
    image = draw(0.6, 0.5, arms=0.3)
    got = measure(image)[0]
    plane = image.astype(float).mean(axis=0)
    light = smooth(plane)
    light -= np.quantile(np.concatenate((light[:4].ravel(), light[-4:].ravel())), 0.3)
    near = light[48:64, 48:64]
    cy, cx = (int(i) + 48 for i in np.unravel_index(near.argmax(), near.shape))
    peak = light[cy, cx]
    assert got[0] == pytest.approx(math.log(peak), rel=1e-4)
    for row, level in enumerate(LEVELS):
        body = flood(light > max(level * peak, 2), (cy, cx))
        area = len(body)
        my, mx = (sum(p[i] for p in body) / area for i in (0, 1))
        syy = sum((y - my) ** 2 for y, _ in body) / area + 1 / 12
        sxx = sum((x - mx) ** 2 for _, x in body) / area + 1 / 12
        sxy = sum((y - my) * (x - mx) for y, x in body) / area
        minor, major = np.linalg.eigvalsh([[sxx, sxy], [sxy, syy]])
        mean = sum(light[p] for p in body) / area
        red, green, blue = (sum(float(c[p]) for p in body) / area for c in image)
        here = got[1 + 8 * row : 9 + 8 * row]
        true = [
            *(math.log(area), math.log(minor / major)),
            *(here[2], math.log(area / math.sqrt(major * minor))),
            math.hypot(my - cy, mx - cx) / math.sqrt(area),
            *(math.log(mean / peak), math.log(red / blue), math.log(red / green)),
        ]
        np.testing.assert_allclose(here, true, rtol=2e-3, atol=2e-3)
    body = flood(light > 0.12 * peak, (cy, cx))
    values = [light[p] for p in body]
    n, total = len(body), sum(values)
    gini = sum(abs(a - b) for a in values for b in values) / (2 * n * total)
    assert got[-2] == pytest.approx(gini, abs=2e-3)
    moments = [light[p] * ((p[0] - cy) ** 2 + (p[1] - cx) ** 2) for p in body]
    bright, so_far = 0.0, 0.0
    for value, moment in sorted(zip(values, moments, strict=True), reverse=True):
        so_far += value
        bright += moment if so_far <= 0.2 * total else 0.0
    assert got[-1] == pytest.approx(math.log(bright / sum(moments) + 1e-4), abs=0.04)


def test_the_axis_ratio_is_that_of_the_ellipse_at_every_isophote() -> None:
    for axis_ratio in (0.3, 0.6, 1.0):
        logs = measure(draw(axis_ratio, 0.7))[0][2:66:8] / 2
        np.testing.assert_allclose(np.exp(logs), axis_ratio, atol=0.06)


def test_measures_do_not_depend_on_how_the_galaxy_lies() -> None:
    image = draw(0.5, 0.4, arms=0.4)
    first, *others = measure(image, image[:, ::-1], image[:, :, ::-1], image[:, ::-1, ::-1])
    for other in others:
        np.testing.assert_allclose(first, other, rtol=0.02, atol=0.02)


def test_two_arms_are_a_second_mode_more_than_a_third() -> None:
    plain, armed = measure(draw(0.7, 0.2), draw(0.7, 0.2, arms=0.3))
    modes = slice(-9 - 49, -9)  # of each of seven rings: the modes 1 to 6, and the scatter
    second, third = ((armed - plain)[modes].reshape(7, 7)[:, i] for i in (1, 2))
    assert (second > third).all()
    assert second[-1] > 0.1  # the peak between the arms is not the centre: inside, odd modes too
    assert abs(third[-1]) < 0.02


def test_normal_scores_have_the_order_of_the_values_and_no_unit() -> None:
    values = torch.tensor([[3.0], [1e9], [-2.0]])
    np.testing.assert_allclose(to_normal_scores(values)[:, 0], [0.0, 0.9674, -0.9674], atol=1e-3)
