import os
import platform
import subprocess
import sys

import pytest

USE = """
import resource
from deeplab_miou.memory import keep_freed_memory, release_freed_memory

def faults(rounds):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(rounds):
        block = bytearray(6_000_000)
        del block
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

keep_freed_memory()
faults(2)
print(faults(20), resident())
release_freed_memory()
print(faults(0), resident())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="settings of glibc")
@pytest.mark.parametrize("variable", ["", "MALLOC_TRIM_THRESHOLD_"])
def test_pages_of_freed_messages_are_used_again(variable):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC", "GLIBC"))}
    if variable:
        environment[variable] = "131072"
    output = subprocess.run(
        [sys.executable, "-c", USE], env=environment, check=True, capture_output=True, text=True
    ).stdout
    (faults, kept), (_, left) = (map(int, line.split()) for line in output.splitlines())
    if variable:
        assert faults > 20 * 1000  # what the environment says stands
    else:
        assert faults < 1000
        assert kept - left > 5_000_000


HEAPS = """
import re, threading
from pathlib import Path
from deeplab_miou.memory import share_one_heap

share_one_heap()
held, all_there, checked = [], threading.Barrier(5), threading.Event()

def take():
    held.append([bytearray(1000) for _ in range(1000)])
    all_there.wait()
    checked.wait()

for _ in range(4):
    threading.Thread(target=take, daemon=True).start()
all_there.wait()
# Heaps of threads lie at multiples of 64 MiB, followed by what is reserved for them.
maps = [line.split() for line in Path("/proc/self/maps").read_text().splitlines()]
starts = [int(line[0].partition("-")[0], 16) for line in maps if line[1] == "rw-p" and len(line) == 5]
print(sum(start % (64 << 20) == 0 for start in starts))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="settings of glibc")
@pytest.mark.parametrize(("variable", "shared"), [("", True), ("MALLOC_ARENA_MAX", False)])
def test_threads_share_a_heap(variable, shared):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC", "GLIBC"))}
    if variable:
        environment[variable] = "8"
    output = subprocess.run(
        [sys.executable, "-c", HEAPS], env=environment, check=True, capture_output=True, text=True
    ).stdout
    assert (int(output) == 0) == shared
