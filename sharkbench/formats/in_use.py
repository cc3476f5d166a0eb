"""Which kernel serves each format here."""

from __future__ import annotations

from sharkbench.formats import gpu, kernels
from sharkbench.formats.base import Format
from sharkbench.formats.registry import formats


def kernels_in_use(device: str = "cpu") -> dict[str, str]:
    """Format kind to the kernel that serves it on this machine's ``"cpu"`` or its ``"cuda"`` device.

    Some tables of such a kind may have no kernel: these are served in plain torch.
    """
    if device == "cpu":
        name, described = kernels.compiled.in_use() if kernels.compiled is not None else "torch", "programs"
    else:
        name, described = "triton" if gpu.usable() else "torch", "launches"
    return {
        kind: name if getattr(format_class, described) is not getattr(Format, described) else "torch"
        for kind, format_class in formats().items()
    }
