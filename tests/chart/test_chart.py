"""What the chart renders: everything it should, nothing more than restricted pods may, and no secret anywhere."""

import re
from functools import cache
from typing import Any

import pytest
import yaml

from proxy import __version__
from proxy.settings import load
from proxy.upstream import bootstrap
from proxy.upstream.rights import groups
from tests.chart import helm
from tests.chart.helm import CHART, Manifest, containers, of_kind, pod_specs
from tests.chart.matrix import EVERYTHING, MATRIX, REFUSED, REPLICAS
from tests.chart.restricted import violations

PROXY = "StatefulSet/kubewitness"
TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount"


@cache
def manifests(name: str) -> tuple[Manifest, ...]:
    """Every object for one line of the matrix."""
    return tuple(helm.rendered(MATRIX[name]))


def one(items: list[Manifest]) -> Manifest:
    (item,) = items
    return item


def stateful_set(name: str) -> Manifest:
    return one(of_kind(manifests(name), "StatefulSet"))


def impersonators(name: str, kind: str) -> list[Manifest]:
    """What says whom the proxy's account may impersonate; what grants come to is in `test_rights`."""
    found = of_kind(manifests(name), kind)
    return [item for item in found if item["metadata"]["name"].endswith("-impersonator")]


def kinds(name: str) -> set[str]:
    return {item["kind"] for item in manifests(name)}


@pytest.mark.parametrize("name", MATRIX)
def test_lint_finds_nothing(name: str) -> None:
    done = helm.with_values("lint", MATRIX[name], "--strict")
    assert done.code == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused_and_said(name: str) -> None:
    values, said = REFUSED[name]
    done = helm.with_values("template", values)
    assert (done.code != 0, said in done.stderr) == (True, True), done.stderr


@pytest.mark.parametrize("name", MATRIX)
def test_each_object_has_a_name_of_its_own_and_our_labels(name: str) -> None:
    heads = [(item["kind"], item["metadata"]) for item in manifests(name)]
    names = [(kind, head.get("namespace"), head["name"]) for kind, head in heads]
    assert len(set(names)) == len(names)
    for item in manifests(name):
        labels = item["metadata"]["labels"]
        assert labels["app.kubernetes.io/instance"] == helm.RELEASE, item["metadata"]
        assert labels["app.kubernetes.io/managed-by"] == "Helm"
        assert len(item["metadata"]["name"]) <= 63


def test_everything_has_everything() -> None:
    assert kinds("everything") == {
        *("StatefulSet", "Service", "Ingress", "TLSRoute", "ServiceAccount", "ConfigMap"),
        *("ClusterRole", "ClusterRoleBinding", "Job", "PodDisruptionBudget", "NetworkPolicy"),
        *("ServiceMonitor", "PrometheusRule", "Pod", "RoleBinding"),
    }


def test_what_is_optional_can_be_left_out() -> None:
    assert kinds("nothing-optional") == {
        *("StatefulSet", "Service", "ConfigMap", "Pod"),
        *("Job", "ServiceAccount", "Role", "RoleBinding"),
    }
    assert "PodMonitor" in kinds("pod-monitor")
    assert "Job" not in {
        item["kind"] for item in helm.rendered({"authority": {"existingSecret": "a"}, "stateKey": {"existingSecret": "b"}})
    }  # fmt: skip


