"""Each value is in values.yaml, in the schema and in the README, and nothing else is."""

import json
import re
import unittest

import helm_python
import yaml

from chart import CHART, render

VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
README = (CHART / "README.md").read_text()
# What Helm gives to every chart.
NOT_OURS = {"global"}


def is_tree(value, schema):
    """Whether a value is one of the chart's own trees, and not a map that goes to Kubernetes as it is."""
    return isinstance(value, dict) and "properties" in schema


def leaves(values, schema, prefix=""):
    for key, value in values.items():
        below = schema["properties"][key]
        if is_tree(value, below):
            yield from leaves(value, below, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def rows():
    """Value to default, of the table in the README."""
    pattern = r"^\| `([A-Za-z.]+)` \| ([^|]+) \| [^|]+ \|$"
    table = README.split("## Values", 1)[1]
    return {m[1]: m[2] for m in re.finditer(pattern, table, re.M)}


class Values(unittest.TestCase):
    def test_readme_documents_each_value_and_no_other(self):
        self.assertEqual(sorted(rows()), sorted(key for key, _ in leaves(VALUES, SCHEMA)))

    def test_readme_has_the_defaults(self):
        for key, value in leaves(VALUES, SCHEMA):
            shown = rows()[key]
            # Defaults that do not fit into a table are told in words.
            if shown.startswith("`"):
                with self.subTest(key):
                    self.assertEqual(yaml.safe_load(shown.strip("`")), value)

    def test_schema_has_the_same_values(self):
        def compare(values, schema, path):
            self.assertEqual(set(values), set(schema["properties"]) - NOT_OURS, path)
            self.assertIs(schema["additionalProperties"], False, path)
            for key, value in values.items():
                if is_tree(value, schema["properties"][key]):
                    compare(value, schema["properties"][key], f"{path}.{key}")

        compare(VALUES, SCHEMA, "values")

    def test_what_is_not_a_value_is_refused_at_every_level(self):
        def trees(values, schema, path=()):
            yield path
            for key, value in values.items():
                if is_tree(value, schema["properties"][key]):
                    yield from trees(value, schema["properties"][key], (*path, key))

        for path in trees(VALUES, SCHEMA):
            values = {"misspelt": True}
            for key in reversed(path):
                values = {key: values}
            with self.subTest(".".join(path)), self.assertRaises(helm_python.HelmError) as raised:
                render(values)
            self.assertIn("misspelt", str(raised.exception))

    def test_values_of_a_wrong_kind_are_refused(self):
        for values in (
            {"server": {"enabled": "yes"}},
            {"server": {"memtableMiB": 1}},
            {"server": {"persistence": {"size": "many"}}},
            {"server": {"bindAddress": "::"}},
            {"agent": {"interval": "10"}},
            {"agent": {"serverUrl": "weir.example.net"}},
            {"image": {"pullPolicy": "Sometimes"}},
        ):
            with self.subTest(values), self.assertRaises(helm_python.HelmError):
                render(values)


if __name__ == "__main__":
    unittest.main()
