"""`make golden`: writes the golden files of event types and versions that have none. What is there is never changed:
stored events have that shape, and always will."""

from __future__ import annotations

import json
import sys

from tests.golden.shapes import event_types, examples_of, file_of, shape_of

from colink.adapters.postgres.mapper import EventMapper


def main() -> int:
    wrong = 0
    for cls in event_types():
        path = file_of(cls, cls.class_version)
        shape = shape_of(cls)
        if not path.exists():
            payloads = [json.loads(EventMapper().to_stored_event(event).state) for event in examples_of(cls)]
            golden = {"topic": cls.TOPIC, "version": cls.class_version, "shape": shape, "payloads": payloads}
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(golden, indent=1, ensure_ascii=False) + "\n")
            print(f"wrote {path.name}")
        elif json.dumps(json.loads(path.read_text())["shape"]) != json.dumps(shape):
            wrong += 1
            print(
                f"{cls.__name__} no longer has the shape of version {cls.class_version}: raise its class_version to "
                f"{cls.class_version + 1} and write upcast_v{cls.class_version}_v{cls.class_version + 1} "
                "(docs/evolution.md)"
            )
    return min(wrong, 1)


if __name__ == "__main__":
    sys.exit(main())
