"""onnxruntime instead of torch: the same numbers, from the same files, without importing torch."""

from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from click.testing import CliRunner
from inference_model import CLASSES, make_model
from safetensors.numpy import load_file, save_file

import galmorph
from galmorph.cli.main import cli
from galmorph.encoders.onnx_encoder import (
    OnnxEncoder,
    make_graph_weights,
    make_onnx_encoder,
    read_graph,
)
from galmorph.encoders.registry import list_encoders
from galmorph.errors import CheckpointError, DeviceError, OutputError, UnknownModelError
from galmorph.heads import LinearHead
from galmorph.inference.backends import check_backend, open_backend
from galmorph.inference.ready import ReadyEncoder
from galmorph.model import Model, read_model, write_model

pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")

Array = npt.NDArray[Any]


@pytest.fixture
def pixels() -> Array:
    return np.random.default_rng(1).integers(0, 256, (3, 3, 84, 84), dtype=np.uint8)


@pytest.fixture
def file(model: Model, tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    write_model(path, model)
    return path


def encode_with_torch(model: Model, pixels: Array) -> Array:
    ready = ReadyEncoder(model.encoder, model.preprocessing, torch.device("cpu"), "float32")
    return ready.encode(pixels)


def export(model: Model, path: Path) -> Path:
    pytest.importorskip("onnx", reason="the extra onnx is not installed")
    from galmorph.inference.onnx_file import write_onnx

    write_onnx(path, model)
    return path


@pytest.mark.parametrize("architecture", list_encoders())
@pytest.mark.parametrize("seed", [0, 1])
def test_embeddings_are_those_of_torch(
    architecture: str, seed: int, pixels: Array, tmp_path: Path
) -> None:
    model = make_model(architecture, seed=seed)
    write_model(tmp_path / "m.safetensors", model)
    light = read_model(tmp_path / "m.safetensors", backend="onnx")
    expected = encode_with_torch(model, pixels)
    np.testing.assert_allclose(light.encoder.encode(pixels), expected, atol=1e-4)
    assert (light.backend, light.num_features) == ("onnx", 512)
    assert model.backend == "torch"


def test_every_architecture_has_a_graph_of_its_own_opset() -> None:
    onnx = pytest.importorskip("onnx")
    for architecture in list_encoders():
        graph = onnx.load_from_string(read_graph(architecture))
        assert [o.version for o in graph.opset_import if o.domain == ""] == [18]
        assert len(read_graph(architecture)) < 100_000
        assert b"/" + b"home" not in read_graph(architecture)


def test_weights_are_named_as_the_graph_names_them(model: Model) -> None:
    onnx = pytest.importorskip("onnx")
    tensors = {f"encoder.{k}": v.numpy() for k, v in model.encoder.state_dict().items()}
    weights = make_graph_weights(tensors, mean=(0, 0, 0), std=(1, 1, 1))
    graph = onnx.load_from_string(read_graph("fused_fast")).graph
    external = {t.name for t in graph.initializer if t.data_location == onnx.TensorProto.EXTERNAL}
    assert set(weights) == external


def test_an_encoder_can_be_pickled(file: Path, pixels: Array) -> None:
    encoder = read_model(file, backend="onnx").encoder
    back = pickle.loads(pickle.dumps(encoder))
    np.testing.assert_array_equal(back.encode(pixels), encoder.encode(pixels))


def test_missing_tensors_are_an_error(model: Model) -> None:
    tensors = {f"encoder.{k}": v.numpy() for k, v in model.encoder.state_dict().items()}
    settings = {"mean": (0.0,) * 3, "std": (1.0,) * 3}
    del tensors["encoder.stem.0.norm.running_var"]
    with pytest.raises(CheckpointError, match=r"not complete: .*stem\.0\.norm\.running_var"):
        make_onnx_encoder("fused_fast", tensors, **settings)
    with pytest.raises(CheckpointError, match="onnxruntime cannot use this model"):
        make_onnx_encoder("fused_fast", {}, **settings)
    with pytest.raises(UnknownModelError, match="no ONNX graph of architecture 'resnet9000'"):
        make_onnx_encoder("resnet9000", tensors, **settings)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(b"not a graph")
    with pytest.raises(CheckpointError, match=r"bad\.onnx: onnxruntime cannot use"):
        read_model(path)
    with pytest.raises(CheckpointError, match=r"none\.onnx: cannot be read"):
        read_model(tmp_path / "none.onnx")


def test_an_export_holds_everything(model: Model, pixels: Array, tmp_path: Path) -> None:
    light = read_model(export(model, tmp_path / "m.onnx"))
    expected = encode_with_torch(model, pixels)
    np.testing.assert_allclose(light.encoder.encode(pixels), expected, atol=1e-4)
    assert (light.name, light.preprocessing) == (model.name, model.preprocessing)
    assert light.heads["test"].class_names == CLASSES
    np.testing.assert_array_equal(light.heads["test"].weight, model.heads["test"].weight)
    assert light.typicality is not None and model.typicality is not None
    np.testing.assert_allclose(
        light.typicality.compute_distance(expected),
        model.typicality.compute_distance(expected),
        rtol=1e-2,
    )


def test_an_export_runs_without_galmorph(model: Model, pixels: Array, tmp_path: Path) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(export(model, tmp_path / "m.onnx")))
    outputs = ["embedding", "probabilities_test"]
    floats = pixels.astype(np.float32) / np.float32(255)
    embedding, probabilities = session.run(outputs, {"pixels": floats})
    expected = encode_with_torch(model, pixels)
    np.testing.assert_allclose(embedding, expected, atol=1e-4)
    head = model.heads["test"]
    np.testing.assert_allclose(probabilities, head.compute_probabilities(expected), atol=1e-4)


