"""The same function on many tasks, in processes that may die without taking the rest along."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from dataclasses import dataclass
from multiprocessing import connection
from pickle import PicklingError
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from aequorea.errors import InputError, RunError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.context import SpawnProcess

T = TypeVar("T")
R = TypeVar("R")
_READY = "ready"
_GRACE_S = 5.0


@dataclass(frozen=True, kw_only=True)
class Death:
    """A process ended in the middle of its task.

    Attributes
    ----------
    reason : str
    """

    reason: str


@dataclass(kw_only=True)
class _Worker(Generic[T]):
    process: SpawnProcess
    pipe: Connection
    ready: bool = False
    task: int | None = None


def each_in_processes(
    function: Callable[[T], R], tasks: Sequence[T], *, workers: int
) -> Iterator[tuple[int, R | Death]]:
    """Results as they come, with the number of their task.

    Parameters
    ----------
    function : callable
        Defined at the level of a module, so that other processes find it.
    tasks : sequence
    workers : int
        Processes; one task at a time each.

    Yields
    ------
    (int, result or Death)

    Raises
    ------
    InputError
        If ``function`` cannot be given to another process.
    RunError
        If processes do not start.

    Notes
    -----
    Leaving the loop early ends the processes. They also end when this process is killed.
    """
    waiting = deque(range(len(tasks)))
    pool: list[_Worker[T]] = []
    try:
        while waiting or any(w.task is not None for w in pool):
            while len(pool) < min(workers, len(tasks)) and waiting:
                pool.append(_started(function))
            for pipe in connection.wait([w.pipe for w in pool]):
                worker = next(w for w in pool if w.pipe is pipe)
                message, death = _received(worker)
                if death is not None:
                    pool.remove(worker)
                finished = worker.task
                worker.task = None
                if death is None and waiting:
                    worker.task = waiting.popleft()
                    _send(worker, tasks[worker.task])
                if finished is not None:
                    yield finished, message if death is None else death
    finally:
        _end(pool)


def _started(function: Callable[[T], R]) -> _Worker[T]:
    context = multiprocessing.get_context("spawn")  # forked threads of compiled loops hang
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, function), daemon=True)
    try:
        process.start()
    except (PicklingError, AttributeError, TypeError) as error:
        raise InputError(
            f"the analysis cannot be given to another process ({error}); "
            "define it at the level of a module, or use workers=1"
        ) from None
    finally:
        theirs.close()
    return _Worker(process=process, pipe=ours)


def _received(worker: _Worker[T]) -> tuple[Any, Death | None]:
    try:
        message = worker.pipe.recv()
    except (EOFError, OSError):
        worker.process.join()
        worker.pipe.close()
        code = worker.process.exitcode
        if not worker.ready:
            raise RunError(
                f"worker processes do not start (exit code {code}); in a script, put the call "
                "under if __name__ == '__main__':, or use workers=1"
            ) from None
        return None, Death(reason=_worded(code))
    worker.ready = True
    return message, None


def _send(worker: _Worker[T], task: T) -> None:
    try:
        worker.pipe.send(task)
    except (BrokenPipeError, ConnectionResetError):
        return  # it died; the next reading says so


def _worded(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        name = signal.Signals(-exit_code).name
        hint = "; memory may have run out" if name == "SIGKILL" else ""
        return f"its process was ended by {name}{hint}"
    return f"its process ended with exit code {exit_code}"


def _end(pool: Sequence[_Worker[T]]) -> None:
    for worker in pool:
        worker.process.terminate()
    for worker in pool:
        worker.process.join(_GRACE_S)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
        worker.pipe.close()
        worker.process.close()


def _serve(pipe: Connection, function: Callable[[Any], Any]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process decides
    threading.Thread(target=_die_with_parent, daemon=True).start()
    pipe.send(_READY)
    while True:
        try:
            task = pipe.recv()
        except EOFError:
            return
        pipe.send(function(task))


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
