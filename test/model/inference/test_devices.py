from __future__ import annotations

import torch

from deeplab_miou.model.inference import devices


def test_a_cpu_has_no_memory_to_tell_of():
    assert devices.memory_facts("cpu") == {}


def test_a_gpus_memory_is_told_in_mebibytes(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (3 << 30, 8 << 30))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 512 << 20)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "GPU")
    assert devices.memory_facts("cuda:0") == {
        "GPU": "GPU",
        "GPU memory of this process (MiB)": "512",
        "GPU memory in use (MiB)": "5120 of 8192",
    }
