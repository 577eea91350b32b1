"""The baseline of claims about HTTP: FastAPI with one empty route, on the server and event loop that `colink serve`
uses. `python -m bench.empty_route PORT`; prints a line when it listens, and stops with its standard input."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
import uvloop
from fastapi import FastAPI

from bench.http_load import ROOT
from colink.cli.serve import listen

app = FastAPI()


@app.get("/")
async def empty() -> dict[str, str]:
    return {}


@contextmanager
def serving_nothing() -> Iterator[str]:
    """The baseline's server, while the block runs; its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.empty_route"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().decode().strip()
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    listener = listen("127.0.0.1", 0)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    config = uvicorn.Config(app, lifespan="off", log_config=None, access_log=False, server_header=False)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(uvicorn.Server(config).serve(sockets=[listener]))
