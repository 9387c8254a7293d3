"""Devices and precisions: what is chosen, and what is refused with which words."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
import torch

from galmorph.errors import DeviceError
from galmorph.inference import devices
from galmorph.inference.devices import (
    choose_device,
    choose_precision,
    count_cores,
    explain_devices,
)

Hardware = Callable[..., None]


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch) -> Hardware:
    """Pretend that the machine has some GPUs, or Apple's."""

    def set_hardware(*, gpus: int = 0, mps: bool = False, capability: int = 8) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda i: f"GPU {i}")
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (capability, 0))
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return set_hardware


def test_a_device_of_torch_is_its_name() -> None:
    cpu = torch.device("cpu")
    assert choose_device(cpu) == cpu  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("hardware", "expected"),
    [
        ({}, "cpu"),
        ({"gpus": 1}, "cuda"),
        ({"mps": True}, "mps"),
        ({"gpus": 2, "mps": True}, "cuda"),
    ],
)
def test_auto_takes_the_fastest(pretend: Hardware, hardware: dict[str, int], expected: str) -> None:
    pretend(**hardware)
    assert choose_device("auto") == torch.device(expected)


def test_a_gpu_by_number(pretend: Hardware) -> None:
    pretend(gpus=2)
    assert choose_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(DeviceError, match="there is no cuda:2; there are 2 GPUs"):
        choose_device("cuda:2")


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "mps"])
def test_a_device_that_is_not_there_is_refused_with_the_reason(
    pretend: Hardware, name: str
) -> None:
    pretend()
    with pytest.raises(DeviceError, match=f"'{name}' is not available.*--device cpu works"):
        choose_device(name)


@pytest.mark.parametrize("name", ["tpu", "", "cuda:x", "cuda:all", "cuda:0,cuda:1"])
def test_an_unknown_name_is_refused(name: str) -> None:
    with pytest.raises(DeviceError, match=f"no device '{name}'; there are auto, cpu"):
        choose_device(name)


def test_every_device_is_explained(pretend: Hardware) -> None:
    pretend(gpus=1, mps=True)
    assert explain_devices() == {
        "cpu": f"available: {count_cores()} cores",
        "cuda": "available: GPU 0",
        "mps": "available",
    }
    pretend()
    assert explain_devices()["cuda"].startswith("not available: ")
    assert explain_devices()["mps"].startswith("not available: ")


def test_a_cuda_build_without_a_gpu_is_explained(
    pretend: Hardware, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend()
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    assert "built for CUDA 12.8" in explain_devices()["cuda"]
    monkeypatch.setattr(torch.version, "cuda", None)
    assert "without CUDA" in explain_devices()["cuda"]


@pytest.mark.parametrize(("has", "expected"), [(True, "bfloat16"), (False, "float32")])
def test_cpu_precision_follows_the_processor(
    monkeypatch: pytest.MonkeyPatch, has: bool, expected: str
) -> None:
    monkeypatch.setattr(devices, "cpu_has_bfloat16", lambda: has)
    for name in (None, "auto"):
        assert choose_precision(name, torch.device("cpu")) == expected
    assert choose_precision("float32", torch.device("cpu")) == "float32"


@pytest.mark.parametrize(("capability", "expected"), [(7, "float32"), (8, "bfloat16")])
def test_gpu_precision_follows_the_gpu(pretend: Hardware, capability: int, expected: str) -> None:
    pretend(gpus=1, capability=capability)
    assert choose_precision(None, torch.device("cuda")) == expected


def test_mps_stays_in_float32() -> None:
    assert choose_precision(None, torch.device("mps")) == "float32"


def test_a_processor_without_wide_registers_has_no_bfloat16(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    assert devices.cpu_has_bfloat16() is False


def test_precision_is_one_of_three() -> None:
    with pytest.raises(ValueError, match="one of float32, bfloat16, float16, not 'int8'"):
        choose_precision("int8", torch.device("cpu"))


def test_cores_are_those_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {2, 5, 7}, raising=False)
    assert count_cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    assert count_cores() == (os.cpu_count() or 1)