class TestPods:
    """Every pod there is: of the proxy, of the jobs, of the test."""

    @pytest.mark.parametrize("name", MATRIX)
    def test_restricted(self, name: str) -> None:
        specs = pod_specs(manifests(name))
        assert len(specs) >= 2
        found = {owner: list(violations(spec)) for owner, spec in specs.items()}
        assert not any(found.values()), found

    @pytest.mark.parametrize("name", MATRIX)
    def test_nothing_is_written_outside_volumes_and_every_mount_has_one(self, name: str) -> None:
        for owner, spec in pod_specs(manifests(name)).items():
            volumes = {volume["name"] for volume in spec["volumes"]}
            volumes |= {"data"} if owner.startswith("StatefulSet") else set()
            for container in containers(spec):
                assert container["securityContext"]["readOnlyRootFilesystem"] is True
                mounts = {mount["name"] for mount in container["volumeMounts"]}
                assert mounts <= volumes, owner
                writable = {m["name"] for m in container["volumeMounts"] if not m.get("readOnly")}
                assert writable <= {"data", "tmp"}

    @pytest.mark.parametrize("name", MATRIX)
    def test_one_image_with_a_version_limits_and_no_links_to_services(self, name: str) -> None:
        images = set()
        for spec in pod_specs(manifests(name)).values():
            assert spec["enableServiceLinks"] is False
            for container in containers(spec):
                images.add(container["image"])
                assert {"requests", "limits"} <= set(container["resources"])
        (image,) = images
        assert image.endswith((f":{__version__}", "@" + EVERYTHING["image"]["digest"]))

    @pytest.mark.parametrize("name", MATRIX)
    def test_the_token_is_only_where_it_is_used(self, name: str) -> None:
        having = set()
        for owner, spec in pod_specs(manifests(name)).items():
            assert spec["automountServiceAccountToken"] is False
            for container in containers(spec):
                if any(mount["mountPath"] == TOKEN for mount in container["volumeMounts"]):
                    having.add(f"{owner.partition('/')[0]}/{container['name']}")
        registers = MATRIX[name].get("cluster", {}).get("name", "local") != ""
        assert having <= {"StatefulSet/kubewitness", "Job/keys"}
        assert ("StatefulSet/kubewitness" in having) == registers
        accounts = of_kind(manifests(name), "ServiceAccount")
        assert all(item["automountServiceAccountToken"] is False for item in accounts)

    @pytest.mark.parametrize("name", MATRIX)
    def test_no_secret_in_arguments_variables_or_config_maps(self, name: str) -> None:
        for owner, spec in pod_specs(manifests(name)).items():
            for container in containers(spec):
                for variable in container.get("env", []):
                    assert set(variable) == {"name", "value"}, owner
                assert all(set(item) == {"configMapRef"} for item in container.get("envFrom", []))
                said = [*container["command"], *container.get("args", [])]
                said += [variable["value"] for variable in container.get("env", [])]
                assert not [text for text in said if "://" in text or "@" in text]
        for item in of_kind(manifests(name), "ConfigMap"):
            for key, value in item["data"].items():
                assert not re.search(r"postgresql://|PRIVATE|password", str(value)), key
        assert "Secret" not in kinds(name)


