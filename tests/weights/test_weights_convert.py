"""Checkpoints of the authors' layout: the same embedding, and nothing in them is executed."""

from __future__ import annotations

import contextlib
import os
import pickle
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from convert_wei2022 import (  # noqa: E402
    SURVEYS,
    convert_checkpoint,
    from_authors,
    main,
    to_authors,
)

from galmorph.encoders.timm_adapter import load_pickle  # noqa: E402
from galmorph.errors import CheckpointError  # noqa: E402
from galmorph.weights.verify import read_sidecar, write_sidecar  # noqa: E402

pytestmark = pytest.mark.usefixtures("clean_environment")


def make_authors_state() -> dict[str, Any]:
    """The authors' 263 entries, filled by a rule of our own; keys come from the tested mapping."""

    from galmorph.encoders.fused import ProjectionHead, Wei2022

    encoder, projection = Wei2022(), ProjectionHead()
    for module in (encoder, projection):
        for name, tensor in module.state_dict().items():
            rng = np.random.default_rng(zlib.crc32(name.encode()))
            values = rng.uniform(0.5, 1.5, tensor.shape) if tensor.ndim < 2 else None
            if values is None:
                values = rng.standard_normal(tensor.shape) / np.sqrt(np.prod(tensor.shape[1:]))
            tensor.copy_(torch.from_numpy(np.asarray(values)).to(tensor.dtype))
    return to_authors(encoder.state_dict(), projection.state_dict())


@pytest.fixture(scope="module")
def authors_state() -> dict[str, Any]:
    return make_authors_state()


def reference_embedding(state: dict[str, Any], images: Any) -> Any:

    from galmorph.encoders.fused import Wei2022

    encoder = Wei2022()
    encoder.load_state_dict(from_authors(state)[0])
    with torch.no_grad():
        return encoder.eval()(images)


@pytest.mark.parametrize("layout", ["model", "bare", "data-parallel"])
def test_a_converted_checkpoint_gives_the_same_embedding(
    layout: str, tmp_path: Path, authors_state: dict[str, Any]
) -> None:
    from galmorph.model import read_model

    content: Any = authors_state
    if layout == "data-parallel":
        content = {"model": {f"module.{key}": value for key, value in authors_state.items()}}
    elif layout != "bare":
        content = {layout: authors_state, "epoch": 50, "optimizer": {"lr": 0.01}}
    checkpoint, output = tmp_path / "checkpoint.pth.tar", tmp_path / "model.safetensors"
    torch.save(content, checkpoint)
    convert_checkpoint(checkpoint, output, survey="decals")

    model = read_model(output)
    images = torch.from_numpy(
        np.random.default_rng(3).standard_normal((2, 3, 84, 84)).astype(np.float32)
    )
    with torch.no_grad():
        embedding = model.encoder(images)
    expected = reference_embedding(authors_state, images)
    assert embedding.shape == (2, 512)
    torch.testing.assert_close(embedding, expected, atol=1e-4, rtol=0)
    assert model.architecture == "wei2022"
    assert model.name == "model"
    assert (model.preprocessing.mean, model.preprocessing.std) == SURVEYS["decals"]
    assert model.preprocessing.img_size == 84
    assert model.preprocessing.crop == pytest.approx(180 / 424)
    assert model.provenance["converted_from"] == "checkpoint.pth.tar"
    assert sorted(p.name for p in tmp_path.iterdir() if p.suffix != "") == [
        "checkpoint.pth.tar",
        "model.safetensors",
    ]


