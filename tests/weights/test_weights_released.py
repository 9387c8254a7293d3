"""Every model that the package carries: golden values, and what the manifest says of it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from galmorph.weights.manifest import ManifestEntry, load_manifest

BUNDLED = [entry for entry in load_manifest().models if entry.bundled]

pytestmark = pytest.mark.usefixtures("clean_environment")


def make_golden_input(entry: ManifestEntry) -> npt.NDArray[np.float32]:
    """The input that `Golden` states: seeded uniform noise on [0, 1], normalized."""
    assert entry.golden is not None
    size, bands = entry.input.img_size, len(entry.input.bands)
    shape = (entry.golden.images, bands, size, size)
    noise = np.random.default_rng(entry.golden.seed).random(shape, dtype=np.float32)
    mean = np.array(entry.input.mean, dtype=np.float32)[:, None, None]
    std = np.array(entry.input.std, dtype=np.float32)[:, None, None]
    return np.ascontiguousarray((noise - mean) / std, dtype=np.float32)


@pytest.mark.parametrize("entry", BUNDLED, ids=lambda entry: entry.name)
def test_a_released_model_gives_its_golden_values(entry: ManifestEntry) -> None:
    torch = pytest.importorskip("torch")
    from galmorph import load_model

    assert entry.golden is not None, "a bundled model needs golden values in its entry"
    model = load_model(entry.name)
    with torch.no_grad():
        embedding = model.encoder(torch.from_numpy(make_golden_input(entry))).numpy()
    assert embedding.shape == (entry.golden.images, entry.embedding_width)
    golden = np.array(entry.golden.embedding)
    np.testing.assert_allclose(embedding[0, : len(golden)], golden, atol=entry.golden.atol, rtol=0)


@pytest.mark.parametrize("entry", BUNDLED, ids=lambda entry: entry.name)
def test_the_entry_says_what_is_in_the_file(entry: ManifestEntry) -> None:
    pytest.importorskip("torch")
    from galmorph import load_model

    model = load_model(entry.name)
    assert model.architecture == entry.architecture
    assert model.preprocessing.img_size == entry.input.img_size
    assert model.preprocessing.mean == pytest.approx(entry.input.mean)
    assert model.preprocessing.std == pytest.approx(entry.input.std)
    assert sorted(model.heads) == sorted(head.name for head in entry.heads)
    for head in entry.heads:
        assert model.heads[head.name].names == head.class_names


def test_the_default_model_is_bundled() -> None:
    manifest = load_manifest()
    if manifest.default_model is None:
        assert not BUNDLED, "a bundled model is there, but default_model names none"
        return
    assert manifest.get(manifest.default_model).bundled
