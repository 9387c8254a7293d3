"""Stage 3, tensor to embedding: each encoder in each precision, against the matrix rate.

The matrix rate is the fastest of several large matrix products, as products and as 1 x 1
convolutions (torch has two libraries for them), in one thread and the same precision.

    python benchmarks/bench_encode.py
    python benchmarks/bench_encode.py --steps wei2022
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from common import Timing, make_model, make_parser, measure, print_machine, print_rows, to_onnx

from galmorph.encoders.registry import list_encoders
from galmorph.inference.devices import Precision, cpu_has_bfloat16
from galmorph.inference.ready import ReadyEncoder

BATCH = 32
SIDES = (256, 512, 1024, 2048)


def count_operations(architecture: str) -> float:
    """Floating-point operations per cutout (two per multiply and add)."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        make_model(architecture).encoder(torch.zeros(1, 3, 84, 84))
    return float(counter.get_total_flops())


def _make_products(side: int, dtype: torch.dtype) -> list[Callable[[], torch.Tensor]]:
    """The same product of two square matrices, asked for in two ways."""
    a, b = torch.randn(side, side).to(dtype), torch.randn(side, side).to(dtype)
    image = a.reshape(1, 32, side // 32, side).permute(0, 3, 1, 2)  # channels last
    kernel = b.reshape(side, side, 1, 1).contiguous(memory_format=torch.channels_last)
    return [lambda: a @ b, lambda: torch.nn.functional.conv2d(image, kernel)]


def measure_matrix_rate(precision: str, *, runs: int = 5) -> float:
    """Operations per second of the fastest matrix product, in one thread."""
    best = 0.0
    for side in SIDES:
        for product in _make_products(side, getattr(torch, precision)):
            timing = measure(product, 1, runs=runs, cpu=True)
            best = max(best, 2 * side**3 * timing.rate)
    return best


def measure_encoder(encode: Any, pixels: np.ndarray[Any, Any], runs: int) -> Timing:
    """Time batches of `BATCH`, as the engine makes them."""
    batches = [pixels[i : i + BATCH] for i in range(0, len(pixels), BATCH)]
    return measure(lambda: [encode(b) for b in batches], len(pixels), runs=runs, cpu=True)


def print_steps(architecture: str, runs: int) -> None:
    """Where the time of a batch goes in bfloat16: the steps of torch, and their part."""
    from torch.profiler import ProfilerActivity, profile

    encode = _make_ready(make_model(architecture), "bfloat16").encode
    pixels = np.zeros((BATCH, 3, 84, 84), dtype=np.uint8)
    encode(pixels)
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        for _ in range(runs):
            encode(pixels)
    steps = [(e.key, e.self_cpu_time_total, e.count) for e in profiled.key_averages()]
    total = sum(time for _, time, _ in steps)
    steps.sort(key=lambda step: -step[1])
    rows = [(key, f"{time / total:.1%}", f"{count // runs} times") for key, time, count in steps]
    print_rows(f"{architecture}, bfloat16, one thread, {BATCH} images", rows[:12])


def main() -> None:
    """Time every encoder, in one thread."""
    parser = make_parser(__doc__, images=128)
    parser.add_argument("--steps", metavar="ENCODER", help="only where the time of this one goes")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print_machine()
    if options.steps:
        print_steps(options.steps, options.runs)
        return
    precisions: list[Precision] = ["float32", "bfloat16"] if cpu_has_bfloat16() else ["float32"]
    limits = {precision: measure_matrix_rate(precision) for precision in precisions}
    for precision, limit in limits.items():
        print(f"matrix rate, {precision}: {limit / 1e9:.0f} Gflop/s in one thread")
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (options.images, 3, 84, 84), dtype=np.uint8)
    rows = []
    for architecture in list_encoders():
        model, operations = make_model(architecture), count_operations(architecture)
        ways = {f"torch, {p}": _make_ready(model, p).encode for p in precisions}
        ways["onnxruntime, float32"] = to_onnx(model).encoder.encode
        for name, encode in ways.items():
            timing = measure_encoder(encode, pixels, options.runs)
            share = timing.rate * operations / limits[name.partition(", ")[2]]
            gmac = f"{operations / 2e9:.2f} GMAC"
            rows.append((architecture, gmac, name, str(timing), f"{share:.0%} of the limit"))
    print_rows(f"\nencoding batches of {BATCH}, one thread, processor time", rows)


def _make_ready(model: Any, precision: Precision) -> ReadyEncoder:
    return ReadyEncoder(model.encoder, model.preprocessing, torch.device("cpu"), precision)


if __name__ == "__main__":
    main()
