"""Package metadata; tool configuration lives in pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).parent
version = re.search(
    r'^__version__ = "([^"]+)"', (here / "skarm/__init__.py").read_text(), re.MULTILINE
).group(1)

plot = ["matplotlib>=3.8"]
parquet = ["pandas>=2.2", "pyarrow>=15"]
skactiveml = ["scikit-activeml>=1.0"]
trl = ["trl>=1.16"]
docs = [
    *plot,
    *parquet,
    "sphinx>=8.1",
    "sphinx-gallery>=0.19",
    "numpydoc>=1.9",
    "pydata-sphinx-theme>=0.16",
]
# What the benchmarks and the tests hold skarm against.
peers = [*skactiveml, "botorch>=0.12", "choix>=0.3", "evalica>=0.3"]
test = [
    *plot,
    *parquet,
    *trl,
    *peers,
    "pytest>=8",
    "hypothesis>=6.100",
    "modAL-python>=0.4.2",
    "skops>=0.11",
]

setup(
    name="skarm",
    version=version,
    description="Choose which LLM responses people should compare next, and fit a "
    "Bradley-Terry reward model on their answers, the scikit-learn way.",
    long_description=(here / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="BSD-3-Clause",
    author="The skarm developers",
    packages=find_packages(include=["skarm", "skarm.*"]),
    package_data={"skarm": ["py.typed"], "skarm.datasets": ["data/*"]},
    python_requires=">=3.11",
    install_requires=[
        "numpy>=1.26",
        "scipy>=1.13",
        "scikit-learn>=1.6",
        "torch>=2.4",
        "sentence-transformers>=5.0",
        "threadpoolctl>=3.1",  # scikit-learn requires it, too
    ],
    extras_require={
        "plot": plot,
        "parquet": parquet,
        "skactiveml": skactiveml,
        "trl": trl,
        "docs": docs,
        "bench": [*plot, *peers],
        "test": test,
        "dev": [*test, *docs, "ruff>=0.8", "build"],
    },
    classifiers=[
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
