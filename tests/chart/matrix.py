"""The values that the chart's tests go through, by a name for each."""

from typing import Any

DIGEST = "sha256:" + "0" * 64

REPLICAS: dict[str, Any] = {
    "replicas": 2,
    "impersonation": {"groups": ["dev", "ops"]},
    "database": {
        "existingSecret": "serve-database",
        "migration": {"existingSecret": "admin-database", "login": "serve"},
    },
}

EVERYTHING: dict[str, Any] = {
    **REPLICAS,
    "replicas": 3,
    "nameOverride": "witness",
    "fullnameOverride": "the-witness",
    "image": {"registry": "images.example", "digest": DIGEST, "pullPolicy": "Always"},
    "imagePullSecrets": [{"name": "pull"}],
    "cluster": {"name": "prod", "domain": "corp.example"},
    "impersonation": {
        "groups": ["ops", "dev", "dev"],
        "users": ["alice", "it's bob"],
        "roles": {"create": True, "namespaces": ["web", "api", "web"]},
    },
    "serviceAccount": {"name": "witness", "annotations": {"a": "b"}},
    "public": {"host": "kube.example.com", "port": 8443},
    "tls": {"names": ["10.0.0.7"], "existingSecret": "server-tls"},
    "authority": {"existingSecret": "ca", "certKey": "tls.crt", "keyKey": "tls.key"},
    "stateKey": {"existingSecret": "state", "key": "key"},
    "database": {**REPLICAS["database"], "caSecret": "db-ca", "port": 6432},
    "settings": {
        "workers": 2,
        "trusted_proxies": ["10.0.0.0/8", "fd00::/8"],
        "audit": {"ack": "replicated"},
        "journal": {"segment_bytes": 134217728, "deadline": 1.5, "break_glass_group": "sre"},
        "log": {"format": "json"},
    },
    "persistence": {
        "storageClass": "fast",
        "size": "200Gi",
        "selector": {"matchLabels": {"for": "witness"}},
        "annotations": {"keep": "yes"},
        "whenScaled": "Delete",
    },
    "service": {
        "type": "LoadBalancer",
        "port": 8443,
        "nodePort": 30443,
        "annotations": {"lb": "tcp"},
        "loadBalancerClass": "example.com/tcp",
        "loadBalancerSourceRanges": ["192.0.2.0/24"],
    },
    "control": {"service": {"enabled": True, "annotations": {"c": "d"}}},
    "ingress": {"enabled": True, "className": "nginx"},
    "gateway": {"enabled": True, "parentRefs": [{"name": "gw"}], "annotations": {"g": "w"}},
    "drain": {"longestStreamSeconds": 3600, "preStopSeconds": 15},
    "topologySpread": {"whenUnsatisfiable": "DoNotSchedule"},
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [{"key": "infra", "operator": "Exists"}],
    "affinity": {"podAntiAffinity": {}},
    "priorityClassName": "system-cluster-critical",
    "podAnnotations": {"note": "x"},
    "podLabels": {"team": "platform"},
    "networkPolicy": {
        "ingress": {
            "clients": [{"ipBlock": {"cidr": "10.0.0.0/8"}}],
            "control": [{"podSelector": {"matchLabels": {"role": "admin"}}}],
        },
        "egress": {
            "apiServer": {"peers": [{"ipBlock": {"cidr": "10.96.0.1/32"}}], "ports": [6443]},
            "database": [{"ipBlock": {"cidr": "10.1.0.5/32"}}],
            "clusters": [
                {"to": [{"ipBlock": {"cidr": "192.0.2.9/32"}}], "ports": [{"port": 6443}]}
            ],
        },
    },
    "monitoring": {
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "rules": {"enabled": True, "labels": {"release": "prometheus"}},
        "dashboards": {"enabled": True, "annotations": {"folder": "Kubernetes"}},
    },
}

NOTHING_OPTIONAL: dict[str, Any] = {
    "cluster": {"name": ""},
    "impersonation": {"create": False},
    "serviceAccount": {"create": False},
    "podDisruptionBudget": {"enabled": False},
    "topologySpread": {"enabled": False},
    "networkPolicy": {"enabled": False},
    "persistence": {"storageClass": "-"},
    "security": {"runAsUser": None, "runAsGroup": None, "fsGroup": None},
}

MATRIX: dict[str, dict[str, Any]] = {
    "defaults": {},
    "replicas": REPLICAS,
    "everything": EVERYTHING,
    "nothing-optional": NOTHING_OPTIONAL,
    "node-port": {"service": {"type": "NodePort", "nodePort": 30443}},
    "load-balancer": {"service": {"type": "LoadBalancer"}, "impersonation": {"groups": ["dev"]}},
    "grants": {"impersonation": {"roles": {"create": True}}},
    "pod-monitor": {"monitoring": {"podMonitor": {"enabled": True, "labels": {"a": "b"}}}},
    "own-authority": {"authority": {"existingSecret": "ca"}},
    "own-state-key": {"stateKey": {"existingSecret": "state"}},
    "database-by-hand": {"database": {"existingSecret": "d", "migration": {"enabled": False}}},
}

# What must be refused, and a piece of what is said then.
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "two replicas with SQLite": ({"replicas": 2}, "set database.existingSecret"),
    "no administrator for the migration": (
        {"database": {"existingSecret": "d"}},
        "database.migration.existingSecret",
    ),
    "an Ingress without a name": ({"ingress": {"enabled": True}}, "public.host"),
    "a route without a Gateway": (
        {"gateway": {"enabled": True}, "public": {"host": "a.example"}},
        "gateway.parentRefs",
    ),
    "each pod scraped twice": (
        {"monitoring": {"serviceMonitor": {"enabled": True}, "podMonitor": {"enabled": True}}},
        "enable one",
    ),
    "the group that may do everything": (
        {"impersonation": {"groups": ["system:masters"]}},
        "impersonation",
    ),
    "the same group for grants": (
        {"impersonation": {"groups": ["system:masters"], "roles": {"create": True}}},
        "impersonation",
    ),
    "a namespace that is none": (
        {"impersonation": {"roles": {"create": True, "namespaces": ["web", "Not one"]}}},
        "at '/impersonation/roles/namespaces/1': 'Not one' does not match pattern",
    ),
    "an empty group": ({"impersonation": {"groups": [""]}}, "impersonation"),
    "a value nobody knows": ({"replica": 2}, "replica"),
    "a setting nobody knows": ({"settings": {"listn": "x"}}, "listn"),
    "a setting that the chart decides": ({"settings": {"listen": "0.0.0.0:1"}}, "listen"),
    "a setting of the wrong type": ({"settings": {"workers": "two"}}, "workers"),
    "a setting with an unknown choice": ({"settings": {"audit": {"ack": "maybe"}}}, "ack"),
    "no replica": ({"replicas": 0}, "replicas"),
    "a digest that is none": ({"image": {"digest": "sha256:abc"}}, "digest"),
    "a cluster name that is none": ({"cluster": {"name": "My Cluster"}}, "cluster"),
}
