"""An upgrade keeps the volume, and changes nothing that Kubernetes refuses to change."""

import pathlib
import re
import shutil
import tempfile
import unittest

from chart import CHART, only, render, value_sets

# Of a StatefulSet, all but these of `spec` are refused (apps/v1, validation of updates).
MUTABLE = {
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
}


def immutable(objects):
    """What an upgrade may not change, by kind."""
    stateful_set, daemon_set = only(objects, "StatefulSet"), only(objects, "DaemonSet")
    return {
        "names": {(o["kind"], o["metadata"]["name"]) for o in (stateful_set, daemon_set)},
        "stateful set": {k: v for k, v in stateful_set["spec"].items() if k not in MUTABLE},
        "daemon set": daemon_set["spec"]["selector"],
        # Made anew, a Service would have another address.
        "services": {
            o["metadata"]["name"]: o["spec"].get("clusterIP")
            for o in objects
            if o["kind"] == "Service"
        },
        "secret": [o["metadata"]["name"] for o in objects if o["kind"] == "Secret"],
    }


def newer(directory, version="7.8.9"):
    """The chart as of another version."""
    chart = pathlib.Path(directory) / "weir"
    shutil.copytree(CHART, chart)
    text = (chart / "Chart.yaml").read_text()
    text = re.sub(r"^(version|appVersion): .*$", rf"\1: {version}", text, flags=re.M)
    (chart / "Chart.yaml").write_text(text)
    return chart


class Upgrade(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.newer = newer(directory.name)

    def test_a_new_version_changes_the_pods_alone(self):
        before, after = render({}), render({}, chart=self.newer)
        self.assertEqual(immutable(before), immutable(after))
        image = str(only(after, "StatefulSet")["spec"]["template"])
        self.assertIn("weir:7.8.9", image)

    def test_new_values_of_anything_but_the_volume_do_too(self):
        values = value_sets()["everything"]
        # What a volume is made of can be said once, which the README tells; and an exposed agent is a
        # service more.
        del values["server"]["persistence"]
        values["agent"]["metrics"]["expose"] = False
        before, after = render({}), render(values, chart=self.newer)
        self.assertEqual(immutable(before), immutable(after))
        self.assertNotEqual(
            only(before, "StatefulSet")["spec"]["template"],
            only(after, "StatefulSet")["spec"]["template"],
        )

    def test_another_configuration_restarts_the_server(self):
        def annotations(values):
            template = only(render(values), "StatefulSet")["spec"]["template"]
            return template["metadata"]["annotations"]

        before, after = annotations({}), annotations({"server": {"config": 'keep = "1y"\n'}})
        self.assertNotEqual(before["checksum/config"], after["checksum/config"])


if __name__ == "__main__":
    unittest.main()