class TestStatefulSet:
    """The proxy itself."""

    @pytest.mark.parametrize("name", MATRIX)
    def test_it_drains_longer_than_the_longest_stream(self, name: str) -> None:
        spec = stateful_set(name)["spec"]["template"]["spec"]
        settings = one([i for i in of_kind(manifests(name), "ConfigMap") if "KUBEWITNESS_LISTEN" in i["data"]])  # fmt: skip
        drain = int(settings["data"]["KUBEWITNESS_DRAIN_TIMEOUT"])
        before = spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
        wanted = MATRIX[name].get("drain", {}).get("longestStreamSeconds", 600)
        assert drain == wanted
        assert spec["terminationGracePeriodSeconds"] > drain + before

    @pytest.mark.parametrize("name", MATRIX)
    def test_probes_and_ports(self, name: str) -> None:
        container = stateful_set(name)["spec"]["template"]["spec"]["containers"][0]
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        assert ports.items() >= {"https": 8443, "metrics": 9464}.items()
        paths = {
            kind: container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")
        }  # fmt: skip
        assert {probe["port"] for probe in paths.values()} == {"metrics"}
        assert (paths["startup"]["path"], paths["liveness"]["path"]) == ("/livez", "/livez")
        alone = stateful_set(name)["spec"]["replicas"] == 1
        # One that cannot record stays reachable when nobody else could take over.
        assert ("exclude=audit" in paths["readiness"]["path"]) == alone
        assert paths["readiness"]["path"].startswith("/readyz")

    def test_volumes_and_what_becomes_of_them(self) -> None:
        spec = stateful_set("everything")["spec"]
        assert spec["persistentVolumeClaimRetentionPolicy"] == {
            "whenDeleted": "Retain", "whenScaled": "Delete",
        }  # fmt: skip
        claim = one(spec["volumeClaimTemplates"])["spec"]
        assert (claim["storageClassName"], claim["selector"]) == (
            "fast",
            {"matchLabels": {"for": "witness"}},
        )
        assert claim["resources"]["requests"]["storage"] == "200Gi"
        default = one(stateful_set("defaults")["spec"]["volumeClaimTemplates"])["spec"]
        assert "storageClassName" not in default
        none = one(stateful_set("nothing-optional")["spec"]["volumeClaimTemplates"])["spec"]
        assert none["storageClassName"] == ""

    def test_scheduling_is_as_asked_for(self) -> None:
        spec = stateful_set("everything")["spec"]["template"]["spec"]
        for key in ("nodeSelector", "tolerations", "affinity", "priorityClassName"):
            assert spec[key] == EVERYTHING[key]
        assert spec["imagePullSecrets"] == [{"name": "pull"}]
        assert {item["whenUnsatisfiable"] for item in spec["topologySpreadConstraints"]} == {
            "DoNotSchedule"
        }
        assert len(spec["topologySpreadConstraints"]) == 2

    def test_a_change_of_settings_restarts_the_pods(self) -> None:
        def checksum(values: dict[str, Any]) -> str:
            found = one(of_kind(helm.rendered(values), "StatefulSet"))
            return str(found["spec"]["template"]["metadata"]["annotations"]["checksum/settings"])

        assert checksum({}) == checksum({"replicas": 1})
        assert checksum({}) != checksum({"settings": {"log": {"level": "debug"}}})


@pytest.mark.parametrize("name", MATRIX)
def test_the_proxy_understands_its_environment(
    name: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = one([i for i in of_kind(manifests(name), "ConfigMap") if "KUBEWITNESS_LISTEN" in i["data"]])  # fmt: skip
    dsn = tmp_path / "dsn"
    dsn.write_text("postgresql://u@db/audit")
    for key, value in config["data"].items():
        monkeypatch.setenv(key, str(dsn) if key == "KUBEWITNESS_DATABASE_FILE" else value)
    settings = load({"data_dir": str(tmp_path)})
    assert settings.listen == "0.0.0.0:8443"
    assert (settings.database != "") == ("KUBEWITNESS_DATABASE_FILE" in config["data"])
    if name == "everything":
        assert settings.journal.segment_bytes == 134217728
        assert settings.trusted_proxies == ("10.0.0.0/8", "fd00::/8")
        assert (settings.advertise, settings.tls.names[0]) == (
            "kube.example.com:8443",
            "kube.example.com",
        )
        assert "10.0.0.7" in settings.tls.names
        assert (settings.control, settings.in_cluster) == ("0.0.0.0:9443", "prod")
    if name == "defaults":
        assert settings.control == "127.0.0.1:9443"
        assert settings.advertise == "kubewitness.kubewitness.svc:443"


class TestRights:
    """What the accounts may do."""

    @pytest.mark.parametrize("name", ["defaults", "replicas", "everything", "grants"])
    def test_the_proxy_s_are_those_of_cluster_bootstrap(self, name: str) -> None:
        asked = MATRIX[name].get("impersonation", {})
        roles = asked.get("roles", {})
        given = groups(roles.get("namespaces", [])) if roles else []
        role = one(impersonators(name, "ClusterRole"))
        wanted = bootstrap.role([*asked.get("groups", []), *given], asked.get("users", []))
        assert role["rules"] == wanted["rules"]
        binding = one(impersonators(name, "ClusterRoleBinding"))
        assert binding["roleRef"]["name"] == role["metadata"]["name"]
        account = one(binding["subjects"])
        spec = stateful_set(name)["spec"]["template"]["spec"]
        assert (account["name"], account["namespace"]) == (
            spec["serviceAccountName"],
            helm.NAMESPACE,
        )

    @pytest.mark.parametrize("name", MATRIX)
    def test_groups_only_by_name_and_nothing_but_impersonation(self, name: str) -> None:
        for role in impersonators(name, "ClusterRole"):
            for rule in role["rules"]:
                assert rule["verbs"] == ["impersonate"]
                assert "*" not in rule["resources"] + rule["apiGroups"]
                if "groups" in rule["resources"]:
                    assert rule["resourceNames"]
                    assert not [g for g in rule["resourceNames"] if g.startswith("system:")]
        for role in of_kind(manifests(name), "Role"):
            assert role["rules"] == [
                {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]}
            ]

    def test_the_right_to_create_secrets_ends_with_the_job(self) -> None:
        for kind in ("Role", "RoleBinding"):
            notes = one(of_kind(manifests("defaults"), kind))["metadata"]["annotations"]
            assert "hook-succeeded" in notes["helm.sh/hook-delete-policy"]


