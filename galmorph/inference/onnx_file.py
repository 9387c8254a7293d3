"""A whole model in one ONNX file: normalization, encoder and heads in the graph."""

import json
from base64 import b64encode
from pathlib import Path
from typing import Any

import numpy as np

from galmorph.encoders.onnx_encoder import OnnxEncoder, make_onnx_encoder
from galmorph.heads import LinearHead
from galmorph.images.library import import_extra
from galmorph.model import METADATA_KEY, TENSORS_KEY, Model, describe_model
from galmorph.writing import write_whole

HEAD = "probabilities_"  # begins the names of all that a head adds to the graph


def write_onnx(path: str | Path, model: Model) -> None:
    """Write a model of one of galmorph's own architectures to one ONNX file; torch is not needed.

    Input ``pixels``, float32 (n, 3, img_size, img_size) on [0, 1]; outputs ``embedding``, (n,
    num_features), and ``probabilities_<head>``, (n, num_classes), calibrated. The metadata key
    "galmorph" holds the same JSON as a safetensors file; "galmorph_tensors" heads and typicality.
    """
    onnx = import_extra("onnx", "onnx", "to export a model")
    encoder = _get_onnx_encoder(model)
    exported = onnx.load_from_string(encoder.graph)
    _put_weights_in(exported, encoder, onnx)
    _drop_heads(exported.graph)
    for head in (h for h in model.heads.values() if type(h) is LinearHead):
        _add_head(exported.graph, head, onnx)
    _describe(exported, model, onnx)
    onnx.checker.check_model(exported, full_check=True)
    write_whole(path, exported.SerializeToString())


def _get_onnx_encoder(model: Model) -> OnnxEncoder:
    if isinstance(model.encoder, OnnxEncoder):
        return model.encoder
    state = model.encoder.state_dict()
    tensors = {f"encoder.{key}": tensor.cpu().numpy() for key, tensor in state.items()}
    normalization = model.preprocessing
    return make_onnx_encoder(
        model.architecture, tensors, mean=normalization.mean, std=normalization.std
    )


def _put_weights_in(exported: Any, encoder: OnnxEncoder, onnx: Any) -> None:
    for tensor in exported.graph.initializer:
        if tensor.name in encoder.weights:
            whole = onnx.numpy_helper.from_array(encoder.weights[tensor.name], tensor.name)
            tensor.CopyFrom(whole)


def _drop_heads(graph: Any) -> None:
    """Take out what an earlier export added: the model may have other heads by now."""
    for part in (graph.output, graph.node, graph.initializer):
        for i in reversed(range(len(part))):
            names = getattr(part[i], "output", [part[i].name])  # nodes are told by what they make
            if names[0].startswith(HEAD):
                del part[i]


def _add_head(graph: Any, head: LinearHead, onnx: Any) -> None:
    """Append softmax((embedding @ weight.T + bias) / temperature)."""
    name = f"{HEAD}{head.name}"
    for part, array in (("weight", head.weight), ("bias", head.bias)):
        scaled = (array / head.temperature).astype(np.float32)
        graph.initializer.append(onnx.numpy_helper.from_array(scaled, f"{name}.{part}"))
    make_node = onnx.helper.make_node
    inputs = ["embedding", f"{name}.weight", f"{name}.bias"]
    graph.node.append(make_node("Gemm", inputs, [f"{name}.logits"], transB=1))
    graph.node.append(make_node("Softmax", [f"{name}.logits"], [name], axis=1))
    shape = ["n", len(head.class_names)]
    graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape))


def _describe(exported: Any, model: Model, onnx: Any) -> None:
    from safetensors.numpy import save

    metadata, tensors = describe_model(model)
    packed = save({key: np.ascontiguousarray(array) for key, array in tensors.items()})
    texts = {METADATA_KEY: json.dumps(metadata), TENSORS_KEY: b64encode(packed).decode("ascii")}
    onnx.helper.set_model_props(exported, texts)
    exported.producer_name = "galmorph"
