"""The plain manifests are the chart's, and valid."""

import unittest

import kubernetes_validate
import yaml

import manifests
from chart import Strict


class Manifests(unittest.TestCase):
    def test_they_are_what_the_chart_gives(self):
        self.assertEqual(
            manifests.PLACE.read_text(), manifests.manifests(), "run deploy/kubernetes/generate"
        )

    def test_they_are_valid_and_have_no_secret(self):
        objects = list(yaml.load_all(manifests.PLACE.read_text(), Strict))
        kinds = {o["kind"] for o in objects}
        self.assertLessEqual({"StatefulSet", "DaemonSet", "ClusterRole", "NetworkPolicy"}, kinds)
        self.assertNotIn("Secret", kinds)
        for o in objects:
            with self.subTest(f"{o['kind']} {o['metadata']['name']}"):
                kubernetes_validate.validate(o, kubernetes_validate.latest_version(), strict=True)
                self.assertNotIn("helm", str(o).lower())


if __name__ == "__main__":
    unittest.main()