def test_an_export_can_be_exported_again(model: Model, pixels: Array, tmp_path: Path) -> None:
    first = read_model(export(model, tmp_path / "a.onnx"))
    again = read_model(export(first, tmp_path / "b.onnx"))
    np.testing.assert_allclose(
        again.encoder.encode(pixels), first.encoder.encode(pixels), atol=1e-6
    )
    assert again.heads["test"].temperature == 1.5


@pytest.mark.parametrize("names", [["test"], ["other"], ["test", "other"], []])
def test_an_export_again_has_the_heads_of_its_model(
    model: Model, pixels: Array, tmp_path: Path, names: list[str]
) -> None:
    import onnxruntime

    onnx = pytest.importorskip("onnx")
    first = read_model(export(model, tmp_path / "a.onnx"))
    old = model.heads["test"]
    other = LinearHead("other", CLASSES[:2], -old.weight[:2], old.bias[:2], temperature=0.5)
    heads = {name: replace(other, name=name) for name in names}
    path = export(replace(first, heads=heads), tmp_path / "b.onnx")
    session = onnxruntime.InferenceSession(str(path))
    outputs = [f"probabilities_{name}" for name in names]
    assert [output.name for output in session.get_outputs()] == ["embedding", *outputs]
    assert list(read_model(path).heads) == names
    floats = pixels.astype(np.float32) / np.float32(255)
    embedding, *made = session.run(None, {"pixels": floats})
    for probabilities in made:
        expected = other.compute_probabilities(embedding)
        np.testing.assert_allclose(probabilities, expected, atol=1e-4)
    tensors = [tensor.name for tensor in onnx.load(path).graph.initializer]
    assert sum(name.startswith("probabilities_") for name in tensors) == 2 * len(names)


def test_somebody_elses_graph_is_refused(tmp_path: Path, model: Model) -> None:
    onnx = pytest.importorskip("onnx")
    path = export(model, tmp_path / "m.onnx")
    graph = onnx.load(path)
    del graph.metadata_props[:]
    onnx.save(graph, path)
    with pytest.raises(CheckpointError, match=r"m\.onnx: not written by galmorph"):
        read_model(path)


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("pixels", ["n", 3, "h", "w"]),
        ("pixels", ["n", 12]),
        ("pixels", ["n", 3, 84, 80]),
        ("input.1", ["n", 3, 84, 84]),
    ],
)
def test_a_graph_of_another_shape_is_refused(tmp_path: Path, name: str, taken: list[Any]) -> None:
    onnx = pytest.importorskip("onnx")
    make_value = onnx.helper.make_tensor_value_info
    value = onnx.numpy_helper.from_array(np.zeros((1, 8), dtype=np.float32))
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Constant", [], ["embedding"], value=value)],
        "other",
        [make_value(name, onnx.TensorProto.FLOAT, taken)],
        [make_value("embedding", onnx.TensorProto.FLOAT, [1, 8])],
    )
    opset = onnx.helper.make_opsetid("", 18)
    whole = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=9)
    onnx.save(whole, tmp_path / "other.onnx")
    with pytest.raises(CheckpointError, match=rf"other\.onnx: not an encoder.* of `{name}` \(n, "):
        read_model(tmp_path / "other.onnx")


