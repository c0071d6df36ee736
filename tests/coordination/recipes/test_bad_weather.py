"""Recipes while servers crash and links fail; see `stories`. `hunt.py` does the same over many seeds."""

from __future__ import annotations

import pytest

from tests.coordination.client.rig import Rig
from tests.coordination.recipes.real import RealRig
from tests.coordination.recipes.stories import STORIES


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("story", STORIES)
def test_recipes_keep_their_promises_in_bad_weather(story: str, seed: int) -> None:
    Rig(3, seed=seed, interleave=seed % 2 == 1).run(STORIES[story])


@pytest.mark.parametrize("story", STORIES)
def test_recipes_keep_their_promises_on_the_real_service(story: str) -> None:
    RealRig(3, seed=3, interleave=True).run(STORIES[story])
