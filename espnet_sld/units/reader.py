"""Reading audio ahead of its use: decoding in threads, in order, with bounded memory."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import NamedTuple, TypeVar

import numpy as np

from espnet_sld.corpus.audio import utterances
from espnet_sld.corpus.data_dir import DataDir
from espnet_sld.units.resample import output_length, ratio
from espnet_sld.units.sample import shuffled

Item = TypeVar("Item")
Result = TypeVar("Result")
END = object()
WAIT = 0.1  # seconds between looks at whether the consumer has gone


class Wave(NamedTuple):
    """An utterance as read: samples float32, and the speed factor that is still to be applied."""

    utterance: str
    samples: np.ndarray
    speed: float

    @property
    def length(self) -> int:
        """Samples after the speed factor."""
        return len(self.samples) if self.speed == 1 else output_length(len(self.samples), *ratio(self.speed))


def read_waves(
    data: DataDir,
    rate: int,
    *,
    threads: int,
    allow_pipes: bool = False,
    channels: str = "mono",
    apply_speed: bool = True,
    shuffle: str | None = None,
) -> Iterator[Wave]:
    """Read a set, each recording once, `threads` recordings at a time and a few ahead.

    Utterances come in the directory's order (those of one recording together), with `shuffle`, a seed, in
    random order of recordings.

    Args:
        rate: of the samples, Hz.
        apply_speed: resample for the speed factors (soxr); else leave them in `Wave.speed`.

    Raises:
        InputError: naming the first utterance that cannot be read.
    """
    speeds = {} if apply_speed else data.utt2speed or {}
    if not apply_speed:
        data = replace(data, utt2speed=None)
    by_recording: dict[str, list[str]] = {}
    for utt in data.utterances:
        by_recording.setdefault(data.span(utt).recording, []).append(utt)
    order = by_recording if shuffle is None else shuffled(by_recording, shuffle, "recordings")

    def read(recording: str) -> list[Wave]:
        part = data.select(by_recording[recording])
        try:
            waves = utterances(part, target_rate=rate, allow_pipes=allow_pipes, channels=channels)
            return [Wave(utt, samples, speeds.get(utt, 1.0)) for utt, samples in waves]
        except Exception as error:
            error.add_note(f"while reading recording {recording}, utterance {by_recording[recording][0]}")
            raise

    for waves in map_ahead(read, order, threads):
        yield from waves


def map_ahead(function: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """`map` in `threads` threads, in order, at most `threads` + 2 results ahead; errors in their turn."""
    pending: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="read") as pool:
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) > threads + 1:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def in_background(items: Iterable[Item], ahead: int = 1) -> Iterator[Item]:
    """The same items, produced by a thread that works `ahead` + 1 of them ahead; errors are raised here.

    The thread ends when the items do, or when the iterator is closed.
    """
    queue: Queue = Queue(maxsize=ahead)
    closed = Event()

    def put(entry: tuple[object, BaseException | None]) -> bool:
        while not closed.is_set():
            try:
                queue.put(entry, timeout=WAIT)
                return True
            except Full:
                continue
        return False

    def produce() -> None:
        source = iter(items)
        try:
            for item in source:
                if not put((item, None)):
                    return
            put((END, None))
        except BaseException as error:
            put((END, error))
        finally:
            if hasattr(source, "close"):
                source.close()

    thread = Thread(target=produce, name="reader", daemon=True)
    thread.start()
    try:
        while True:
            try:
                item, error = queue.get(timeout=WAIT)
            except Empty:
                continue  # a moment in which an interrupt is noticed
            if error is not None:
                raise error
            if item is END:
                return
            yield item
    finally:
        closed.set()
        thread.join()
