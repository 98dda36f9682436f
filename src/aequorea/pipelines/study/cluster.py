"""The same function on many tasks, by the workers of a dask cluster that shares the files."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from aequorea import __version__
from aequorea.errors import InputError, RunError
from aequorea.pipelines.study.workers import Death

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

T = TypeVar("T")
R = TypeVar("R")
_PATIENCE_S = 30
_ONE_AT_A_TIME = threading.Lock()


def each_on_cluster(
    function: Callable[[T], R],
    tasks: Sequence[T],
    *,
    scheduler: str,
    patience_s: float = _PATIENCE_S,
) -> Iterator[tuple[int, R | Death]]:
    """Results as they come, with the number of their task.

    Parameters
    ----------
    function : callable
        Defined at the level of a module that the workers have, too.
    tasks : sequence
    scheduler : str
        Address of a ``dask.distributed`` scheduler: ``tcp://host:8786``.
    patience_s : float, default 30, s
        How long to wait for the scheduler and its first worker.

    Yields
    ------
    (int, result or Death)

    Raises
    ------
    InputError
        If ``distributed`` is not installed, no scheduler answers, or its workers have another
        version of this package.
    RunError
        If there are no workers, or the scheduler is lost.

    Notes
    -----
    Tasks of a worker that is lost go to others, until the scheduler has seen too many lost with
    one (its ``allowed-failures``, 3): that one is a death. Each worker has one task at a time,
    however many threads it has. Leaving the loop early takes the rest back.
    """
    distributed = _library()
    try:
        client = distributed.Client(scheduler, timeout=patience_s, set_as_default=False)
    except (OSError, ValueError) as error:
        raise InputError(
            f"--scheduler {scheduler}: no scheduler answers there "
            f"({' '.join(str(error).split()) or type(error).__name__}); expected an address such "
            "as tcp://host:8786"
        ) from None
    with client:
        _require_workers(client, scheduler, patience_s)
        home = str(Path.cwd())
        futures = {
            client.submit(_at_home, function, task, home, pure=False): index
            for index, task in enumerate(tasks)
        }
        try:
            for future in distributed.as_completed(futures, loop=client.loop):
                yield futures[future], _result(future, distributed)
        finally:
            client.cancel([f for f in futures if not f.done()])


def _library() -> Any:
    try:
        import distributed
    except ModuleNotFoundError:
        raise InputError(
            "--scheduler needs the package distributed; install it with "
            "pip install 'aequorea[cluster]', or use --workers on this machine"
        ) from None
    return distributed


def _require_workers(client: Any, scheduler: str, patience_s: float) -> None:
    try:
        client.wait_for_workers(1, timeout=patience_s)
    except TimeoutError:
        raise RunError(
            f"{scheduler}: no worker has joined in {patience_s:g} s; start some with "
            f"dask worker {scheduler} --nthreads 1"
        ) from None
    found = client.run(_version, on_error="return")
    for worker, version in sorted(found.items()):
        if version != __version__:
            told = version if isinstance(version, str) else "none that can be imported"
            raise InputError(
                f"worker {worker}: has aequorea {told}, here is {__version__}; install the same"
            )


def _result(future: Any, distributed: Any) -> Any:
    if future.status == "finished":
        return future.result()
    error = future.exception() if future.status == "error" else None
    if isinstance(error, distributed.KilledWorker):
        return Death(
            reason="the workers that had it were lost one after the other; memory may have run out"
        )
    if error is None:
        raise RunError("the scheduler was lost; the same command continues once it is back")
    raise error


def _version() -> str:
    return __version__


def _at_home(function: Callable[[T], R], task: T, home: str) -> R:
    """Where relative paths mean what they mean to whoever asked, and alone in this process."""
    with _ONE_AT_A_TIME:
        before = Path.cwd()
        try:
            os.chdir(home)
        except OSError:
            raise InputError(
                f"{home}: is not there for a worker; all machines must share the files of a study"
            ) from None
        try:
            return function(task)
        finally:
            os.chdir(before)
