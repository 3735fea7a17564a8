"""Which device and precision a network runs on, with a clear error if one is not available."""

from __future__ import annotations

import logging
import re
from typing import Literal, cast, get_args

import torch

from deeplab_miou.errors import ConfigurationError

Precision = Literal["fp32", "bf16", "fp16"]

_logger = logging.getLogger(__name__)


def pick_device(name: str) -> torch.device:
    """Return the device that a parameter names.

    Args:
        name: ``auto`` (the first GPU, else the CPU), ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        ConfigurationError: the name is none of these, or there is no such device.
    """
    if name == "auto":
        return torch.device("cuda:0") if torch.cuda.is_available() else torch.device("cpu")
    if name == "cpu":
        return torch.device("cpu")
    match = re.fullmatch(r"cuda(?::(\d+))?", name)
    if match is None:
        raise ConfigurationError(f"device is {name!r}, expected auto, cpu, cuda or cuda:N")
    if not torch.cuda.is_available():
        raise ConfigurationError(f"device {name!r}: {_why_no_cuda()}; use device cpu or auto")
    index, count = int(match[1] or 0), torch.cuda.device_count()
    if index >= count:
        raise ConfigurationError(
            f"device {name!r} does not exist: this machine has {count}, cuda:0 to cuda:{count - 1}"
        )
    return torch.device("cuda", index)


def pick_precision(name: str, device: torch.device) -> Precision:
    """Return the precision that a parameter names, on a device.

    Args:
        name: ``auto``, ``fp32``, ``bf16`` or ``fp16``. ``auto`` is fp32 on a CPU, where halves
            are emulated at a tenth of the speed, and fp16 on a GPU, whose longer mantissa keeps
            the labels of more pixels than bf16; warm-up falls back to fp32 where it does not.
        device: where the network is to run.

    Raises:
        ConfigurationError: the name is none of these, or the device does not have it.
    """
    choices = get_args(Precision)
    if name != "auto" and name not in choices:
        raise ConfigurationError(
            f"precision is {name!r}, expected auto, {', '.join(choices[:-1])} or {choices[-1]}"
        )
    if device.type == "cpu":
        if name in ("auto", "fp32"):
            return "fp32"
        raise ConfigurationError(f"precision {name!r} needs a GPU; use fp32 or auto on the CPU")
    bf16 = torch.cuda.get_device_capability(device) >= (8, 0)
    if name == "bf16" and not bf16:
        raise ConfigurationError(
            f"precision 'bf16': {torch.cuda.get_device_name(device)} has no bf16 units; use fp16"
        )
    if name == "auto":
        return "fp16"
    return cast("Precision", name)


def memory_facts(device: str) -> dict[str, str]:
    """Return how full a GPU's memory is, for people; nothing for a CPU.

    Args:
        device: ``cpu`` or ``cuda:N``.
    """
    if not device.startswith("cuda"):
        return {}
    free, total = torch.cuda.mem_get_info(device)
    return {
        "GPU": torch.cuda.get_device_name(device),
        "GPU memory of this process (MiB)": f"{torch.cuda.memory_reserved(device) / 2**20:.0f}",
        "GPU memory in use (MiB)": f"{(total - free) / 2**20:.0f} of {total / 2**20:.0f}",
    }


def set_threads(threads: int | None) -> None:
    """Limit the CPU threads of the process's networks; None leaves them as they are.

    Raises:
        ConfigurationError: less than one thread.
    """
    if threads is None:
        return
    if threads < 1:
        raise ConfigurationError(f"threads is {threads}, expected 1 or more")
    torch.set_num_threads(threads)


def _why_no_cuda() -> str:
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
    except (RuntimeError, AssertionError) as error:
        # "driver too old" and "not compiled with CUDA" both say so in their first sentence.
        return str(error).strip().splitlines()[0].rstrip(".")
    return "CUDA is not available"


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that there was not enough memory."""
    text = str(error)
    return (
        isinstance(error, torch.OutOfMemoryError)
        or "CUDA error: out of memory" in text  # pinned memory
        or "STATUS_ALLOC_FAILED" in text  # cuBLAS and cuDNN
    )
