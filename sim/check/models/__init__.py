"""What a history can be checked against: sequential objects, one a file.

`find` knows those of `MODELS` by name, and one's own by `path.py:Class`.
"""

from __future__ import annotations

import importlib.util
import inspect
from pathlib import Path

from sim.check.models.counter import Counter
from sim.check.models.kv import KeyValue
from sim.check.models.lock import Lock
from sim.check.models.model import ILLEGAL, Action, Hints, Model, State
from sim.check.models.queue import Queue
from sim.check.models.register import CasRegister, Register
from sim.check.models.sets import Set
from sim.check.operations import Unusable

__all__ = ["ILLEGAL", "MODELS", "Action", "Hints", "Model", "ModelError", "State", "find"]

MODELS: dict[str, type[Model]] = {
    model.name: model for model in (Register, CasRegister, KeyValue, Set, Queue, Lock, Counter)
}


class ModelError(Unusable):
    """There is no such model; the text says which there are."""


def find(name: str) -> type[Model]:
    """Returns a model by its name, or one of the user's own by `path.py:Class`.

    Raises:
        ModelError: there is none.
    """
    if name in MODELS:
        return MODELS[name]
    path, colon, attribute = name.rpartition(":")
    if not colon or not path.endswith(".py"):
        raise ModelError(
            f"there is no model {name!r}; there are: {', '.join(MODELS)}; or one of your own: path.py:Class"
        )
    if not Path(path).is_file():
        raise ModelError(f"model {name}: there is no file {path}")
    spec = importlib.util.spec_from_file_location(f"dsim_model_{Path(path).stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as exc:  # whatever is wrong with a user's file
        raise ModelError(f"model {name}: the file cannot be loaded: {type(exc).__name__}: {exc}") from exc
    found = getattr(module, attribute, None)
    if not (isinstance(found, type) and issubclass(found, Model)):
        raise ModelError(f"model {name}: {path} defines no Model of the name {attribute}")
    if inspect.isabstract(found):
        raise ModelError(
            f"model {name}: {attribute} does not say what a step does: define step(state, action)"
        )
    return found
