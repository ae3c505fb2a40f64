"""Parts of data that is streamed, each read while updates run on the one before."""

from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from floq.data.reading import Parts
from floq.data.streamed import Part, StreamedDataset


class PartReader:
    """The parts of a run, in the order that follows from its seed."""

    def __init__(self, dataset: StreamedDataset, parts: Parts, *, seed: int, steps: int):
        """Reads nothing yet.

        Args:
            dataset: The data.
            parts: How it is cut.
            seed: Of the order.
            steps: The last update for which there is a part.
        """
        self._dataset, self._parts, self._seed = dataset, parts, seed
        self._last = (steps - 1) // parts.updates
        self._thread = ThreadPoolExecutor(1)
        self._number, self._next = -1, Future[dict[str, np.ndarray]]()

    def number(self, step: int) -> int:
        """The part on which the update after so many others is made."""
        return step // self._parts.updates

    def end(self, number: int) -> int:
        """The updates after which a part has had its share."""
        return (number + 1) * self._parts.updates

    def take(self, number: int) -> Part:
        """A part on the device, which is read now unless it was asked for.

        Raises:
            OSError: If it cannot be read any more.
        """
        self.ask(number)
        try:
            return self._dataset.placed(self._parts, self._next.result())
        except Exception as error:
            raise OSError(
                f"{self._dataset.rows.path}: part {number} of the data cannot be read any more: "
                f"{error}"
            ) from error
        finally:
            self._number, self._next = -1, Future[dict[str, np.ndarray]]()

    def ask(self, number: int) -> None:
        """Starts to read a part, if there is one."""
        if number != self._number and number <= self._last:
            arguments = (self._parts, number, self._seed)
            self._number = number
            self._next = self._thread.submit(self._dataset.read, *arguments)

    def close(self) -> None:
        """Reads no more."""
        self._number, self._next = -1, Future[dict[str, np.ndarray]]()
        self._thread.shutdown(cancel_futures=True)
