"""Batches made ahead, by a thread."""

import queue
import threading
from collections.abc import Iterator
from typing import Any

_END = object()


class Prefetch:
    """An iterator over `source` whose next `depth` items a background thread makes ahead.

    An exception in the source is raised here, after the items before it, with the traceback of
    where it happened. `close` stops the thread and waits for it; so does the iterator's end, and
    its deletion.
    """

    def __init__(self, source: Iterator[Any], depth: int):
        self._queue: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()
        self._room = threading.Semaphore(depth)
        self._stop = threading.Event()
        # The thread must not hold `self`: an iterator that nobody uses any more ends it.
        self._thread = threading.Thread(
            target=_produce,
            args=(source, self._queue, self._room, self._stop),
            name="minidl-prefetch",
            daemon=True,
        )
        self._thread.start()
        self._done = False

    def __iter__(self) -> "Prefetch":
        return self

    def __next__(self) -> Any:
        if self._done:
            raise StopIteration
        item, error = self._queue.get()
        if error is None and item is not _END:
            self._room.release()
            return item
        self.close()
        if error is not None:
            raise error
        raise StopIteration

    def close(self) -> None:
        """Stop the thread; what it has made is dropped."""
        self._done = True
        self._stop.set()
        self._room.release()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def __del__(self) -> None:
        if not self._done:
            self._done = True  # do not wait: the collector may run in any thread
            self._stop.set()
            self._room.release()


def _produce(source, items, room, stop) -> None:
    try:
        while True:
            room.acquire()
            if stop.is_set():
                return
            item = next(source, _END)
            items.put((item, None))
            if item is _END:
                return
    except BaseException as error:
        items.put((None, error))
    finally:
        if hasattr(source, "close"):
            source.close()
