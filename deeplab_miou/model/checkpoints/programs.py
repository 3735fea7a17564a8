"""Networks stored as programs: TorchScript, torch.export and ONNX files, run unchanged.

Such a file decides what is computed: load only files that you trust.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from deeplab_miou.errors import ConfigurationError
from deeplab_miou.model.checkpoints.checkpoint import Checkpoint, Preprocessing
from deeplab_miou.model.checkpoints.program_files import CHANNELS, READERS
from deeplab_miou.model.checkpoints.program_outputs import find_output

if TYPE_CHECKING:
    from pathlib import Path

    from deeplab_miou.model.checkpoints.program_files import ProgramFile
    from deeplab_miou.model.checkpoints.program_outputs import Output

_CPU = torch.device("cpu")
_PROBE = (256, 256)
_BLOCK = 16
_LEVELS = 255
_PRECISIONS = {torch.float16: "fp16", torch.bfloat16: "bf16", torch.float64: "fp64"}

_logger = logging.getLogger(__name__)


class Program(nn.Module):
    """A foreign network behind our interface.

    Args:
        file: its file.
        dtype: of the images that it is given.

    Attributes:
        output: what its output means; set before the first call of `forward`.
    """

    output: Output

    def __init__(self, file: ProgramFile, dtype: torch.dtype) -> None:
        super().__init__()
        self._file = file
        self._dtype = dtype
        self._device = _CPU
        self.run = file.open_on(_CPU)

    @property
    def takes_pixels(self) -> bool:
        """Whether it is given 0 to 255 and normalises them itself."""
        return self._dtype == torch.uint8

    @property
    def precision(self) -> str:
        """The type of the images that it takes: ``fp16``, ``bf16``, ``fp32`` or ``fp64``."""
        return _PRECISIONS.get(self._dtype, "fp32")

    def place(self, device: torch.device) -> None:
        """Open the program on a device, constants in its code included."""
        if device != self._device:
            self.run = self._file.open_on(device)
            self._device = device

    def train(self, mode: bool = True) -> Program:  # noqa: FBT001, FBT002 - as inherited
        """Leave the program in the mode that it was exported in."""
        self.training = mode
        return self

    def returned(self, image: Tensor) -> object:
        """Return whatever the program makes of one image ``(1, 3, H, W)`` float32.

        Raises:
            RuntimeError: whatever the program's own runtime raised.
        """
        if self.takes_pixels:
            image = (image * _LEVELS).round().clamp(0, _LEVELS)
        image = image.to(self._dtype)
        if self._file.channels_last:
            image = image.permute(0, 2, 3, 1)
        try:
            return self.run(image.contiguous())
        except RuntimeError:
            raise
        except Exception as error:
            # ONNX Runtime's errors are of no common class, the guards of exports are assertions.
            raise RuntimeError(f"{type(error).__name__}: {error}") from error

    def forward(self, images: Tensor) -> Tensor:
        """Map ``(N, 3, H, W)``, one image at a time.

        Returns:
            Logits ``(N, n, h, w)`` float32, or label maps ``(N, 1, h, w)`` uint8.

        Raises:
            RuntimeError: the program failed, or its output is not what it was on the probe.
        """
        size = (images.shape[2], images.shape[3])
        return torch.cat(
            [self.output(self.returned(image), size) for image in torch.split(images, 1)]
        )


def read(path: Path, kind: str, preprocessing: Preprocessing, *, normalises: bool) -> Checkpoint:
    """Load a program and run it once to learn what it puts out.

    Args:
        path: the file.
        kind: a key of `deeplab_miou.model.checkpoints.program_files.READERS`.
        preprocessing: what its images need; its size is set to the program's own where that is
            fixed.
        normalises: whether mean or std are the user's own.

    Raises:
        ConfigurationError: the file is damaged, is not a segmentation network for three channels,
            or needs a package that is not installed.
    """
    try:
        file = READERS[kind](path)
    except ConfigurationError:
        raise
    except Exception as error:
        # Each format's reader has errors of its own, some of them without a class.
        reason = str(error).strip().partition("\n")[0]
        raise ConfigurationError(
            f"checkpoint {path}: damaged {kind} file, or one of an unknown version ({reason})"
        ) from error
    try:
        file.check()
        preprocessing = _fitting(file, preprocessing, normalises=normalises)
        program = _probe(file, preprocessing)
    except ConfigurationError as error:
        raise ConfigurationError(f"checkpoint {path}: {kind} file: {error}") from error
    output = program.output
    if output.others:
        _logger.warning(
            "checkpoint %s: output %s is scored, %s is not",
            path,
            output.name or "0",
            ", ".join(output.others),
        )
    return Checkpoint(
        network=program.eval(),
        family=kind,
        num_classes=0 if output.kind == "label map" else output.channels,
        output_stride=0,
        preprocessing=preprocessing,
        label_map=None,
        path=path,
        output=output.kind,
    )


def _fitting(file: ProgramFile, wanted: Preprocessing, *, normalises: bool) -> Preprocessing:
    """Return what a program's images need, where its input says so.

    Raises:
        ConfigurationError: the user wants something else.
    """
    if file.dtypes[0] == torch.uint8:
        if normalises:
            raise ConfigurationError(
                "it takes pixels as uint8 and normalises them itself: mean and std cannot be set"
            )
        wanted = Preprocessing((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), wanted.size, wanted.channel_order)
    if file.size is None:
        return wanted
    if wanted.size not in (None, file.size):
        (height, width), (rows, columns) = wanted.size, file.size
        raise ConfigurationError(
            f"it takes images of {columns}x{rows} pixels only, but the input size is set to "
            f"{width}x{height}; leave it unset, or export the network for that size"
        )
    return Preprocessing(wanted.mean, wanted.std, file.size, wanted.channel_order)


def _probe(file: ProgramFile, preprocessing: Preprocessing) -> Program:
    """Run a program on a made-up image, and learn from it what it takes and puts out.

    Raises:
        ConfigurationError: it fails, or its output is not a prediction.
    """
    height, width = size = preprocessing.size or _PROBE
    generator = torch.Generator().manual_seed(0)
    blocks = (1, CHANNELS, -(-height // _BLOCK), -(-width // _BLOCK))
    # A quarter each of black and of white, where outputs go to their extremes.
    pixels = (2 * torch.rand(blocks, generator=generator) - 0.5).clamp(0, 1)
    pixels = pixels.repeat_interleave(_BLOCK, 2).repeat_interleave(_BLOCK, 3)
    mean, std = (
        torch.tensor(values).view(1, -1, 1, 1) for values in (preprocessing.mean, preprocessing.std)
    )
    image = (pixels[..., :height, :width] - mean) / std
    failures = []
    for dtype in file.dtypes:
        program = Program(file, dtype)
        try:
            with torch.inference_mode():
                returned = program.returned(image)
        except RuntimeError as error:
            lines = [line for line in str(error).splitlines() if line.strip()]
            failures.append(lines[-1].strip() if lines else type(error).__name__)
            continue
        program.output = find_output(returned, size)
        return program
    hint = "; if it takes images of one size only, state it with --input-size (input_size)"
    raise ConfigurationError(
        f"the network fails on a (1, 3, {height}, {width}) image: {failures[0]}"
        + ("" if file.size else hint)
    )