def test_the_engine_runs_either(model: Model, file: Path, mixed_folder: Path) -> None:
    light = read_model(file, backend="onnx")
    given = {"head": "test", "precision": "float32", "batch_size": 4, "workers": 2}
    usual = galmorph.classify(mixed_folder, model=model, device="cpu", **given)
    table = galmorph.classify(mixed_folder, model=light, **given)
    assert list(table["label"]) == list(usual["label"])
    assert list(table["flags"]) == list(usual["flags"])
    for name in CLASSES:
        np.testing.assert_allclose(table[f"p_{name}"], usual[f"p_{name}"], atol=1e-4)
    assert table.meta["backend"] == "onnx" and "onnxruntime" in table.meta
    assert usual.meta["backend"] == "torch" and "torch" in usual.meta


def test_what_onnx_cannot_do_is_refused(file: Path) -> None:
    light = read_model(file, backend="onnx")
    assert check_backend("onnx") == ("cpu", "float32")
    with pytest.raises(DeviceError, match="--backend onnx computes on the cpu, not on 'cuda'"):
        open_backend(light, device="cuda")
    with pytest.raises(ValueError, match="--backend onnx computes in float32, not in 'bfloat16'"):
        open_backend(light, precision="bfloat16")
    with pytest.raises(ValueError, match="backend is 'torch' or 'onnx', not 'jax'"):
        galmorph.load_model(file, backend="jax")


def test_load_model_takes_either_file(model: Model, file: Path, tmp_path: Path) -> None:
    assert galmorph.load_model(file).backend == "torch"
    assert isinstance(galmorph.load_model(file, backend="onnx").encoder, OnnxEncoder)
    exported = export(model, tmp_path / "m.onnx")
    assert galmorph.load_model(exported).backend == "onnx"


def test_the_command_exports(file: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    output = tmp_path / "out.onnx"
    done = CliRunner().invoke(cli, ["export", "--model", str(file), "-o", str(output)])
    assert done.exit_code == 0, done.output
    assert read_model(output).heads["test"].class_names == CLASSES
    assert [p.name for p in tmp_path.glob(".*.tmp")] == []
    wrong = CliRunner().invoke(cli, ["export", "--model", str(file), "-o", "out.pt"])
    assert wrong.exit_code == 2 and "ends in .onnx" in wrong.output
    nowhere = str(file / "out.onnx")
    wrong = CliRunner().invoke(cli, ["export", "--model", str(file), "-o", nowhere])
    assert wrong.exit_code == 2 and "its folder cannot be made" in wrong.output


def test_a_full_disk_leaves_no_part_of_an_export(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_bytes

    def fill_up(self: Path, content: bytes) -> int:
        write(self, content[:9])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fill_up)
    with pytest.raises(OutputError, match=r"m\.onnx: cannot be written .No space"):
        export(model, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_classify_with_onnx_never_imports_torch(file: Path, mixed_folder: Path) -> None:
    code = (
        "import sys; from galmorph.cli.main import cli\n"
        "cli.main(sys.argv[1:], standalone_mode=False)\n"
        "heavy = {'torch', 'timm', 'huggingface_hub'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    image = str(mixed_folder / "galaxy_00.jpg")
    arguments = ["classify", image, "--backend", "onnx", "--model", str(file), "--head", "test"]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1].startswith("galaxy_00,")
    assert "onnxruntime" in done.stderr


def test_a_tensor_of_the_wrong_shape_is_an_error(file: Path, pixels: Array) -> None:
    from safetensors import safe_open

    with safe_open(file, framework="numpy") as opened:
        metadata = opened.metadata()
    tensors = load_file(file)
    tensors["encoder.vit_branch.head.weight"] = tensors["encoder.vit_branch.head.weight"][:, :64]
    save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, file, metadata=metadata)
    with pytest.raises(CheckpointError, match="onnxruntime cannot use this model"):
        read_model(file, backend="onnx").encoder.encode(pixels)


def test_there_is_one_graph_for_each_encoder() -> None:
    folder = Path(galmorph.__file__).parent / "encoders" / "graphs"
    assert sorted(path.stem for path in folder.glob("*.onnx")) == sorted(list_encoders())
