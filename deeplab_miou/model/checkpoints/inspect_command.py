"""``deeplab-miou inspect``: shows what a checkpoint holds."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deeplab_miou.text import printable

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from deeplab_miou.model.checkpoints.checkpoint import Checkpoint


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the subcommand's arguments."""
    parser.add_argument(
        "file", type=Path, metavar="FILE", help="checkpoint of any supported kind, or a rosbag2"
    )
    parser.add_argument(
        "--run",
        action="store_true",
        dest="run_program",
        help="load and run a program (TorchScript, torch.export, ONNX) to find out what it "
        "returns; only for files you trust",
    )
    parser.add_argument(
        "--format",
        choices=("text", "json"),
        default="text",
        help="what to print (default: %(default)s)",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print what a checkpoint is.

    Raises:
        ConfigurationError: it cannot be read.
    """
    from deeplab_miou.model.checkpoints import load as checkpoints  # noqa: PLC0415  (--help needs no torch)
    from deeplab_miou.model.checkpoints.weights import sniff  # noqa: PLC0415

    digest = checkpoints.file_digest(arguments.file)
    kind = sniff(arguments.file)
    if checkpoints.is_program(kind) and not arguments.run_program:
        facts = {
            "file": str(arguments.file),
            "sha256": digest,
            "family": kind,
            "note": "a program, which was not run; add --run to find out what it returns",
        }
    else:
        facts = _facts(checkpoints.load(arguments.file))
    print_facts(facts, arguments.format)
    return 0


def print_facts(facts: Mapping[str, object], form: str) -> None:
    """Print facts as text or, where the form says so, as JSON."""
    if form == "json":
        sys.stdout.write(json.dumps(facts, indent=2) + "\n")
        return
    for name, value in facts.items():
        if isinstance(value, dict):
            sys.stdout.write(f"{printable(name)}:\n")
            for key, part in value.items():
                sys.stdout.write(f"  {printable(str(key))}: {printable(_text(part))}\n")
        else:
            sys.stdout.write(f"{printable(name)}: {printable(_text(value))}\n")


def _facts(checkpoint: Checkpoint) -> dict[str, Any]:
    architecture = getattr(checkpoint.network, "architecture", None)
    label_map = checkpoint.label_map
    return {
        "file": str(checkpoint.path),
        "sha256": checkpoint.digest,
        "family": checkpoint.family,
        "classes": checkpoint.num_classes or None,
        "output": checkpoint.output,
        "output_stride": checkpoint.output_stride or None,
        "parameters": sum(p.numel() for p in checkpoint.network.parameters()) or None,
        "label_map": None if label_map is None else label_map.name,
        "class_names": None if label_map is None else list(label_map.class_names),
        "preprocessing": checkpoint.preprocessing.to_dict(),
        "architecture": None if architecture is None else architecture.to_dict(),
        "provenance": dict(checkpoint.provenance),
    }


def _text(value: object) -> str:
    if value is None:
        return "not in the file"
    if isinstance(value, (list, tuple)):
        return ", ".join(str(part) for part in value) or "none"
    return json.dumps(value) if isinstance(value, dict) else str(value)
