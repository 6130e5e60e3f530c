"""The floor: reads an export's lines and decodes the fields the engine needs with msgspec, nothing else."""

import sys

import msgspec


class Row(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """The fields of rare_audit.detection.event.AuditEvent, as text, which is how an export holds them."""

    time_generated: str
    operation_name: str | None = None
    category: str | None = None
    id: str | None = None
    correlation_id: str | None = None
    result: str | None = None
    resource_group: str | None = None
    type: str | None = None
    initiated_by: str | None = None
    target_resources: str | None = None


def main(path: str) -> None:
    """Decode every line of a file."""
    decode = msgspec.json.Decoder(Row).decode
    with open(path, "rb", buffering=1 << 20) as file:  # noqa: PTH123  (the quickest way to read lines is the floor)
        for line in file:
            decode(line)


if __name__ == "__main__":
    main(sys.argv[1])
