"""What the metadata in pyproject.toml cannot say: which packages there are, and the compiled kernels."""

import hashlib
from glob import glob
from pathlib import Path

from setuptools import Extension, find_packages, setup

SOURCES = sorted(glob("sharkbench/formats/csrc/*"))
DIGEST = hashlib.sha256(b"".join(Path(file).read_bytes() for file in SOURCES)).hexdigest()[:16]

setup(
    # methods/ and suites/ lie at the top of the repository and are installed inside the package.
    packages=[
        *find_packages(include=["sharkbench", "sharkbench.*"]),
        "sharkbench.methods",
        *(f"sharkbench.methods.{folder}" for folder in find_packages("methods")),
        "sharkbench.suites",
    ],
    package_dir={"sharkbench.methods": "methods", "sharkbench.suites": "suites"},
    ext_modules=[
        # Optional: without a compiler the package installs all the same, and serves in plain PyTorch.
        Extension(
            "sharkbench.formats._kernels",
            sources=sorted(glob("sharkbench/formats/csrc/*.c")),
            depends=sorted(glob("sharkbench/formats/csrc/*.h")),
            # What was timed says with which kernels.
            define_macros=[("KERNEL_DIGEST", f'"{DIGEST}"')],
            # No contraction: a fused multiply-add would round differently from the plain PyTorch path.
            extra_compile_args=[
                "-O3",
                "-g0",
                "-std=gnu11",
                "-ffp-contract=off",
                "-fno-math-errno",
                "-fvisibility=hidden",
            ],
            optional=True,
        )
    ],
)
