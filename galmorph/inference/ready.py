"""An encoder made ready for one device and precision."""

import copy
import threading
from collections.abc import Callable
from itertools import chain
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from galmorph.encoders.cnn import ConvNorm
from galmorph.encoders.fused import FusedEncoder
from galmorph.images.library import SharedSetting
from galmorph.inference.fused_layers import fuse_layers
from galmorph.preprocessing.pipeline import Preprocessing
from galmorph.quantities import Array


def fold_batch_norm(encoder: nn.Module) -> nn.Module:
    """Copy an encoder, with each batch normalization folded into the convolution before it."""
    folded = copy.deepcopy(encoder).eval()
    for module in folded.modules():
        if isinstance(module, ConvNorm) and isinstance(module.norm, nn.BatchNorm2d):
            module.conv = fuse_conv_bn_eval(module.conv, module.norm)
            module.norm = nn.Identity()
    return folded


def _cast_input(layer: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return (inputs[0].to(weight.dtype), *inputs[1:])


def _convert_fused(encoder: FusedEncoder, dtype: torch.dtype) -> None:
    """Matrix products in ``dtype``; the tokens between them, and the last layer, stay in float32.

    They add up over the blocks: rounding them makes half of the error of a fused encoder, and
    costs as much time as it saves.
    """
    branch = encoder.vit_branch
    layers = [m for m in branch.modules() if isinstance(m, nn.LayerNorm) or m is branch.head]
    exact = {id(branch.cls_token), id(branch.pos_embed)}
    exact |= {id(parameter) for layer in layers for parameter in layer.parameters()}
    for parameter in encoder.parameters():
        if id(parameter) not in exact:
            parameter.data = parameter.data.to(dtype)
    for module in branch.modules():
        if isinstance(module, nn.Linear):
            module.register_forward_pre_hook(_cast_input)


def _convert(encoder: nn.Module, dtype: torch.dtype) -> nn.Module:
    if isinstance(encoder, FusedEncoder) and dtype != torch.float32:
        _convert_fused(encoder, dtype)
    else:
        encoder = encoder.to(dtype)
    return encoder.to(memory_format=torch.channels_last)


class ReadyEncoder:
    """Pixels in, embeddings out, on one device; several threads may use it at once.

    The encoder, in float32 and eval mode, is left as it is; embeddings come as float32. On a GPU:
    pinned memory, channels last, and batches of at most `limit`, known once one did not fit.
    """

    def __init__(
        self, encoder: nn.Module, preprocessing: Preprocessing, device: torch.device, precision: str
    ) -> None:
        self.device = device
        self.dtype: torch.dtype = getattr(torch, precision)
        ready = fold_batch_norm(encoder).requires_grad_(False).to(device)
        self.module = _convert(ready, self.dtype)
        if device.type == "cpu":
            self.module = fuse_layers(self.module)
        mean, std = torch.tensor((preprocessing.mean, preprocessing.std), device=device)
        self.scale = (1 / std).reshape(1, 3, 1, 1)
        self.byte_scale = self.scale / 255
        self.offset = (-mean / std).reshape(1, 3, 1, 1)
        self.limit: int | None = None

    def normalize(self, pixels: Tensor) -> Tensor:
        """uint8 in [0, 255] or float32 in [0, 1] to what the encoder takes."""
        x = pixels.to(self.device, non_blocking=True)
        x = x.float().mul_(self.byte_scale) if x.dtype == torch.uint8 else x * self.scale
        x.add_(self.offset)
        # In two steps: torch is slow at both at once.
        return x.to(self.dtype).contiguous(memory_format=torch.channels_last)

    def compute(self, pixels: Tensor) -> Tensor:
        """Pixels on any device to embeddings in float32 on this one."""
        embedding: Tensor = self.module(self.normalize(pixels))
        return embedding.float()

    def encode(self, pixels: Array) -> Array:
        """uint8 or float32 pixels (n, 3, img_size, img_size) to embeddings (n, num_features)."""
        host = torch.from_numpy(pixels)
        if self.device.type == "cuda":
            host = host.pin_memory()
        parts: list[Array] = []
        begin = 0
        while begin < len(host):
            part = host[begin : begin + (self.limit or len(host))]
            embeddings = self._try_part(part)
            if embeddings is None:  # not in the handler: a traceback holds on to memory
                self.limit = len(part) // 2
                torch.cuda.empty_cache()
                continue
            parts.append(embeddings)
            begin += len(part)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _try_part(self, pixels: Tensor) -> Array | None:
        """None where the device's memory is too small."""
        try:
            with torch.inference_mode():
                embeddings: Array = self.compute(pixels).cpu().numpy()
        except torch.OutOfMemoryError:
            if len(pixels) == 1:
                raise
            return None
        return embeddings


# State of the weights and the form made of them, by device, precision and normalization.
_Forms = dict[tuple[Any, ...], tuple[tuple[Any, ...], ReadyEncoder]]
_ready: WeakKeyDictionary[nn.Module, _Forms] = WeakKeyDictionary()
_ready_lock = threading.Lock()


def _mark_weights(encoder: nn.Module) -> tuple[Any, ...]:
    """Another value after each change of a weight, be it in place."""
    return tuple(
        (tensor.data_ptr(), None if tensor.is_inference() else tensor._version)
        for tensor in chain(encoder.parameters(), encoder.buffers())
    )


def get_ready_encoder(
    encoder: nn.Module, preprocessing: Preprocessing, device: torch.device | str, precision: str
) -> ReadyEncoder:
    """The ready form of an encoder, made once for each device, and again for changed weights."""
    key = (str(device), precision, preprocessing.mean, preprocessing.std)
    with _ready_lock:
        forms = _ready.setdefault(encoder, {})
        weights = _mark_weights(encoder)
        if key not in forms or forms[key][0] != weights:
            place = torch.device(device)
            forms[key] = weights, ReadyEncoder(encoder, preprocessing, place, precision)
        return forms[key][1]


def use_one_compute_thread() -> None:
    """Let the calling thread compute alone, whatever torch's setting for the process is."""
    torch.get_num_threads()  # a new thread takes over the setting at its first use of torch
    torch.set_num_threads(1)  # of this thread; also what threads to come will take over


def _note_compute_threads() -> Callable[[], None]:
    threads = torch.get_num_threads()
    return lambda: torch.set_num_threads(threads)


# Puts torch's number of threads back after the last of several runs at once.
keep_compute_threads = SharedSetting(_note_compute_threads)
