"""Bounded queue of searches: limits on those running and on those waiting."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import anyio
import anyio.to_thread

Result = TypeVar("Result")


class Overloaded(Exception):
    """More searches wait than may."""


class Abandoned(Exception):
    """Nobody waits for the answer any more."""


class WorkQueue:
    """Runs functions in threads, `workers` at a time.

    Threads suit, since decoding, the network and the ranking all let go of Python's lock.
    """

    def __init__(self, workers: int, max_waiting: int) -> None:
        self.capacity = workers + max_waiting
        self.admitted = 0
        self._workers = anyio.CapacityLimiter(workers)

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place in the queue; taken before a body is read, so that bodies are bounded too.

        Raises:
            Overloaded: There is none left.
        """
        if self.admitted >= self.capacity:
            raise Overloaded
        self.admitted += 1
        try:
            yield
        finally:
            self.admitted -= 1

    async def run(
        self, function: Callable[[], Result], is_abandoned: Callable[[], Awaitable[bool]]
    ) -> Result:
        """The function's result, from a thread.

        Raises:
            Abandoned: Nobody waited any more when its turn came: a page drops its last search
                when a new stroke begins.
        """
        async with self._workers:
            if await is_abandoned():
                raise Abandoned
            return await anyio.to_thread.run_sync(function)
