"""Sessions of a real kubectl with the sandbox, as people type them."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

Play = Callable[[str], Awaitable[None]]

MANIFEST = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: app}
spec:
  replicas: 1
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec:
      containers:
      - name: main
        image: app:1
        env: [{name: COLOUR, value: red}, {name: SIZE, value: small}]
---
apiVersion: v1
kind: Service
metadata: {name: app}
spec: {selector: {app: app}, ports: [{port: 80}]}
"""


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "app.yaml"
    path.write_text(MANIFEST)
    (tmp_path / "blue.yaml").write_text(MANIFEST.replace("red", "blue"))
    (tmp_path / "fewer.yaml").write_text(MANIFEST.replace(", {name: SIZE, value: small}", ""))
    (tmp_path / "typo.yaml").write_text(MANIFEST.replace("replicas", "replica"))
    (tmp_path / "wrong.yaml").write_text(MANIFEST.replace("replicas: 1", "replicas: many"))
    return path


async def test_the_first_look_shows_a_shop_that_runs(play: Play) -> None:
    await play("""
    $ version
      Server Version: v1.37.2+sandbox
    $ rollout status deploy/web -n shop
      deployment "web" successfully rolled out
    $ wait --for=condition=Ready pod --all -n shop --timeout=5s
      pod/redis-… condition met
    $ get pods -n shop
      NAME READY STATUS RESTARTS AGE
      redis-… 1/1 Running 0 …
      web-… 1/1 Running 0 …
      web-… 1/1 Running 0 …
    $ get deploy -A -o wide
      NAMESPACE NAME READY UP-TO-DATE AVAILABLE AGE CONTAINERS IMAGES SELECTOR
      shop redis 1/1 1 1 … redis redis:8.2 app=redis
      shop web 2/2 2 2 … web sandbox/web:1.4.2 app=web
    $ get nodes -o wide
      sandbox-1 Ready control-plane … v1.37.2+sandbox 192.168.40.11 <none> Sandbox Linux …
      sandbox-2 Ready <none> … v1.37.2+sandbox 192.168.40.12 <none> Sandbox Linux …
    $ get cm,secret,ns -n shop
      configmap/web-settings 3 …
      secret/redis-login Opaque 2 …
    $ get events -n shop
      … Normal ScalingReplicaSet deployment/web Scaled up replica set web-… from 0 to 2
    $ describe svc web -n shop
      Endpoints: 10.244.…:8080,10.244.…:8080
    $ describe deploy web -n shop
      Replicas: 2 desired | 2 updated | 2 total | 2 available | 0 unavailable
      Available True MinimumReplicasAvailable
    $ top nodes
      sandbox-1 …m …% …Mi …%
    $ top pods -n shop --containers
      redis-… redis …m …Mi
    $ api-resources --api-group=apps
      deployments deploy apps/v1 true Deployment
    """)


async def test_objects_come_and_go(play: Play) -> None:
    await play("""
    $ create ns work
      namespace/work created
    $ create configmap c -n work --from-literal=a=1
      configmap/c created
    $ create secret generic s -n work --from-literal=key=value
      secret/s created
    $ get secret s -n work -o jsonpath={.data.key}
      dmFsdWU=
    $ create configmap c -n work
      error: failed to create configmap: configmaps "c" already exists
      -> 1
    $ patch cm c -n work --type=merge -p '{"data":{"b":"2"}}'
      configmap/c patched
    $ patch cm c -n work --type=json -p '[{"op":"remove","path":"/data/a"}]'
      configmap/c patched
    $ label cm c -n work tier=low
      configmap/c labeled
    $ get cm -n work -l tier=low -o jsonpath={.items[*].data}
      {"b":"2"}
    $ get cm -n work --field-selector=metadata.name!=c
      No resources found in work namespace.
    $ delete cm c -n work
      configmap "c" deleted from work namespace
    $ get cm c -n work
      Error from server (NotFound): configmaps "c" not found
      -> 1
    $ delete ns work
      namespace "work" deleted
    $ get secret s -n work
      Error from server (NotFound): namespaces "work" not found
      -> 1
    $ create deployment Nope --image=x
      error: failed to create deployment: Deployment.apps "Nope" is invalid: metadata.name: …
      -> 1
    """)


async def test_a_deployment_rolls_forward_and_back(play: Play) -> None:
    await play("""
    $ create deployment d --image=app:1 --replicas=2
      deployment.apps/d created
    $ rollout status deploy/d
      deployment "d" successfully rolled out
    $ set image deploy/d app=app:2
      deployment.apps/d image updated
    $ rollout status deploy/d
      deployment "d" successfully rolled out
    $ rollout history deploy/d
      1 <none>
      2 <none>
    $ get deploy d -o wide
      d 2/2 2 2 … app app:2 app=d
    $ rollout undo deploy/d
      deployment.apps/d rolled back
    $ rollout status deploy/d
      deployment "d" successfully rolled out
    $ get deploy d -o jsonpath={.spec.template.spec.containers[0].image}
      app:1
    $ scale deploy/d --replicas=0
      deployment.apps/d scaled
    $ wait --for=delete pod -l app=d --timeout=5s
    $ get pods -l app=d
      No resources found in default namespace.
    $ delete deploy d --cascade=foreground
      deployment.apps "d" deleted from default namespace
    $ get rs
      No resources found in default namespace.
    """)


