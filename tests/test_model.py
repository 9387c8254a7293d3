"""The model file: everything that travels together comes back, and damage is named."""

from __future__ import annotations

import hashlib
import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from inference_model import make_model
from safetensors.numpy import load_file, save_file

from galmorph.encoders.registry import create_encoder
from galmorph.errors import (
    CheckpointError,
    GalmorphError,
    OutputError,
    UnknownHeadError,
    UnknownModelError,
    WeightsError,
)
from galmorph.model import METADATA_KEY, Model, read_heads, read_model, write_heads, write_model
from galmorph.training.recipe import Recipe
from galmorph.typicality import fit_typicality


@pytest.fixture(scope="module")
def model() -> Model:
    return make_model()


@pytest.fixture
def file(model: Model, tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    write_model(path, model)
    return path


def embed(model: Model) -> torch.Tensor:
    x = torch.randn(2, 3, 84, 84, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        return model.encoder(x)  # type: ignore[no-any-return]


def rewrite(path: Path, **changes: object) -> None:
    """Change the metadata of a model file; a value of None takes the key out."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as opened:
        metadata = json.loads(opened.metadata()[METADATA_KEY])
    metadata = {k: v for k, v in (metadata | changes).items() if v is not None}
    save_file(load_file(path), path, metadata={METADATA_KEY: json.dumps(metadata)})


def test_everything_comes_back(model: Model, file: Path) -> None:
    back = read_model(file)
    assert (back.name, back.architecture) == (model.name, model.architecture)
    assert back.preprocessing == model.preprocessing
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    assert back.provenance == {**model.provenance, "sha256": sha256, "file": file.name}
    head, expected = back.heads["test"], model.heads["test"]
    np.testing.assert_array_equal(head.weight, expected.weight)
    np.testing.assert_array_equal(head.bias, expected.bias)
    assert head.class_names == expected.class_names
    assert head.temperature == expected.temperature
    assert torch.equal(embed(back), embed(model))
    assert not back.encoder.training
    assert not any(p.requires_grad for p in back.encoder.parameters())


def test_typicality_comes_back(model: Model, file: Path) -> None:
    back = read_model(file).typicality
    assert back is not None and model.typicality is not None
    points = np.random.default_rng(5).normal(size=(10, 512)).astype(np.float32)
    np.testing.assert_allclose(
        back.compute_distance(points), model.typicality.compute_distance(points), rtol=2e-3
    )


def test_a_head_keeps_what_is_typical_for_it(model: Model, tmp_path: Path) -> None:
    points = np.random.default_rng(6).normal(2, 1, (500, 512)).astype(np.float32)
    own = fit_typicality(points)
    head = replace(model.heads["test"], typicality=own)
    write_model(tmp_path / "a.safetensors", replace(model, heads={"own": head, **model.heads}))
    back = read_model(tmp_path / "a.safetensors")
    assert back.heads["test"].typicality is None
    write_heads(tmp_path / "b.safetensors", {"own": head}, model=model.name)
    for found in (back.heads["own"], read_heads(tmp_path / "b.safetensors").heads["own"]):
        assert found.typicality is not None
        np.testing.assert_allclose(
            found.typicality.compute_atypicality(points), own.compute_atypicality(points), atol=1
        )


def test_half_size_for_half_precision(model: Model, file: Path, tmp_path: Path) -> None:
    small = tmp_path / "half.safetensors"
    write_model(small, model, half=True)
    assert small.stat().st_size < 0.6 * file.stat().st_size
    back = read_model(small)
    assert next(back.encoder.parameters()).dtype == torch.float32
    torch.testing.assert_close(embed(back), embed(model), rtol=0, atol=2e-3)


def test_what_half_precision_cannot_hold_is_named(tmp_path: Path) -> None:
    model, path = make_model(), tmp_path / "half.safetensors"
    key = "stem.0.norm.running_mean"
    values = model.encoder.state_dict()[key]
    values[0] = 65504.0
    write_model(path, model, half=True)
    assert read_model(path).encoder.state_dict()[key][0] == 65504
    before = path.read_bytes()
    values[0] = -7e4
    with pytest.raises(
        WeightsError,
        match=rf"half\.safetensors: encoder\.{key} holds -7e\+04.* ends at 65504: .* float32",
    ):
        write_model(path, model, half=True)
    assert path.read_bytes() == before
    write_model(path, model)
    assert read_model(path).encoder.state_dict()[key][0] == -7e4


def test_a_model_can_be_pickled(model: Model) -> None:
    back = pickle.loads(pickle.dumps(model))
    assert torch.equal(embed(back), embed(model))
    assert back.heads["test"].class_names == model.heads["test"].class_names


def test_an_unknown_head_lists_those_there(model: Model) -> None:
    with pytest.raises(UnknownHeadError, match=r"has no head 'x'; it has: test\."):
        model.get_head("x")
    with pytest.raises(UnknownHeadError, match="it has: none"):
        replace(model, heads={}).get_head("x")


def test_a_file_that_is_cut_short_is_named(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(CheckpointError, match=r"model\.safetensors: not a readable safetensors"):
        read_model(file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"none\.safetensors: not a readable"):
        read_model(tmp_path / "none.safetensors")


def test_somebody_elses_safetensors_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"weight": np.zeros(3, dtype=np.float32)}, path)
    with pytest.raises(CheckpointError, match=r"not written by galmorph"):
        read_model(path)


def test_a_newer_format_is_refused(file: Path) -> None:
    rewrite(file, format_version=99)
    with pytest.raises(CheckpointError, match="written by a newer galmorph; upgrade"):
        read_model(file)


def test_tensors_of_another_architecture_are_refused(file: Path) -> None:
    rewrite(file, architecture="wei2022")
    with pytest.raises(CheckpointError, match="do not fit architecture 'wei2022'"):
        read_model(file)


def test_an_unknown_architecture_is_refused(file: Path) -> None:
    rewrite(file, architecture="resnet9000")
    with pytest.raises(UnknownModelError, match="no architecture 'resnet9000'"):
        read_model(file)


def test_a_name_without_end_is_not_repeated_in_full() -> None:
    for make in (create_encoder, lambda name: Recipe(architecture=name)):
        with pytest.raises(GalmorphError, match="no architecture 'xxx.*; .*fused_fast") as caught:
            make("x" * 70_000)
        assert len(str(caught.value)) < 300


def test_an_incomplete_head_is_refused(file: Path) -> None:
    tensors = {k: v for k, v in load_file(file).items() if k != "heads.test.bias"}
    from safetensors import safe_open

    with safe_open(file, framework="numpy") as opened:
        metadata = opened.metadata()
    save_file(tensors, file, metadata=metadata)
    with pytest.raises(CheckpointError, match="the heads are not complete"):
        read_model(file)


def test_heads_of_your_own(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    write_heads(path, {"mine": replace(model.heads["test"], name="mine")}, model="fused_fast")
    heads, fitted_on, _ = read_heads(path)
    assert list(heads) == ["mine"] and fitted_on == "fused_fast"
    np.testing.assert_array_equal(heads["mine"].weight, model.heads["test"].weight)
    with pytest.raises(CheckpointError, match="holds heads only; give it as --head"):
        read_model(path)


def test_a_whole_model_is_no_head_file(file: Path) -> None:
    with pytest.raises(UnknownHeadError, match=r"with the heads test; give it as --model .*--head"):
        read_heads(file)


def test_a_file_that_cannot_be_written_stays_as_it_was(
    model: Model, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, write = file.read_bytes(), Path.write_bytes

    def fill_up(self: Path, content: bytes) -> int:
        write(self, content[:9])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fill_up)
    with pytest.raises(OutputError, match="model.safetensors: cannot be written .No space left"):
        write_model(file, model)
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]


def test_a_model_without_heads_is_no_head_file(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "bare.safetensors"
    write_model(path, replace(model, heads={}, typicality=None))
    assert read_model(path).typicality is None
    with pytest.raises(CheckpointError, match="holds no head; make one with: galmorph fit"):
        read_heads(path)
