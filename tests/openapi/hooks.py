"""What schemathesis has to be told of the API beyond its document."""

import schemathesis


@schemathesis.serializer(
    "application/sql",
    "application/vnd.apache.arrow.stream",
    "application/x-protobuf",
)
def write(context, value):
    """Bodies of these types are not made by a schema: any bytes, which receivers have to refuse or to understand."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", errors="replace")


def is_empty(value):
    return value in ("", None, [], [""])


@schemathesis.hook
def filter_case(context, case):
    """A parameter without a value is the same as none: `allowEmptyValue`, which schemathesis does not read."""
    form = case.body if isinstance(case.body, dict) else {}
    return not any(is_empty(value) for value in [*(case.query or {}).values(), *form.values()])