async def test_client_side_apply(play: Play, manifest: Path) -> None:
    await play(f"""
    $ apply -f {manifest.name} --dry-run=server
      deployment.apps/app created (server dry run)
    $ get deploy app
      Error from server (NotFound): deployments.apps "app" not found
      -> 1
    $ apply -f {manifest.name}
      deployment.apps/app created
      service/app created
    $ apply -f {manifest.name}
      deployment.apps/app unchanged
      service/app unchanged
    $ diff -f blue.yaml
      - value: red
      + value: blue
      -> 1
    $ apply -f fewer.yaml
      deployment.apps/app configured
    $ get deploy app -o jsonpath={{.spec.template.spec.containers[0].env[*].name}}
      COLOUR
    $ apply -f typo.yaml
      for: "typo.yaml": …: strict decoding error: unknown field "spec.replica"
      -> 1
    $ apply -f typo.yaml --validate=warn
      Warning: unknown field "spec.replica"
    $ apply -f wrong.yaml
      …spec.replicas: expected a whole number, found a string
      -> 1
    $ replace -f {manifest.name}
      deployment.apps/app replaced
    $ delete -f {manifest.name}
      deployment.apps "app" deleted from default namespace
      service "app" deleted from default namespace
    """)


async def test_server_side_apply(play: Play, manifest: Path) -> None:
    await play(f"""
    $ apply --server-side -f {manifest.name}
      deployment.apps/app serverside-applied
    $ apply --server-side --field-manager=other -f blue.yaml
      error: Apply failed with 1 conflict: conflict with "kubectl" using apps/v1: …
      -> 1
    $ apply --server-side --field-manager=other --force-conflicts -f blue.yaml
      deployment.apps/app serverside-applied
    $ apply --server-side -f fewer.yaml --force-conflicts
      deployment.apps/app serverside-applied
    $ get deploy app -o jsonpath={{.spec.template.spec.containers[0].env}}
      [{{"name":"COLOUR","value":"red"}},{{"name":"SIZE","value":"small"}}]
    $ apply --server-side --field-manager=other -f fewer.yaml
      deployment.apps/app serverside-applied
    $ get deploy app -o jsonpath={{.spec.template.spec.containers[0].env}}
      [{{"name":"COLOUR","value":"red"}}]
    """)


async def test_explain_and_dry_run_need_the_documents(play: Play) -> None:
    await play("""
    $ explain deployment.spec.strategy
      GROUP: apps
      KIND: Deployment
      FIELD: strategy <DeploymentStrategy>
    $ explain pod.spec.containers.image
      FIELD: image <string>
    $ create deployment d --image=x --dry-run=client -o name
      deployment.apps/d
    $ create deployment d --image=x --dry-run=server -o jsonpath={.spec.strategy.type}
      RollingUpdate
    """)


async def test_who_may_do_what(play: Play) -> None:
    await play("""
    $ auth whoami
      Username alice
      Groups [dev system:authenticated]
    $ auth can-i delete pods -n shop
      yes
    $ auth can-i delete pods -n shop --as bob --as-group read-only
      no …
      -> 1
    $ auth can-i --list --as bob --as-group read-only
      *.* [] [] [get list watch]
    $ get pods -n shop --as bob --as-group read-only
      NAME READY STATUS RESTARTS AGE
    $ delete cm web-settings -n shop --as bob --as-group read-only
      Error from server (Forbidden): configmaps is forbidden: User "bob" cannot delete …
      -> 1
    """)


async def test_pods_run_once_and_images_that_are_missing_say_so(play: Play) -> None:
    await play("""
    $ create job j --image=busybox
      job.batch/j created
    $ run bad --image=broken:1
      pod/bad created
    $ wait --for=condition=complete job/j --timeout=8s
      job.batch/j condition met
    $ get jobs
      j Complete 1/1 …
    $ get pod bad
      bad 0/1 ImagePullBackOff 0 …
    $ delete pod bad --now
      pod "bad" deleted from default namespace
    """)


async def test_nodes_are_drained(play: Play) -> None:
    await play("""
    $ rollout status deploy/web -n shop
      deployment "web" successfully rolled out
    $ drain sandbox-2
      node/sandbox-2 cordoned
      node/sandbox-2 drained
    $ get nodes
      sandbox-2 Ready,SchedulingDisabled …
    $ get pods -A --field-selector spec.nodeName=sandbox-2
      No resources found
    $ uncordon sandbox-2
      node/sandbox-2 uncordoned
    """)


async def test_what_is_not_offered_is_named(play: Play, manifest: Path) -> None:
    await play(f"""
    $ wait --for=condition=Available deploy/web -n shop --timeout=5s
      deployment.apps/web condition met
    $ port-forward -n shop deploy/web 0:8080
      error: …kubectl port-forward is not offered by the sandbox cluster; try it against a real one
      -> 1
    $ exec -n shop deploy/web -- tar cf - /etc
      error: …kubectl cp is not offered by the sandbox cluster; try it against a real one
      -> 1
    $ get --raw /api/v1/nosuch
      Error from server (NotFound): the server could not find the requested resource
      -> 1
    $ get -f {manifest.name}
      Error from server (NotFound): deployments.apps "app" not found
      -> 1
    """)