class TestJobs:
    """What runs before an install or upgrade."""

    def test_the_migration_alone_sees_the_administrator(self) -> None:
        owners = {
            owner
            for owner, spec in pod_specs(manifests("replicas")).items()
            if "admin-database" in str(spec)
        }
        assert owners == {"Job/kubewitness-migration"}
        job = pod_specs(manifests("replicas"))["Job/kubewitness-migration"]
        assert job["containers"][0]["command"][-2:] == ["--login", "serve"]
        assert "serve-database" not in str(job)

    def test_they_come_after_what_they_need_and_before_the_pods(self) -> None:
        hooks: dict[str, int] = {}
        for item in manifests("replicas"):
            notes = item["metadata"].get("annotations", {})
            if "pre-install" in notes.get("helm.sh/hook", ""):
                assert "pre-upgrade" in notes["helm.sh/hook"]
                hooks.setdefault(item["kind"], int(notes["helm.sh/hook-weight"]))
        assert hooks["NetworkPolicy"] < hooks["RoleBinding"] < hooks["Job"]

    def test_no_job_without_a_use(self) -> None:
        jobs = {item["metadata"]["name"] for item in of_kind(manifests("everything"), "Job")}
        assert jobs == {"the-witness-migration"}
        assert of_kind(manifests("database-by-hand"), "Job")[0]["metadata"]["name"].endswith(
            "-keys"
        )


