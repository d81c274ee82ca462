"""BLAS in one thread: the products of a step are so small that its own threads would only spin."""

import threading

from threadpoolctl import OpenBLASController, get_cached_controller


class OneBlasThread:
    """A context that threads share: the first that enters limits BLAS, the last that leaves restores it."""

    def __init__(self) -> None:
        self._lock, self._inside = threading.Lock(), 0

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._limit = get_cached_controller().select(user_api="blas").limit(limits=1)
            self._inside += 1

    def __exit__(self, *_error: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                # threadpoolctl lets the thread alone that limited OpenBLAS restore it, while that lives.
                OpenBLASController.clear_controlling_thread(force=True)
                self._limit.restore_original_limits()
                OpenBLASController.clear_controlling_thread(force=True)


ONE_BLAS_THREAD = OneBlasThread()
