"""The worlds of the study of label efficiency: each starts, and can be learned."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from skarm import BradleyTerryRegressor, Comparisons

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

from label_efficiency.config import WORLDS  # noqa: E402
from label_efficiency.worlds import make_world  # noqa: E402

sys.path.remove(str(BENCHMARKS))
SYNTHETIC = [w for w, s in WORLDS.items() if s["kind"] in ("synthetic", "digits")]
REAL = [name for name in WORLDS if name not in SYNTHETIC]


def check(name, folder):
    """A world of the tuning half is a law of answers, and tells models apart."""
    options = SimpleNamespace(
        features=folder / "alpacaeval_public_features.npz",
        responses=folder / "alpacaeval_public.jsonl.gz",
        data=folder,
        half="tuning",
    )
    world = make_world(WORLDS[name], 3, options)
    pairs = world.recorded
    if pairs is None:
        pool = Comparisons.all_pairs(
            world.items, groups=world.groups, scope=world.scope
        )
        pairs = pool[pool._pairs.sample(1000, np.random.RandomState(0))].pairs
    y = world.answer(pairs)
    assert len(y) and ((0 <= y) & (y <= 1)).all()
    np.testing.assert_array_equal(world.answer(pairs), y)
    model = BradleyTerryRegressor().fit(Comparisons(world.items, pairs), y)
    found = world.quality(model)
    model.coef_ = -model.coef_
    assert found > world.quality(model)
    return world


@pytest.mark.parametrize("name", SYNTHETIC)
def test_each_synthetic_world_starts_and_can_be_learned(name, tmp_path):
    check(name, tmp_path)


@pytest.mark.parametrize("name", REAL)
def test_each_world_of_real_data_starts_and_can_be_learned(name, shared_data):
    world = check(name, shared_data)
    if world.recorded is None:
        assert not np.array_equal(world.items, world.floor().items)
