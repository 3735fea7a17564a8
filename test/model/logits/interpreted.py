"""Runs Triton's kernel on the CPU, in a process that TRITON_INTERPRET=1 was set for.

python interpreted.py CASES RESULTS
"""

import sys

import torch

from deeplab_miou.model.logits.counting import add_counts, cells
from deeplab_miou.model.logits.fused import count_fused


def main(cases, results):
    torch.set_num_threads(1)
    found = []
    for case in torch.load(cases):
        logits, truth = case.pop("logits"), case.pop("truth")
        images, n = len(truth), case["num_classes"]
        labels = torch.full(truth.shape, 99, dtype=torch.uint8)
        tables = torch.full((images, cells(n)), 1 << 40)
        total = torch.zeros(1, cells(n), dtype=torch.int64)
        for out, wanted in ((tables, labels), (total.expand(images, -1), None)):
            add_counts(logits, truth, out, labels=wanted, method=count_fused, **case)
        found.append({"tables": tables - (1 << 40), "total": total[0], "labels": labels})
    torch.save(found, results)


if __name__ == "__main__":
    main(*sys.argv[1:])
