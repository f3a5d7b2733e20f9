"""Units, Debian packages and the data source of Grafana fit together, and to the chart."""

import json
import re
import subprocess
import tomllib
import unittest

import yaml

from chart import CHART, DEPLOY, ROOT

UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
PACKAGES = {"weir": ROOT, "weir-agent": ROOT / "agent"}
VERSION = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]


def analyze(*arguments):
    done = subprocess.run(
        ["systemd-analyze", "--no-pager", *arguments], capture_output=True, text=True
    )
    return done.stdout + done.stderr


def metadata(package):
    manifest = tomllib.loads((PACKAGES[package] / "Cargo.toml").read_text())
    return manifest["package"]["metadata"]["deb"]


class Units(unittest.TestCase):
    def test_their_exposure_is_what_they_say(self):
        # Other versions weigh otherwise.
        version = re.search(r"systemd (\d+)", analyze("--version"))[1]
        for unit in UNITS:
            stated = re.search(r"offline=true: ([0-9.]+) \(systemd (\d+)\)", unit.read_text())
            report = analyze("security", "--offline=true", str(unit))
            level = re.search(r"Overall exposure level for \S+: ([0-9.]+)", report)[1]
            with self.subTest(unit.name):
                if version == stated[2]:
                    self.assertEqual(level, stated[1])
                self.assertLess(float(level), float(stated[1]) + 0.5)

    def test_systemd_understands_each_line(self):
        for unit in UNITS:
            with self.subTest(unit.name):
                # The programs need not be installed here.
                lines = analyze("verify", "--man=no", str(unit)).splitlines()
                self.assertEqual([l for l in lines if "is not executable" not in l], [])


class Packages(unittest.TestCase):
    def test_what_they_consist_of_is_there(self):
        for package, folder in PACKAGES.items():
            deb = metadata(package)
            targets = []
            for source, target, _ in deb["assets"]:
                with self.subTest(f"{package}: {source}"):
                    if source.startswith("target/release/"):
                        self.assertEqual(source, f"target/release/{package}")
                    else:
                        self.assertTrue((folder / source).is_file())
                name = source.rsplit("/", 1)[-1]
                targets.append("/" + (target + name if target.endswith("/") else target))
            with self.subTest(package):
                self.assertIn(f"/usr/bin/{package}", targets)
                self.assertLessEqual(set(deb["conf-files"]), set(targets))
                self.assertEqual(sorted(t for t in targets if t.startswith("/etc/")), deb["conf-files"])
                units = (folder / deb["systemd-units"]["unit-scripts"]).resolve()
                unit = units / f"{deb['systemd-units']['unit-name']}.service"
                # What the unit reads is in the package.
                for path in re.findall(r"^(?:EnvironmentFile|ExecStart)=.*?(/etc/\S+)", unit.read_text(), re.M):
                    self.assertIn(path, deb["conf-files"])
                for script in (folder / deb["maintainer-scripts"]).iterdir():
                    if script.name != "changelog":
                        self.assertIn("#DEBHELPER#", script.read_text())
                        subprocess.run(["sh", "-n", script], check=True)

    def test_versions_agree(self):
        for package, folder in PACKAGES.items():
            first = (folder / metadata(package)["changelog"]).read_text().splitlines()[0]
            self.assertTrue(first.startswith(f"{package} ({VERSION}-"), first)
        chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
        self.assertEqual(chart["appVersion"], VERSION)

    def test_the_image_is_built_by_the_toolchain_of_the_project(self):
        channel = tomllib.loads((ROOT / "rust-toolchain.toml").read_text())["toolchain"]["channel"]
        dockerfile = (DEPLOY / "docker" / "Dockerfile").read_text()
        self.assertIn(f"ARG RUST={channel}\n", dockerfile)

    def test_the_user_of_the_unit_is_made(self):
        unit = (DEPLOY / "systemd" / "weir.service").read_text()
        user = re.search(r"^User=(\S+)$", unit, re.M)[1]
        self.assertRegex((DEPLOY / "debian" / "weir.sysusers").read_text(), rf"(?m)^u {user} ")


class Grafana(unittest.TestCase):
    def test_the_data_source_asks_as_prometheus_does_with_a_token(self):
        path = DEPLOY / "grafana" / "provisioning" / "datasources" / "weir.yaml"
        (source,) = yaml.safe_load(path.read_text())["datasources"]
        self.assertEqual((source["type"], source["access"]), ("prometheus", "proxy"))
        # A header's name and value go by the same number; the value is a secret.
        self.assertEqual(source["jsonData"]["httpHeaderName1"], "Authorization")
        self.assertEqual(source["secureJsonData"], {"httpHeaderValue1": "Bearer $WEIR_READER_TOKEN"})

    def test_dashboards_ask_the_provisioned_data_sources(self):
        provisioning = DEPLOY / "grafana" / "provisioning"
        found = {}
        for path in (provisioning / "datasources").glob("*.yaml"):
            for source in yaml.safe_load(path.read_text())["datasources"]:
                found[source["type"]] = (source["name"], source["uid"])
        self.assertEqual(len(found), 2)
        for path in (DEPLOY / "grafana" / "dashboards").glob("*.json"):
            board = json.loads(path.read_text())
            for variable in board["templating"]["list"]:
                if variable["type"] == "datasource":
                    with self.subTest(f"{path.name}: {variable['name']}"):
                        current = variable["current"]
                        self.assertEqual((current["text"], current["value"]), found[variable["query"]])
        (provider,) = yaml.safe_load((provisioning / "dashboards" / "weir.yaml").read_text())["providers"]
        self.assertEqual((provider["type"], provider["folder"]), ("file", "Weir"))


if __name__ == "__main__":
    unittest.main()
