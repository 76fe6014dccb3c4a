"""What a person types in a day, as stories: each runs in a namespace of its own, top to bottom.

A line is the arguments of kubectl. In front of them may stand
  NAME=VALUE   a variable of the environment
  < FILE       a file of `manifests/` on standard input
  ~            how the command gets there depends on the moment: only its last line and exit code are compared
  ?            it tells the story no further: neither output nor exit code is compared (waiting, tidying up)
In arguments and manifests NAMESPACE and IMAGE stand for the story's own.
"""

STORIES: dict[str, str] = {
    "discovery": """
        version
        api-versions
        api-resources
        api-resources --namespaced=false --verbs=list,watch -o wide
        cluster-info
        explain pods.spec.containers.image
        explain deployment --recursive
        explain nothing
        get --raw /version
        get --raw /apis/apps
        get --raw /apis/nothing
        get --raw /readyz?verbose
        get --raw /openapi/v3/apis/apps/v1
        auth whoami
        auth can-i create pods
        auth can-i create pods --as=nobody
        auth can-i --list
        get nodes
        get nodes -o name
        get namespace default -o yaml
        get storageclasses
        """,
    "objects": """
        create configmap one --from-literal=a=1
        create configmap one --from-literal=a=1
        get configmap one -o yaml
        get configmap one -o jsonpath={.data.a}
        get configmap one none
        get configmaps -o wide --show-labels
        get nothing
        describe configmap one
        label configmap one color=red
        label configmap one color=blue
        label configmap one color=blue --overwrite
        get configmaps -l color=blue -o name
        get configmaps --field-selector=metadata.name=one -o name
        get configmaps --field-selector=data.a=1
        annotate configmap one note=something
        patch configmap one -p {"data":{"b":"2"}}
        patch configmap one --type=merge -p {"data":{"a":null}}
        patch configmap one --type=json -p [{"op":"add","path":"/data/c","value":"3"}]
        patch configmap one --type=json -p [{"op":"remove","path":"/data/none"}]
        patch configmap one --subresource=status -p {"data":{"b":"2"}}
        get configmap one -o jsonpath={.data}
        KUBE_EDITOR=sed\\ -i\\ s/c:.*/c:\\ edited/ edit configmap one
        KUBE_EDITOR=true edit configmap one
        get configmap one -o jsonpath={.data}
        create secret generic hidden --from-literal=password=swordfish
        describe secret hidden
        get secret hidden -o jsonpath={.data.password}
        create serviceaccount robot
        create role reader --verb=get,list --resource=pods
        create token robot --duration=1s
        create rolebinding readers --role=reader --user=robot --group=NAMESPACE:readers
        auth can-i list pods --as=robot
        auth can-i delete pods --as=robot
        auth whoami --as=robot -o jsonpath={.status.userInfo.username}
        get pods --as=robot
        get pods --as=
        get secrets --as=robot
        create quota limit --hard=pods=5
        describe quota limit
        wait --for=jsonpath={.data.b}=2 configmap/one --timeout=5s
        wait --for=jsonpath={.data.b}=9 configmap/one --timeout=1s
        delete configmap one
        delete configmap one
        delete configmap one --ignore-not-found
        get configmaps -o name
        """,
    "apply": """
        < settings.yaml apply -f -
        < settings.yaml apply -f -
        < settings-changed.yaml diff -f -
        < settings-changed.yaml apply --dry-run=server -o yaml -f -
        < settings-changed.yaml apply -f -
        get configmap settings -o jsonpath={.data}
        apply view-last-applied configmap settings
        < settings.yaml replace -f -
        < settings.yaml apply --server-side -f -
        < settings-changed.yaml apply --server-side --field-manager=other -f -
        < settings-changed.yaml apply --server-side --field-manager=other --force-conflicts -f -
        get configmap settings -o yaml --show-managed-fields
        < settings.yaml get -f - -o name
        < settings.yaml create -f -
        < invalid.yaml apply -f -
        < invalid.yaml apply --server-side -f -
        < misspelt.yaml apply -f -
        < misspelt.yaml apply --server-side -f -
        < misspelt.yaml create --validate=warn -f -
        < invalid.yaml create --validate=false -f -
        < settings.yaml apply --prune -l part=settings -f -
        < settings.yaml delete -f -
        < settings.yaml delete -f -
        """,
    "workload": """
        < web.yaml apply -f -
        ~ rollout status deployment/web --timeout=40s
        get deployments,replicasets,services
        get endpointslices -l kubernetes.io/service-name=web -o jsonpath={.items[0].ports[0].port}
        get pods -o wide
        describe service web
        logs deployment/web
        logs deployment/web --previous
        logs deployment/web -c none
        exec deployment/web -- echo hello
        exec deployment/web -- sh -c exit\\ 3
        exec deployment/web -- none
        exec -c none deployment/web -- true
        scale deployment web --replicas=2
        ~ rollout status deployment/web --timeout=40s
        scale deployment web --current-replicas=5 --replicas=1
        set env deployment/web A=1
        ~ rollout status deployment/web --timeout=40s
        rollout history deployment/web
        rollout history deployment/web --revision=2
        rollout undo deployment/web
        ~ rollout status deployment/web --timeout=40s
        rollout restart deployment/web
        rollout pause deployment/web
        rollout resume deployment/web
        ~ rollout status deployment/web --timeout=40s
        set image deployment/web web=IMAGE
        set resources deployment/web --limits=memory=64Mi
        autoscale deployment web --min=1 --max=3
        expose deployment web --name=again --port=81
        get service again -o jsonpath={.spec.ports[0].port}
        set selector service again app=other
        port-forward deployment/web none
        cordon none
        drain none
        delete deployment web --cascade=foreground --timeout=30s
        get pods -l app=web -o name
        delete service,hpa --all
        get all
        """,
    "watch": """
        get configmaps --watch --request-timeout=1s
        get configmaps --watch-only --request-timeout=1s
        get configmaps --watch --output-watch-events -o name --request-timeout=1s
        get configmaps --chunk-size=1 -o name
        get events --watch --request-timeout=1s
        """,
    "custom": """
        < crd.yaml create -f -
        ? wait --for=condition=Established crd/widgets.NAMESPACE.example.com --timeout=20s
        ? wait --for=create widgets.NAMESPACE.example.com/none --timeout=1s
        < widget.yaml apply -f -
        < bad-widget.yaml apply -f -
        get wdg.NAMESPACE.example.com
        get widgets.NAMESPACE.example.com first -o yaml
        patch widgets.NAMESPACE.example.com first --type=merge -p {"spec":{"size":4}}
        patch widgets.NAMESPACE.example.com first --type=strategic -p {"spec":{"size":5}}
        < widget.yaml apply --server-side --force-conflicts -f -
        describe widgets.NAMESPACE.example.com first
        delete widgets.NAMESPACE.example.com --all
        delete crd widgets.NAMESPACE.example.com
        """,
}
