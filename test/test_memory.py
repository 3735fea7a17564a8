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
