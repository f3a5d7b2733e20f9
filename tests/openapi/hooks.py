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


def lists_of(case):
    """Names of the parameters that are lists."""
    operation = case.operation.definition.raw
    schemas = {one["name"]: one["schema"] for one in operation.get("parameters", [])}
    content = operation.get("requestBody", {}).get("content", {})
    form = content.get("application/x-www-form-urlencoded", {}).get("schema", {})
    schemas.update(form.get("properties", {}))
    return {name for name, schema in schemas.items() if schema.get("type") == "array"}


def is_number(value):
    """A text that is read as a number, such as `00`."""
    return isinstance(value, str) and value.isascii() and value.isdigit()


@schemathesis.hook
def filter_case(context, case):
    """What is the same on the wire as a request that the document allows is no bad one.

    A parameter without a value is as if it were not there: `allowEmptyValue`, which schemathesis does not read. A list of
    one value is written as that value, and a form has no numbers apart from texts.
    """
    form = case.body if isinstance(case.body, dict) else {}
    given = [*(case.query or {}).items(), *form.items()]
    if any(is_empty(value) for _, value in given) or any(map(is_number, form.values())):
        return False
    lists = lists_of(case)
    return all(isinstance(value, list) for name, value in given if name in lists)


@schemathesis.check
def a_query_ends_early_only_if_asked_to(context, response, case):
    """503 is the answer to a query that took longer than its `timeout`, and to no other here."""
    form = case.body if isinstance(case.body, dict) else {}
    if response.status_code == 503:
        assert "timeout" in (case.query or {}) or "timeout" in form, response.text
