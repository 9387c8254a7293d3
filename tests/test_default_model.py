"""The bundled model, as a user gets it: on the simulated examples and on real images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import galmorph
from galmorph.flags import NO_LABEL
from galmorph.weights.manifest import load_manifest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def test_simulated_examples_get_the_class_in_their_names() -> None:
    table = galmorph.classify(EXAMPLES, device="cpu")
    assert len(table) == 13
    for row in table:
        name = str(row["object_id"]).removeprefix("decals_")
        assert name.startswith(str(row["label"])), f"{name} was called {row['label']}"
    assert table.meta["model"] == "fused_fast"


GOLDEN = {
    "gz2": {"p_spiral": 0.921, "p_edge_on": 0.034, "p_in_between": 0.033, "p_artifact": 0.0},
    "gz2_clean": {"p_spiral": 1.0},
    "tree": {
        "smooth-or-featured_featured-or-disk_fraction": 0.913,
        "bar_yes_fraction": 0.380,
        "bulge-size_obvious_fraction": 0.510,
        "spiral-winding_medium_fraction": 0.548,
        "spiral-arm-count_2_fraction": 0.722,
        "something-odd_proportion_volunteers_asked": 1.0,
    },
    "efigi": {"t_type": 1.357, "arm_strength": 1.0, "bar_length": 0.901, "inclination": 0.0},
}
"""What the heads tell of the simulated barred spiral."""


@pytest.mark.parametrize("head", sorted(GOLDEN))
def test_a_head_gives_its_golden_values(head: str) -> None:
    table = galmorph.classify(EXAMPLES / "spiral_barred_1.jpg", head=head, device="cpu")
    found = {name: float(table[name][0]) for name in GOLDEN[head]}
    assert found == pytest.approx(GOLDEN[head], abs=0.01)
    assert table.meta["model"] == ("labelfree" if head == "efigi" else "fused_fast")


@pytest.mark.realdata
@pytest.mark.parametrize("model", ["fused_fast", "wei2022", "labelfree"])
def test_real_galaxies_are_classified_as_published(realdata: Path, model: str) -> None:
    files = sorted((realdata / "gz2" / "test").rglob("*.jpg"))
    table = galmorph.classify(files, model=model, device="cpu", on_error="raise")
    assert list(table["object_id"]) == [file.stem for file in files]
    right = np.array([r["label"] == f.parent.name for r, f in zip(table, files, strict=True)])
    metrics = load_manifest().get(model).metrics
    published = next(m.value for m in metrics if m.name == "accuracy" and m.data == "gz2/test")
    assert abs(right.mean() - published) < 0.005


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["example_a", "example_b"])
def test_the_same_galaxy_as_fits_and_as_jpeg(realdata: Path, name: str) -> None:
    as_fits, as_jpeg = (realdata / "fits" / f"{name}{end}" for end in (".fits", ".jpeg"))
    a = galmorph.embed(as_fits, stretch="gzdecals", device="cpu")[0]
    b = galmorph.embed(as_jpeg, device="cpu")[0]
    assert a @ b / np.linalg.norm(a) / np.linalg.norm(b) > 0.99
    labels = [
        str(galmorph.classify(as_fits, stretch="gzdecals", device="cpu")["label"][0]),
        str(galmorph.classify(as_jpeg, device="cpu")["label"][0]),
    ]
    assert labels[0] == labels[1]


@pytest.mark.realdata
def test_every_real_fits_file_gets_a_label(realdata: Path) -> None:
    table = galmorph.classify(realdata / "fits", device="cpu")
    assert len(table) == 8
    assert not any(int(flags) & NO_LABEL for flags in table["flags"])
    assert all(table["label"])
    assert np.isfinite([row["confidence"] for row in table]).all()


@pytest.mark.realdata
@pytest.mark.parametrize(("head", "count"), [("sdss", 3), ("decals", 8), ("decals4", 4)])
def test_every_head_gives_probabilities(realdata: Path, head: str, count: int) -> None:
    table = galmorph.classify(realdata / "decals" / "round", head=head, device="cpu")
    names = [name for name in table.colnames if name.startswith("p_")]
    assert len(names) == count
    total = np.sum([np.asarray(table[name]) for name in names], axis=0)
    np.testing.assert_allclose(total, 1, atol=1e-5)


def test_sky_without_a_galaxy_is_an_artifact_and_half_a_galaxy_badly_framed() -> None:
    rng = np.random.default_rng(0)
    sky = np.clip(rng.normal(20, 8, (424, 424, 3)), 0, 255).astype(np.uint8)
    y, x = np.mgrid[:424, :424] - 212.0
    light = 200 * np.exp(-np.hypot(x, y) / 25)[..., None]
    whole = np.clip(sky / 4 + light, 0, 255).astype(np.uint8)
    half = whole.copy()
    half[:210] = 0
    table = galmorph.classify([sky, whole, half], device="cpu")
    assert list(table["label"][:2]) == ["artifact", "round"]
    assert table["p_artifact"][0] > 0.6 > 0.5 > table["p_artifact"][1]
    flagged = [bool(flags & galmorph.Flags.BADLY_FRAMED) for flags in table["flags"]]
    assert flagged[1:] == [False, True]
