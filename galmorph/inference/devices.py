"""Devices and precisions: what there is, what is chosen, and why."""

from typing import Literal

import torch

from galmorph.errors import DeviceError
from galmorph.inference.cores import count_cores

Precision = Literal["float32", "bfloat16", "float16"]
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16", "float16")
DEVICES = ("auto", "cpu", "cuda", "mps")


def explain_devices() -> dict[str, str]:
    """Each device with "available" or the reason why it is not used."""
    reasons = {"cpu": f"available: {count_cores()} cores"}
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        reasons["cuda"] = f"available: {', '.join(names)}"
    elif torch.version.cuda is None:
        reasons["cuda"] = "not available: this build of torch is without CUDA"
    else:
        reasons["cuda"] = (
            f"not available: torch is built for CUDA {torch.version.cuda}, but finds no NVIDIA "
            "GPU or no driver (see nvidia-smi)"
        )
    mps = torch.backends.mps
    if mps.is_available():
        reasons["mps"] = "available"
    else:
        built = "no Apple GPU here" if mps.is_built() else "this build of torch is without Metal"
        reasons["mps"] = f"not available: {built}"
    return reasons


def choose_device(name: str = "auto") -> torch.device:
    """A device by its name as torch has it; "auto" is the first of cuda, mps and cpu that is there.

    A DeviceError says why it is not there.
    """
    name = str(name)  # a torch.device says its name
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
        if name == "cpu" and torch.backends.mps.is_available():
            name = "mps"
    kind, _, number = name.partition(":")
    reason = explain_devices().get(kind)
    if reason is None or (number and not number.isdigit()):
        raise DeviceError(f"no device {name!r}; there are {', '.join(DEVICES)} and cuda:N")
    if not reason.startswith("available"):
        raise DeviceError(f"device {name!r} is {reason}; --device cpu works everywhere")
    if kind == "cuda" and number and int(number) >= torch.cuda.device_count():
        raise DeviceError(f"there is no {name}; there are {torch.cuda.device_count()} GPUs")
    return torch.device(name)


def cpu_has_bfloat16() -> bool:
    """Whether matrix products in bfloat16 are an instruction of this processor."""
    capability = getattr(torch.backends.cpu, "get_cpu_capability", lambda: "")()
    if "AVX512" not in capability and "AMX" not in capability:
        return False
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    amx = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return bool((supported and supported()) or (amx and amx()))


def choose_precision(name: str | None, device: torch.device) -> Precision:
    """A precision by its name; None or "auto" is the best of the device.

    bfloat16 where the processor or GPU multiplies in it, else float32; docs/performance.md has
    what that changes and what it gains.
    """
    if name in (None, "auto"):
        if device.type == "cpu":
            return "bfloat16" if cpu_has_bfloat16() else "float32"
        if device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0):
            return "bfloat16"
        return "float32"
    for precision in PRECISIONS:
        if name == precision:
            return precision
    raise ValueError(f"precision is one of {', '.join(PRECISIONS)}, not {name!r}")
