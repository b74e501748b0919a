"""Fixtures shared by all tests; nothing here touches the network."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from pathlib import Path

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Small problems on busy machines: torch's thread pool costs more than it gives."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def private_cache(tmp_path, monkeypatch):
    """Keep the embedding cache of a test to that test."""
    monkeypatch.setenv("SKARM_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def shared_data():
    """Folder of the real data sets kept beside the repository; skip without it."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real data sets are not beside this checkout")
    return folder