class Bomb:
    """Unpickling this would make a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("how", ["torch.save", "pickle"])
def test_a_hostile_pickle_is_not_executed(how: str, tmp_path: Path) -> None:
    target, checkpoint = tmp_path / "pwned", tmp_path / "checkpoint.pth.tar"
    content = {"model": {"a": torch.zeros(1)}, "extra": Bomb(target)}
    if how == "torch.save":
        torch.save(content, checkpoint)
    else:
        checkpoint.write_bytes(pickle.dumps({"model": Bomb(target)}))
    with pytest.raises(CheckpointError, match=r"checkpoint\.pth\.tar: .*does not execute"):
        convert_checkpoint(checkpoint, tmp_path / "model.safetensors", survey="gz2")
    assert not target.exists()
    assert not (tmp_path / "model.safetensors").exists()
    # The bomb is real: a plain unpickling sets it off.
    if how == "pickle":
        pickle.loads(checkpoint.read_bytes())
        assert target.exists()


@pytest.mark.parametrize(
    "content", [b"", b"not a checkpoint at all", b"PK\x03\x04 cut short", b"\xa0\0\0\0\0\0\0\0{}"]
)
def test_a_damaged_checkpoint_is_named(content: bytes) -> None:
    with pytest.raises(CheckpointError, match=r"^c\.pth\.tar: is damaged, or holds more"):
        load_pickle(content, "c.pth.tar")


def test_a_mutated_checkpoint_is_read_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pth.tar"
    torch.save({"model": {"a": torch.arange(50.0), "b": torch.zeros(3, 3)}}, path)
    whole = path.read_bytes()
    rng = np.random.default_rng(8)
    for _ in range(150):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), 3):
            damaged[place] = rng.integers(0, 256)
        with contextlib.suppress(CheckpointError):
            load_pickle(bytes(damaged[: rng.integers(1, len(whole) + 1)]), path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "holds no state_dict"),
        ({}, "holds no state_dict"),
        ({"epoch": 3}, "'epoch' is not a tensor"),
        ({"model": {"weight": "text"}}, "'weight' is not a tensor"),
    ],
)
def test_a_checkpoint_without_a_state_dict_is_named(
    tmp_path: Path, content: Any, message: str
) -> None:
    path = tmp_path / "checkpoint.pth.tar"
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=message):
        load_pickle(path.read_bytes(), path)


def test_another_layout_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "resnet.pth"
    torch.save({"fc.weight": torch.zeros(2, 2)}, path)
    with pytest.raises(CheckpointError, match=r"resnet\.pth: is not in the layout of Wei et al"):
        convert_checkpoint(path, tmp_path / "model.safetensors", survey="gz2")


def test_missing_and_misshapen_tensors_are_refused(
    tmp_path: Path, authors_state: dict[str, Any]
) -> None:
    path, output = tmp_path / "c.pth.tar", tmp_path / "model.safetensors"
    without = {k: v for k, v in authors_state.items() if not k.startswith("backbone.conv1")}
    torch.save({"model": without}, path)
    with pytest.raises(CheckpointError, match="is not complete"):
        convert_checkpoint(path, output, survey="gz2")
    misshapen = {**authors_state, "backbone.bn1.weight": torch.zeros(7)}
    torch.save({"model": misshapen}, path)
    with pytest.raises(CheckpointError, match="is not in the layout of Wei et al"):
        convert_checkpoint(path, output, survey="gz2")
    assert not output.exists()


def test_the_output_must_be_safetensors(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"model\.pt: the output must end in \.safetensors"):
        convert_checkpoint(tmp_path / "c.pth.tar", tmp_path / "model.pt", survey="gz2")


def test_the_bomb_test_looks_at_a_real_archive(tmp_path: Path) -> None:
    path = tmp_path / "c.pth.tar"
    torch.save({"model": {"a": torch.zeros(1)}}, path)
    assert zipfile.is_zipfile(path), "torch.save changed its format: look at the hostile test again"


def test_the_tool_says_where_it_wrote_or_what_is_wrong(
    tmp_path: Path, authors_state: dict[str, Any], capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from galmorph.model import read_model

    checkpoint, output = tmp_path / "c.pth.tar", tmp_path / "ours.safetensors"
    monkeypatch.setattr("sys.argv", ["x", str(checkpoint), "-o", str(output), "--survey", "sdss"])
    assert main() == 1
    assert "c.pth.tar: not a readable" in capsys.readouterr().err
    torch.save({"model": authors_state}, checkpoint)
    output.touch()
    write_sidecar(output, "0" * 64)  # of a file that was there before
    assert main() == 0
    assert capsys.readouterr().out.strip() == str(output)
    assert read_model(output).preprocessing.mean == (0.0996, 0.0813, 0.0556)
    assert read_sidecar(output) == read_model(output).provenance["sha256"]
