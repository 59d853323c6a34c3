"""The processor: what it can do, and what its kind is called."""

import platform
from pathlib import Path

import torch


def cpu_flags() -> frozenset[str]:
    """What Linux says the processor can do; nothing elsewhere."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="ignore")
    except OSError:
        return frozenset()
    lines = (line.partition(":") for line in text.splitlines())
    return next((frozenset(words.split()) for name, _, words in lines if name.strip() == "flags"), frozenset())


def processor_kind(device: torch.device) -> str:
    """The instructions that networks run with, such as `AVX2` or `AVX512-BF16+AMX`; a GPU's name."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    vectors = torch.backends.cpu.get_cpu_capability()
    if vectors == "DEFAULT":
        return platform.machine()
    flags = cpu_flags()
    return vectors + ("-BF16" if "avx512_bf16" in flags else "") + ("+AMX" if "amx_bf16" in flags else "")
