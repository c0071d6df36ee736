"""The event loop of the simulated world: asyncio on a `simpy.Environment`.

SimPy holds virtual time and the queue of what happens later; this loop holds what is ready now.
A turn of it runs everything that is ready, then lets SimPy step to its next event, which may be
a timer of asyncio's, the arrival of a message, or a step of any SimPy process. So there is one
queue of the future, and hardware written in plain SimPy works beside services written in plain
asyncio.

Virtual time is an integer number of nanoseconds (`env.now`): sums of delays are exact, so ties
are ties on every machine. `loop.time()` is the same in seconds.

Everything that asyncio leaves to chance is fixed here: sets of tasks and futures iterate in
order of first use (`Task.__hash__`), and garbage is collected at fixed points of virtual history,
so that finalizers run at the same moment in every replay.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import math
import sys
from collections import deque
from contextvars import Context, copy_context
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, NoReturn
from weakref import WeakKeyDictionary

from sim.world.process import PROCESS, Process
from sim.world.reality import guarded
from sim.world.stuck import Deadlock, Spinning, VirtualTimeLimit, callback_place, report
from sim.world.system import SystemMethods
from sim.world.tasks import Future, Task, label_of
from sim.world.timers import (
    DISCARDED,
    FIRE,
    NORMAL,
    SECOND,
    Delivery,
    Handle,
    Timer,
    VirtualTime,
    nanoseconds,
)

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable

__all__ = [
    "DISCARDED",
    "SECOND",
    "Future",
    "Handle",
    "Loop",
    "Task",
    "Timer",
    "VirtualTime",
    "nanoseconds",
    "new_event_loop",
]

_EAGER: Any = getattr(asyncio, "eager_task_factory", None)  # Python 3.12
_SPIN_LIMIT = 1_000_000  # callbacks run at one instant before the run is called stuck
_GC_EVERY = 200_000  # moments between two collections of cyclic garbage
_FULL_GC_EVERY = 8  # the others look only at what has been made since the one before: the rest may be large


class Loop(SystemMethods):
    """An `asyncio` event loop whose clock and timers are SimPy's.

    Args:
        interleave: when given, chooses which ready task runs first; otherwise they run in order.
        limit: virtual nanoseconds after which the run is ended with `VirtualTimeLimit`.

    Raises (from `run_until_complete` and `run_forever`):
        Deadlock: nothing can ever happen again, and what is waited for has not.
        VirtualTimeLimit: the limit was reached.
        Spinning: a million callbacks ran without time advancing.
    """

    def __init__(self, interleave: random.Random | None = None, limit: int | None = None) -> None:
        super().__init__()
        self.env = VirtualTime()
        self.limit = limit
        self.orders = itertools.count()
        self.turns = 0  # callbacks run so far: a watchdog can see that the loop is alive
        self._closing = False
        self._interleave = interleave
        self._soon: deque[Handle | Timer] = deque()
        self._ready = self._soon  # by asyncio's name for it, which debuggers and test helpers look at
        self._task_numbers = itertools.count(1)
        self._generators: WeakKeyDictionary[AsyncGenerator[Any, Any], Process | None] = WeakKeyDictionary()
        self._until_gc = _GC_EVERY
        self._collections = 0

    # Time and callbacks

    def time(self) -> float:
        """Returns virtual time in seconds."""
        return self.env._now / SECOND

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Handle:
        """Runs `callback` at this same instant, after what is ready already."""
        handle = Handle(callback, args, copy_context() if context is None else context)
        self._soon.append(handle)
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]
    # There is one thread; a signal handler may call it between two callbacks, which is safe.

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Timer:
        """Runs `callback` after `delay` virtual seconds."""
        if context is None:
            context = copy_context()
        env = self.env
        at = env._now
        if delay > 0:
            if delay == math.inf:
                return Timer(callback, args, context, self, at, None)  # never
            at += round(delay * SECOND) or 1
        timer = Timer(callback, args, context, self, at, FIRE)
        heappush(env._queue, (at, NORMAL, next(env._eid), timer))  # env.push, inlined: the hottest line
        return timer

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Timer:
        """Runs `callback` when `time()` reaches `when`; what is yet to come is at least a nanosecond away."""
        if when is None:
            raise TypeError("when cannot be None")
        env = self.env
        never = when == math.inf
        at = env._now
        if not never:
            at = max(at + (when > self.time()), math.ceil(when * SECOND - 0.5))
        if context is None:
            context = copy_context()
        timer = Timer(callback, args, context, self, at, None if never else FIRE)
        if not never:
            env.push(at, timer)
        return timer

    # Tasks and futures

    def create_future(self) -> asyncio.Future[Any]:
        """Returns a future of this loop."""
        return Future(loop=self)

    def create_task(  # type: ignore[override]
        self,
        coro: Coroutine[Any, Any, Any],
        *,
        name: str | None = None,
        context: Context | None = None,
        **more: Any,
    ) -> asyncio.Task[Any]:
        """Starts a coroutine as a task of the process that calls."""
        self._check_closed()  # type: ignore[attr-defined]
        process = PROCESS.get(None)
        if process is None and self.home is not None:
            if context is None:
                inside = copy_context()
                inside.run(PROCESS.set, self.home)
                return inside.run(self.create_task, coro, name=name, **more)
            process = self.home
        if context is not None:
            if PROCESS in context:
                process = context[PROCESS]
            elif process is not None:
                context.run(PROCESS.set, process)
        factory: Any = self.get_task_factory()
        if factory is not None and factory is _EAGER:
            more["eager_start"] = True
        elif factory is not None:
            made = (
                factory(self, coro, **more)
                if context is None
                else factory(self, coro, context=context, **more)
            )
            if name is not None:
                made.set_name(name)
            return made  # type: ignore[no-any-return]
        if name is None:
            name, label = f"Task-{next(self._task_numbers)}", label_of(asyncio.current_task(self))
        else:
            label = name
        task = Task(coro, loop=self, name=name, context=context, **more)
        task.label, task.process = label, process
        if process is not None:
            process.tasks.add(task)
        return task

    def ready(self, handles: Iterable[Handle | Timer]) -> None:
        """Makes callbacks ready that were held back (by a pause)."""
        self._soon.extend(handles)

    def bury(self, process: Process) -> list[Any]:
        """Returns all that a dead process was doing, for somebody to keep and nobody to run."""
        tasks = [task for task in process.tasks if not task.done()]
        generators = [g for g, owner in self._generators.items() if owner is process]
        return [*tasks, *(t.get_coro() for t in tasks), *generators]

    # Running

    def run_now(self, handle: Handle | Timer) -> None:
        """Runs a callback at once, unless its process is halted. For hardware events only:
        nothing else is ready while one happens, so this is `call_soon` without the queue.
        """
        callback = handle.callback
        if callback is None:
            return
        process = handle.context.get(PROCESS)
        if process is not None and process.halted:
            process.hold(handle)  # type: ignore[arg-type]
            return
        try:
            handle.context.run(callback, *handle.args)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._callback_failed(handle, exc)

    def run_forever(self) -> None:
        """Runs until `stop()`."""
        self._check_closed()  # type: ignore[attr-defined]
        self._check_running()  # type: ignore[attr-defined]
        hooks = sys.get_asyncgen_hooks()
        self._set_coroutine_origin_tracking(self.get_debug())  # type: ignore[attr-defined]
        sys.set_asyncgen_hooks(firstiter=self._generator_started, finalizer=self._generator_dropped)
        self._thread_id = 1  # BaseEventLoop.is_running()
        asyncio._set_running_loop(self)
        try:
            with guarded():
                self._run()
        finally:
            self._stopping = False
            self._thread_id = None  # type: ignore[assignment]
            asyncio._set_running_loop(None)
            self._set_coroutine_origin_tracking(False)  # type: ignore[attr-defined]
            sys.set_asyncgen_hooks(*hooks)

    def _run(self) -> None:
        soon, env, interleave = self._soon, self.env, self._interleave
        queue = env._queue
        popleft = soon.popleft
        limit = sys.maxsize if self.limit is None else self.limit
        at_this_instant = 0
        while True:
            while soon:
                batch = len(soon)
                self.turns += batch
                at_this_instant += batch
                if at_this_instant > _SPIN_LIMIT:
                    self._spinning()
                if interleave is not None:
                    self._shuffle(interleave)
                for _ in range(batch):
                    try:
                        handle = popleft()
                    except IndexError:  # an RPC that was awaited before its turn has taken itself out
                        break
                    callback = handle.callback
                    if callback is None:
                        continue
                    context = handle.context
                    process = context.get(PROCESS)
                    if process is not None and process.halted:
                        process.hold(handle)  # type: ignore[arg-type]
                        continue
                    try:
                        context.run(callback, *handle.args)
                    except (SystemExit, KeyboardInterrupt):
                        raise
                    except BaseException as exc:
                        self._callback_failed(handle, exc)
                if self._stopping:
                    return
            if self._stopping:
                return
            self._until_gc -= 1
            if self._until_gc <= 0:
                self._until_gc = _GC_EVERY
                self._collections += 1
                gc.collect(1 if self._collections % _FULL_GC_EVERY else 2)
            if not queue:
                raise Deadlock(report(self, "deadlock: nothing can ever run again"))
            item = heappop(queue)  # SimPy's step, inlined
            when, _, _, event = item
            callbacks = event.callbacks
            if callbacks is DISCARDED:
                env._called_off -= 1
                continue
            if when > env._now:
                if when > limit:
                    heappush(queue, item)
                    raise VirtualTimeLimit(
                        report(self, f"the limit of {limit / SECOND:g} s of virtual time is reached")
                    )
                at_this_instant = 0
                env._now = when
            while True:  # all that is due at this moment, and then the tasks: as asyncio's timers
                if callbacks is FIRE:  # a timer: what `_fire` and `run_now` do, without the calls
                    event.callbacks = None
                    process = event.context.get(PROCESS)
                    if process is not None and process.halted:
                        process.hold(event)
                    else:
                        try:
                            event.context.run(event.callback, *event.args)
                        except (SystemExit, KeyboardInterrupt):
                            raise
                        except BaseException as exc:
                            self._callback_failed(event, exc)
                elif callbacks is DISCARDED:
                    env._called_off -= 1
                elif type(event) is Delivery:
                    callbacks[0](event)
                else:
                    event.callbacks = None
                    for callback in callbacks:
                        callback(event)
                    if not event._ok:
                        env.check(event)
                at_this_instant += 1
                if at_this_instant > _SPIN_LIMIT:
                    self._spinning()
                if not queue or queue[0][0] != when:
                    break
                event = heappop(queue)[3]
                callbacks = event.callbacks

    def _shuffle(self, rng: random.Random) -> None:
        """Reorders the ready tasks. Plain callbacks keep their places: asyncio promises their order."""
        soon = self._soon
        places = [
            i for i, h in enumerate(soon) if isinstance(getattr(h.callback, "__self__", None), asyncio.Task)
        ]
        if len(places) > 1:
            order = places[:]
            rng.shuffle(order)
            before = list(soon)
            for place, other in zip(places, order, strict=True):
                soon[place] = before[other]

    def _spinning(self) -> NoReturn:
        """Says who is ready most often: a task, or else the callbacks that call each other."""
        counts: dict[Any, int] = {}
        callbacks: dict[str, None] = {}
        for handle in self._soon:
            task = getattr(handle.callback, "__self__", None)
            if isinstance(task, asyncio.Task):
                counts[task] = counts.get(task, 0) + 1
            elif handle.callback is not None:
                callbacks[callback_place(handle)] = None
        busiest = max(counts, key=lambda task: counts[task], default=None)
        headline = f"{_SPIN_LIMIT:,} callbacks ran at one instant and time does not advance: something spins"
        if busiest is None:
            headline = "\n".join([headline, *list(callbacks)[:10]])
        raise Spinning(report(self, headline, [busiest] if busiest is not None else []))

    def _callback_failed(self, handle: Handle | Timer, exc: BaseException) -> None:
        told = {"message": f"Exception in callback {handle.callback!r}", "exception": exc, "handle": handle}
        self.call_exception_handler(told)

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """Logs what went wrong, in the name of the process that it happened in."""
        thing: Any = context.get("task") or context.get("future") or context.get("handle")
        if PROCESS.get(None) is None and hasattr(thing, "get_context"):
            inside: Context = thing.get_context().copy()
            inside.run(super().default_exception_handler, context)
        else:
            super().default_exception_handler(context)

    # Asynchronous generators belong to the process that first iterated them

    def _generator_started(self, generator: AsyncGenerator[Any, Any]) -> None:
        self._generators[generator] = PROCESS.get(None)
        self._asyncgen_firstiter_hook(generator)  # type: ignore[attr-defined]

    def _generator_dropped(self, generator: AsyncGenerator[Any, Any]) -> None:
        self._asyncgens.discard(generator)  # type: ignore[attr-defined]
        if not self.is_closed():
            process = self._generators.get(generator)
            context = process.context.copy() if process is not None else None
            self.create_task(generator.aclose(), context=context)

    async def shutdown_asyncgens(self) -> None:
        """Closes the asynchronous generators that are suspended, in the order of their first use."""
        self._asyncgens_shutdown_called = True
        suspended = [generator for generator in self._generators if generator in self._asyncgens]  # type: ignore[attr-defined]
        self._asyncgens.clear()  # type: ignore[attr-defined]
        results = await asyncio.gather(*(g.aclose() for g in suspended), return_exceptions=True)
        for generator, result in zip(suspended, results, strict=True):
            if isinstance(result, Exception):
                self.call_exception_handler(
                    {
                        "message": f"an error occurred while closing asynchronous generator {generator!r}",
                        "exception": result,
                        "asyncgen": generator,
                    }
                )

    def close(self) -> None:
        """Closes the loop; what was still to happen never does."""
        if self.is_running():
            raise RuntimeError("Cannot close a running event loop")
        if self.home is not None and self.world is not None and not self._closing:
            self._closing = True
            self.world.close()  # which closes this loop in turn
            return
        self._soon.clear()
        self.env._queue.clear()
        super().close()


def new_event_loop(seed: int = 0) -> Loop:
    """Returns a loop on a world of its own: one adopted host, `localhost`, and nobody else.

    For `asyncio.Runner(loop_factory=new_event_loop)` and for test frameworks. The tasks run on
    that host: their clocks, chance and connections are simulated, and time passes only when
    they wait.

    Args:
        seed: decides everything.
    """
    from sim.simulate import lone_loop

    return lone_loop(seed)
