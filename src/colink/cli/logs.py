"""Logs of the command line's processes: structured, on stderr, readable for people at a terminal and JSON lines for
everybody else, what libraries log too."""

from __future__ import annotations

import logging
import sys

import structlog

Processors = list[structlog.typing.Processor]


def configure(level: int = logging.INFO) -> None:
    """`level` of our own lines; of libraries only warnings are shown."""
    # Never with the values of local variables, as the default for terminals has it: some are secrets.
    for_people: Processors = [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    for_machines: Processors = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    shared: Processors = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    rendered = for_people if sys.stderr.isatty() else for_machines
    structlog.configure(
        processors=[*shared, *rendered],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    of_libraries = logging.StreamHandler(sys.stderr)
    of_libraries.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendered],
        )
    )
    logging.basicConfig(handlers=[of_libraries], level=logging.WARNING, force=True)
