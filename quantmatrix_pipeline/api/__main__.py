"""`python -m quantmatrix_pipeline.api`: serve the read API on QM_API_HOST and QM_API_PORT."""

from __future__ import annotations

import gc
import logging
import sys

import uvicorn

from quantmatrix_pipeline.api.app import create_app
from quantmatrix_pipeline.errors import QuantMatrixError
from quantmatrix_pipeline.settings import Reloading


def main() -> int:
    """Serve until SIGINT or SIGTERM; return the exit code."""
    try:
        source = Reloading()
        settings = source.current()
        app = create_app(source)
    except QuantMatrixError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    logging.basicConfig(level=settings.log_level.value, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # What is loaded by now stays for good: a full collection in the middle of a request need not look at it again.
    gc.collect()
    gc.freeze()
    uvicorn.run(app, host=settings.api_host, port=settings.api_port, log_level=settings.log_level.lower())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
