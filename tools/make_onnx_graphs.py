"""The ONNX graphs that the package carries: traced from the torch encoders, without weights.

For maintainers, after a change of an architecture (needs torch, onnx and onnxscript)::

    python tools/make_onnx_graphs.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import galmorph.encoders
from galmorph.encoders.registry import create_encoder, list_encoders
from galmorph.inference.ready import fold_batch_norm

OPSET = 18
"""The first with every operator that the encoders need as torch writes them."""

MAX_BATCH = 4096


class _FromPixels(nn.Module):
    """Normalization and encoder, so that a graph takes pixels on [0, 1]."""

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.register_buffer("pixel_mean", torch.zeros(1, 3, 1, 1))
        self.register_buffer("pixel_std", torch.ones(1, 3, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        embedding: Tensor = self.encoder((pixels - self.pixel_mean) / self.pixel_std)
        return embedding


def trace_graph(architecture: str) -> bytes:
    """An architecture as ONNX: ``pixels`` (n, 3, 84, 84) on [0, 1] to ``embedding`` (n, 512).

    Its weights are marked as external and have the names of `make_graph_weights`.
    """
    module = _FromPixels(fold_batch_norm(create_encoder(architecture))).eval()
    program: Any = torch.onnx.export(
        module,
        (torch.rand(2, 3, 84, 84),),
        dynamo=True,
        opset_version=OPSET,
        input_names=["pixels"],
        output_names=["embedding"],
        dynamic_shapes=({0: torch.export.Dim("n", min=1, max=MAX_BATCH)},),
        optimize=False,  # onnxruntime does it, and the weights keep their names
        verbose=False,
    )
    graph = program.model_proto
    _take_weights_out(graph, set(module.state_dict()))
    _drop_remarks(graph)
    raw: bytes = graph.SerializeToString()
    return raw


def _take_weights_out(model: Any, names: set[str]) -> None:
    from onnx import TensorProto

    there = {tensor.name for tensor in model.graph.initializer}
    if names - there:
        raise RuntimeError(f"the exporter renamed or folded {sorted(names - there)}")
    for tensor in model.graph.initializer:
        if tensor.name in names:
            tensor.ClearField("raw_data")
            tensor.data_location = TensorProto.EXTERNAL
            tensor.external_data.add(key="location", value="model.safetensors")


def _drop_remarks(model: Any) -> None:
    """Leave out stack traces and paths of the machine that traced it."""
    graph = model.graph
    del graph.value_info[:]
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""


def main() -> None:
    """Write every graph into the package."""
    folder = Path(galmorph.encoders.__file__).parent / "graphs"
    for architecture in list_encoders():
        (folder / f"{architecture}.onnx").write_bytes(trace_graph(architecture))


if __name__ == "__main__":
    main()
