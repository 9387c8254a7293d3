"""Ways to be faster that galmorph does not take: what each would gain, and which labels it changes.

    python benchmarks/bench_alternatives.py

The encoder of the default model on prepared images of gz2/test, in batches of 32, one thread,
processor time: float32 and bfloat16 as galmorph uses them, ``torch.compile`` on both (needs a C++
compiler), onnxruntime and, where it is installed, OpenVINO, in float32, int8 (static, per channel,
calibrated on training images; needs onnx) and bfloat16. Labels and probabilities of the head gz2 are
compared with those of float32.
"""

from __future__ import annotations

import importlib.util
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import make_parser, measure, print_machine, print_rows

from galmorph.images.discover import discover_sources
from galmorph.images.read import read_cutout
from galmorph.inference.devices import cpu_has_bfloat16
from galmorph.inference.onnx_file import write_onnx
from galmorph.inference.ready import ReadyEncoder
from galmorph.model import Model
from galmorph.pipeline import load_model

BATCH = 32
CALIBRATED_ON = 256
TIMED = 512

Pixels = np.ndarray[Any, Any]
Encode = Callable[[Pixels], Pixels]


def prepare(model: Model, inputs: list[Path], count: int, *, crop: float | None = None) -> Pixels:
    """Bytes as the encoder gets them, (n, 3, img_size, img_size), of images spread over all."""
    from galmorph.settings import FieldOptions

    field = FieldOptions(crop=crop)
    sources = list(discover_sources(inputs))
    chosen = sources[:: max(1, len(sources) // count)][:count]
    return np.stack(
        [model.preprocessing.prepare(read_cutout(s), field=field).pixels for s in chosen]
    )


def make_torch(model: Model, precision: Any) -> ReadyEncoder:
    """As galmorph runs it."""
    return ReadyEncoder(model.encoder, model.preprocessing, torch.device("cpu"), precision)


def compile_torch(model: Model, precision: Any) -> Encode:
    """The same through ``torch.compile``, with weights frozen into the code."""
    import torch._inductor.config as inductor

    inductor.freezing = True
    ready = make_torch(model, precision)
    with torch.inference_mode():
        compiled = torch.compile(ready.module)

        def encode(pixels: Pixels) -> Pixels:
            with torch.inference_mode():
                found: Pixels = compiled(ready.normalize(torch.from_numpy(pixels))).float().numpy()
            return found

        began = time.monotonic()
        encode(np.zeros((BATCH, 3, 84, 84), np.uint8))
        print(
            f"torch.compile, {precision}: first batch {time.monotonic() - began:.0f} s", flush=True
        )
    return encode


def _scale(pixels: Pixels) -> Pixels:
    return pixels.astype(np.float32) / np.float32(255)


def open_onnx(file: Path) -> Encode:
    """onnxruntime in one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return lambda pixels: session.run(["embedding"], {"pixels": _scale(pixels)})[0]


def open_openvino(file: Path, precision: str) -> Encode:
    """OpenVINO in one thread; ``precision`` is what it may compute in."""
    import openvino

    hints = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": precision}
    compiled = openvino.Core().compile_model(str(file), "CPU", hints)
    output = compiled.output("embedding")
    return lambda pixels: compiled({"pixels": _scale(pixels)})[output]


class _Calibration:
    """Batches of training images, for onnxruntime's quantization."""

    def __init__(self, pixels: Pixels) -> None:
        self.batches: Iterator[Pixels] = iter(np.array_split(pixels, len(pixels) // BATCH))

    def get_next(self) -> dict[str, Pixels] | None:
        """One batch, or nothing more."""
        batch = next(self.batches, None)
        return None if batch is None else {"pixels": _scale(batch)}


def quantize(file: Path, to: Path, pixels: Pixels) -> Path:
    """Weights and activations in int8, all but the heads."""
    from onnxruntime.quantization import CalibrationMethod, QuantType, quantize_static

    quantize_static(
        file,
        to,
        _Calibration(pixels),
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod.MinMax,
        op_types_to_quantize=["Conv", "MatMul", "Gemm", "Add"],
    )
    return to


def list_ways(model: Model, training: Pixels, folder: Path) -> Iterator[tuple[str, Encode]]:
    """Every way that this environment allows; float32 first."""
    precisions = ["float32", "bfloat16"] if cpu_has_bfloat16() else ["float32"]
    for precision in precisions:
        yield f"torch, {precision}, as galmorph runs it", make_torch(model, precision).encode
    for precision in precisions:
        yield f"torch.compile, {precision}", compile_torch(model, precision)
    whole = folder / "whole.onnx"
    write_onnx(whole, model)
    yield "onnxruntime, float32", open_onnx(whole)
    quantized = quantize(whole, folder / "int8.onnx", training)
    yield "onnxruntime, int8", open_onnx(quantized)
    if importlib.util.find_spec("openvino"):
        for precision, name in (("f32", "float32"), ("bf16", "bfloat16")):
            yield f"OpenVINO, {name}", open_openvino(whole, precision)
        yield "OpenVINO, int8", open_openvino(quantized, "f32")


def main() -> None:
    """Embed, compare, time."""
    parser = make_parser(__doc__, images=100_000)
    parser.add_argument("--model", help="name or file [default: the default model]")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print_machine()
    test, training = options.data / "gz2" / "test", options.data / "gz2" / "train-00000.tar"
    if not test.is_dir() or not training.exists():
        raise SystemExit(f"{test} and {training} are needed; set --data")
    model = load_model(options.model)
    asked = prepare(model, [test], options.images)
    crop = min(1.0, model.preprocessing.crop * 424 / 224)  # shards hold the central 224 of 424 px
    seen = prepare(model, [training], CALIBRATED_ON, crop=crop)
    head = model.get_head("gz2")
    exact, rows = None, [("way", "", "other labels", "largest change", "mean change")]
    with tempfile.TemporaryDirectory() as folder:
        for name, encode in list_ways(model, seen, Path(folder)):
            batches = [asked[i : i + BATCH] for i in range(0, len(asked), BATCH)]
            found = head.compute_probabilities(np.concatenate([encode(b) for b in batches]))
            exact = found if exact is None else exact
            change = np.abs(found - exact)
            other = np.mean(found.argmax(axis=1) != exact.argmax(axis=1))
            timed = [b for b in batches if len(b) == BATCH][: TIMED // BATCH]
            rate = measure(
                lambda: [encode(b) for b in timed],  # noqa: B023
                len(timed) * BATCH,
                runs=options.runs,
                cpu=True,
            )
            rows.append(
                (name, str(rate), f"{other:.2%}", f"{change.max():.4f}", f"{change.mean():.5f}")
            )
    print_rows(f"\n{len(asked)} images, against float32", rows)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
