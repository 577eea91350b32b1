"""Liveness, readiness and metrics: for machines that run this, without a key and without secrets."""

from __future__ import annotations

from fastapi import APIRouter, Request
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from psycopg import Error
from psycopg_pool import PoolTimeout
from starlette.responses import Response

from colink.api.answers import json_answer
from colink.api.services import Services
from colink.projections.engine import checkpoints
from colink.projections.seals import seal_state

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def is_alive() -> Response:
    return json_answer({"status": "ok"})


@router.get("/readyz")
async def is_ready(request: Request) -> Response:
    """503 without the database. How far the async projections lag is told (in events and seconds), and does not make
    us unready: everything written is read at once from the inline rows."""
    services: Services = request.app.state.services
    try:
        async with services.pool.connection(timeout=2.0) as conn:
            known = await checkpoints(conn)
    except (Error, PoolTimeout):
        return json_answer({"status": "unavailable", "database": "away"}, status=503)
    projections = [
        {
            "name": checkpoint.projection,
            "log": checkpoint.log,
            "position": checkpoint.position,
            "lag": checkpoint.lag,
            "lag_seconds": checkpoint.lag_seconds,
            "parked": checkpoint.error_position is not None,
        }
        for checkpoint in known
    ]
    return json_answer({"status": "ready", "database": "ok", "projections": projections})


@router.get("/metrics")
async def read_metrics(request: Request) -> Response:
    services: Services = request.app.state.services
    try:
        async with services.pool.connection(timeout=2.0) as conn:
            services.metrics.show_lag(await checkpoints(conn), await seal_state(conn, now=services.clock.now()))
    except (Error, PoolTimeout):
        services.metrics.forget_lag()
    return Response(services.metrics.exposition(), media_type=CONTENT_TYPE_LATEST)