class TestNetwork:
    """Services, what selects pods, and what may reach what."""

    @pytest.mark.parametrize("name", MATRIX)
    def test_selectors_find_the_pods_and_ports_are_theirs(self, name: str) -> None:
        template = stateful_set(name)["spec"]["template"]
        labels = template["metadata"]["labels"].items()
        ports = {port["name"] for port in template["spec"]["containers"][0]["ports"]}
        for service in of_kind(manifests(name), "Service"):
            assert service["spec"]["selector"].items() <= labels
            assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
        for budget in of_kind(manifests(name), "PodDisruptionBudget"):
            assert budget["spec"]["selector"]["matchLabels"].items() <= labels
        assert stateful_set(name)["spec"]["selector"]["matchLabels"].items() <= labels
        # A job's pods and the test's are none of the Service's.
        component = template["metadata"]["labels"]["app.kubernetes.io/component"]
        assert component == "proxy"

    def test_service_types(self) -> None:
        def service(name: str) -> Manifest:
            return next(
                item["spec"]
                for item in of_kind(manifests(name), "Service")
                if not item["metadata"]["name"].endswith(("-pods", "-control"))
            )

        assert service("defaults")["type"] == "ClusterIP"
        assert "externalTrafficPolicy" not in service("defaults")
        assert service("node-port")["ports"][0]["nodePort"] == 30443
        balanced = service("everything")
        assert (balanced["type"], balanced["externalTrafficPolicy"]) == ("LoadBalancer", "Local")
        assert balanced["loadBalancerSourceRanges"] == ["192.0.2.0/24"]

    def test_tls_is_passed_through(self) -> None:
        ingress = one(of_kind(manifests("everything"), "Ingress"))
        assert ingress["metadata"]["annotations"]["nginx.ingress.kubernetes.io/ssl-passthrough"] == "true"  # fmt: skip
        assert "tls" not in ingress["spec"]
        route = one(of_kind(manifests("everything"), "TLSRoute"))
        assert route["spec"]["hostnames"] == ["kube.example.com"]

    @pytest.mark.parametrize("name", ["defaults", "replicas", "everything"])
    def test_policies_say_both_ways_for_every_pod(self, name: str) -> None:
        policies = of_kind(manifests(name), "NetworkPolicy")
        components = set()
        for policy in policies:
            assert set(policy["spec"]["policyTypes"]) == {"Ingress", "Egress"}
            components.add(
                policy["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/component"]
            )
            for rule in [*policy["spec"].get("ingress", []), *policy["spec"].get("egress", [])]:
                assert rule["ports"], "no rule is for every port"
        assert components == {"proxy", "setup", "test"}

    def test_the_database_and_the_control_plane_are_reached_only_where_they_are_used(self) -> None:
        def policy(name: str) -> str:
            found = of_kind(manifests(name), "NetworkPolicy")
            return str([item["spec"] for item in found])

        assert "5432" not in policy("defaults")
        assert "'control'" not in policy("defaults")
        assert "5432" in policy("replicas")
        assert "6432" in policy("everything")
        assert "'control'" in policy("everything")


def test_monitoring_finds_the_pods_and_ships_rules_and_dashboards() -> None:
    monitor = one(of_kind(manifests("everything"), "ServiceMonitor"))
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    scraped = [
        item["metadata"]["name"]
        for item in of_kind(manifests("everything"), "Service")
        if wanted <= item["metadata"]["labels"].items()
    ]
    assert scraped == ["the-witness-pods"], "each pod once"
    rules = one(of_kind(manifests("everything"), "PrometheusRule"))
    alerts = [rule.get("alert") for group in rules["spec"]["groups"] for rule in group["rules"]]
    assert len([alert for alert in alerts if alert]) >= 8
    assert rules["metadata"]["labels"]["release"] == "prometheus"
    dashboards = [
        item
        for item in of_kind(manifests("everything"), "ConfigMap")
        if item["metadata"]["labels"].get("grafana_dashboard") == "1"
    ]
    assert dashboards
    for item in dashboards:
        ((name, text),) = item["data"].items()
        assert name.endswith(".json")
        assert yaml.safe_load(text)["panels"]


def test_the_helm_test_asks_every_replica() -> None:
    pod = one(of_kind(manifests("everything"), "Pod"))
    environment = {item["name"]: item["value"] for item in pod["spec"]["containers"][0]["env"]}
    assert environment["TEST_PODS"].split(",") == [
        f"the-witness-{number}.the-witness-pods.kubewitness.svc:9464" for number in range(3)
    ]
    assert environment["TEST_NAME"] == "kube.example.com"
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    (script,) = (i for i in of_kind(manifests("everything"), "ConfigMap") if "test.py" in i["data"])
    compile(script["data"]["test.py"], "test.py", "exec")
    # The keys stay where they are: it has whom to trust, and no more.
    assert "key" not in {item["path"] for item in pod["spec"]["volumes"][1]["secret"]["items"]}


def test_the_chart_is_of_this_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == __version__


def test_replicas_share_what_they_must() -> None:
    spec = stateful_set("replicas")["spec"]
    assert spec["replicas"] == REPLICAS["replicas"]
    secrets = {
        volume["name"]: volume["secret"]["secretName"]
        for volume in spec["template"]["spec"]["volumes"]
        if "secret" in volume
    }
    assert secrets == {
        "authority": "kubewitness-keys",
        "state": "kubewitness-keys",
        "database": "serve-database",
    }
