"""Loops over bars and instruments as machine code, where a call of NumPy per bar would cost more than its arithmetic.

A kernel is a plain function over contiguous arrays, bars outside and instruments inside, so that a step through time
is a vector operation. It reads nothing but its arguments and what its own file defines: machine code is kept beside the
file, and made anew when that file changes, not when another does.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from threading import Lock
from typing import Generic, ParamSpec, cast

P = ParamSpec("P")

_compiling = Lock()


class _Kernel(Generic[P]):
    """A function that becomes machine code when it is first called: who computes nothing, loads no compiler."""

    def __init__(self, function: Callable[P, None]) -> None:
        self._function = function
        self._machine_code: Callable[P, None] | None = None
        update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> None:
        (self._machine_code or self._compile())(*args, **kwargs)

    def _compile(self) -> Callable[P, None]:
        with _compiling:
            if self._machine_code is None:
                self._machine_code = _machine_code(self._function)
            return self._machine_code


def _machine_code(function: Callable[P, None]) -> Callable[P, None]:
    """Strict arithmetic (no `fastmath`, nothing contracted): the bits are those of one operation after the other.

    While it runs, so do other threads.
    """
    import numba

    try:
        return cast("Callable[P, None]", numba.njit(function, cache=True, nogil=True, error_model="numpy"))
    except RuntimeError:  # nowhere to keep it: neither beside the file nor in a home of the user's
        return cast("Callable[P, None]", numba.njit(function, nogil=True, error_model="numpy"))


def compiled(function: Callable[P, None]) -> Callable[P, None]:
    """Turn a function over arrays, which writes its results into some of them, into a kernel."""
    return _Kernel(function)
