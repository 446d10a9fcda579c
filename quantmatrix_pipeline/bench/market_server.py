"""A vendor's address on this machine: answers each question with the file named after its last part, after a pause.

Run as a process of its own, `python -m quantmatrix_pipeline.bench.market_server FOLDER PORT SECONDS`, so that what it
does is not done by the program that is measured.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

import uvicorn

Message = MutableMapping[str, Any]


class Market:
    """Serves the files of a folder as JSON."""

    def __init__(self, folder: Path, seconds: float) -> None:
        self._folder = folder
        self._seconds = seconds

    async def __call__(
        self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        await asyncio.sleep(self._seconds)
        file = self._folder / str(scope["path"]).rsplit("/", 1)[-1]
        body = file.read_bytes() if file.is_file() else b""
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200 if body else 404, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def main() -> None:
    """Serve until terminated."""
    folder, port, seconds = sys.argv[1:4]
    market = Market(Path(folder), float(seconds))
    uvicorn.run(market, host="127.0.0.1", port=int(port), lifespan="off", log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
