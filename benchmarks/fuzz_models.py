"""Break a model, its ONNX export, a head and the manifest in 3,000 ways each, and read them.

    python benchmarks/fuzz_models.py [--count 3000] [--seed 0]

Counted is how each mutant ends: read, or refused by one of galmorph's own errors. Any other
exception, a message of several lines, a model with numbers that are not finite, and more than 5 s
break the promise; a crash or a hang ends this script.
"""

from __future__ import annotations

import argparse
import collections
import random
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

SLOW_S = 5.0
GIVE_UP_S = 60


def list_kinds(
    folder: Path,
) -> dict[str, tuple[str, Callable[..., bytes], Any, Callable[..., Any]]]:
    """File name, way to break it, whole content and reader of each kind."""
    from inference_model import make_model
    from model_mutants import mutate_manifest, mutate_stored
    from mutants import mutate

    from galmorph.inference.onnx_file import write_onnx
    from galmorph.model import read_heads, read_model, write_heads, write_model
    from galmorph.weights.manifest import load_manifest, manifest_path

    model = make_model()
    write_model(folder / "m.safetensors", model)
    write_heads(folder / "h.safetensors", model.heads, model="m", signature=(0.5,) * 16)
    write_onnx(folder / "m.onnx", model)
    whole, head, graph = (
        (folder / n).read_bytes() for n in ("m.safetensors", "h.safetensors", "m.onnx")
    )
    text = manifest_path().read_text(encoding="utf-8")
    return {
        "model": ("m.safetensors", mutate_stored, whole, read_model),
        "head": ("h.safetensors", mutate_stored, head, read_heads),
        "onnx": ("m.onnx", mutate, graph, read_model),
        "manifest": ("m.json", mutate_manifest, text, load_manifest),
    }


def find_end(read: Callable[..., Any], path: Path) -> str:
    """How one mutant ends; what breaks the promise begins with BROKEN."""
    import numpy as np

    from galmorph.errors import GalmorphError

    try:
        found = read(path)
    except GalmorphError as error:
        said = str(error)
        return type(error).__name__ if said and "\n" not in said else f"BROKEN message {said!r}"
    except Exception as error:
        return f"BROKEN {type(error).__name__}: {str(error)[:200]}"
    state = getattr(getattr(found, "encoder", None), "state_dict", dict)()
    finite = all(bool(np.isfinite(value.numpy()).all()) for value in state.values())
    return "read" if finite else "BROKEN not finite"


def main() -> int:
    """Run and print the account; the exit status is 1 where a promise was broken."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    broken = 0
    with tempfile.TemporaryDirectory() as name:
        for kind, (file, spoil, whole, read) in list_kinds(Path(name)).items():
            rng, ends = random.Random(options.seed), collections.Counter[str]()
            slowest, path = 0.0, Path(name) / file
            for _ in range(options.count):
                path.write_bytes(spoil(whole, rng))
                signal.alarm(GIVE_UP_S)
                began = time.perf_counter()
                ends[find_end(read, path)] += 1
                slowest = max(slowest, time.perf_counter() - began)
            signal.alarm(0)
            bad = sum(n for end, n in ends.items() if end.startswith("BROKEN"))
            broken += bad + (slowest > SLOW_S)
            print(
                f"{kind}: {options.count} mutants, slowest {slowest:.2f} s, broken {bad}",
                flush=True,
            )
            for end, number in ends.most_common():
                print(f"  {number:6d}  {end}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"highest memory: {peak:.0f} MB; promises broken: {broken}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
