"""Writes the plain manifests from the chart, or (`--check`) tells whether they are what it gives."""

import re
import sys

from chart import DEPLOY, render_texts

PLACE = DEPLOY / "kubernetes" / "weir.yaml"
# A Secret of tokens cannot be committed, so whoever applies the manifests makes it.
VALUES = {"auth": {"existingSecret": "weir-tokens"}}
# Namespaces first, then what pods refer to, then pods.
ORDER = ["serviceaccount", "rbac", "config", "services", "networkpolicy", "poddisruptionbudget"]
HEAD = """\
# Weir without Helm: a server with a volume, and an agent on every node, for Kubernetes 1.30 and
# newer (`helm template` makes them for older ones). Made from the chart by deploy/kubernetes/generate; change
# the chart, not this file.
#
# 1. Put the images of deploy/docker where the nodes can pull them, and name the place below (`image:`).
# 2. The namespace and the tokens:
#
#      kubectl create namespace weir
#      kubectl label namespace weir pod-security.kubernetes.io/enforce=privileged
#      agent=$(openssl rand -hex 32) reader=$(openssl rand -hex 32) admin=$(openssl rand -hex 32)
#      kubectl -n weir create secret generic weir-tokens \\
#        --from-literal=tokens="$(printf 'agent %s\\nreader %s\\nadmin %s\\n' $agent $reader $admin)" \\
#        --from-literal=agent-token=$agent --from-literal=reader-token=$reader
#
# 3. kubectl apply -f weir.yaml
"""


def manifests():
    texts = {
        name: text.strip()
        for name, text in render_texts(VALUES).items()
        if name.endswith(".yaml") and text.strip()
    }

    def place(name):
        stem = name.rsplit("/", 1)[1].removesuffix(".yaml")
        return (ORDER.index(stem) if stem in ORDER else len(ORDER), name)

    body = "\n---\n".join(texts[name] for name in sorted(texts, key=place))
    # These two say that Helm keeps the objects.
    body = re.sub(r"^ *(app\.kubernetes\.io/managed-by|helm\.sh/chart): .*\n", "", body, flags=re.M)
    body = re.sub(r"[ \t]+$", "", body, flags=re.M)
    return f"{HEAD}---\n{body}\n"


def main():
    if sys.argv[1:] == ["--check"]:
        if not PLACE.exists() or PLACE.read_text() != manifests():
            sys.exit(f"{PLACE} is not what the chart gives; run deploy/kubernetes/generate")
    elif sys.argv[1:]:
        sys.exit("usage: generate [--check]")
    else:
        PLACE.write_text(manifests())


if __name__ == "__main__":
    main()
