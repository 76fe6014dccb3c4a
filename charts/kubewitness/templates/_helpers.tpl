{{/* Names. */}}
{{- define "kubewitness.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "kubewitness.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- /* StatefulSets put a hash of 11 characters behind it, in a label of at most 63. */ -}}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "kubewitness.headless" -}}
{{ include "kubewitness.fullname" . }}-pods
{{- end }}

{{/* The account of the proxy's pods. */}}
{{- define "kubewitness.account" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "kubewitness.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* Cluster-wide objects have the namespace in their names: there may be several releases. */}}
{{- define "kubewitness.clusterName" -}}
{{ .Release.Namespace }}-{{ include "kubewitness.fullname" . }}
{{- end }}

{{/* Groups that grants give here, and the objects that say what those may do; none until they are asked for. */}}
{{- define "kubewitness.granted" -}}
{{- $groups := list }}
{{- $objects := list }}
{{- with .Values.impersonation.roles }}
{{- if .create }}
{{- $held := $.Files.Get "files/rights.yaml" | fromYaml }}
{{- $parts := list $held.cluster }}
{{- range uniq .namespaces | sortAlpha }}
{{- $parts = $held.namespace | toJson | replace "NAMESPACE" . | fromJson | append $parts }}
{{- end }}
{{- range $parts }}
{{- $groups = concat $groups .groups }}
{{- $objects = concat $objects .objects }}
{{- end }}
{{- end }}
{{- end }}
{{- dict "groups" $groups "objects" $objects | toJson }}
{{- end }}

{{- define "kubewitness.serviceName" -}}
{{ include "kubewitness.fullname" . }}.{{ .Release.Namespace }}.svc
{{- end }}

{{/* Secrets: those that are named, or the generated one. */}}
{{- define "kubewitness.generatesKeys" -}}
{{- if not (and .Values.authority.existingSecret .Values.stateKey.existingSecret) }}true{{ end }}
{{- end }}

{{- define "kubewitness.keysSecret" -}}
{{ include "kubewitness.fullname" . }}-keys
{{- end }}

{{- define "kubewitness.authoritySecret" -}}
{{ default (include "kubewitness.keysSecret" .) .Values.authority.existingSecret }}
{{- end }}

{{- define "kubewitness.authorityCert" -}}
{{ ternary .Values.authority.certKey "ca.crt" (ne .Values.authority.existingSecret "") }}
{{- end }}

{{- define "kubewitness.authorityKey" -}}
{{ ternary .Values.authority.keyKey "ca.key" (ne .Values.authority.existingSecret "") }}
{{- end }}

{{/* Labels. */}}
{{- define "kubewitness.selector" -}}
app.kubernetes.io/name: {{ include "kubewitness.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "kubewitness.labels" -}}
{{ include "kubewitness.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: kubewitness
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* The image by name and tag or digest. */}}
{{- define "kubewitness.image" -}}
{{- with .Values.image.registry }}{{ . }}/{{ end }}{{ .Values.image.repository }}
{{- if .Values.image.digest }}@{{ .Values.image.digest }}{{ else }}:{{ default .Chart.AppVersion .Values.image.tag }}{{ end }}
{{- end }}

{{/* Restricted Pod Security, of a pod and of each container. */}}
{{- define "kubewitness.podSecurity" -}}
runAsNonRoot: true
{{- range $key := list "runAsUser" "runAsGroup" "fsGroup" }}
{{- $id := index $.Values.security $key }}
{{- if not (kindIs "invalid" $id) }}
{{ $key }}: {{ int64 $id }}
{{- end }}
{{- end }}
{{- /* Once is enough, and files that only their owner may read stay so. */}}
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "kubewitness.containerSecurity" -}}
allowPrivilegeEscalation: false
privileged: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{/* The account's token, mounted where it is used and nowhere else; kubelet renews it. */}}
{{- define "kubewitness.tokenVolume" -}}
- name: token
  projected:
    defaultMode: 0440
    sources:
      - serviceAccountToken:
          path: token
          expirationSeconds: 3600
      - configMap:
          name: kube-root-ca.crt
          items:
            - key: ca.crt
              path: ca.crt
      - downwardAPI:
          items:
            - path: namespace
              fieldRef:
                fieldPath: metadata.namespace
{{- end }}

{{- define "kubewitness.tokenMount" -}}
- name: token
  mountPath: /var/run/secrets/kubernetes.io/serviceaccount
  readOnly: true
{{- end }}

{{- define "kubewitness.tmpVolume" -}}
- name: tmp
  emptyDir:
    sizeLimit: 64Mi
{{- end }}

{{- define "kubewitness.scheduling" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}

{{/* A setting's value as its environment variable has it. Large numbers are floats in templates. */}}
{{- define "kubewitness.setting" -}}
{{- if kindIs "slice" . }}{{ join "," . }}
{{- else if and (kindIs "float64" .) (eq (floor .) .) }}{{ int64 . }}
{{- else }}{{ . }}{{ end }}
{{- end }}

{{/* Names in the server's certificate, the one of kubeconfigs first. */}}
{{- define "kubewitness.names" -}}
{{- $full := include "kubewitness.fullname" . }}
{{- $service := include "kubewitness.serviceName" . }}
{{- $own := list $service $full (printf "%s.%s" $full .Release.Namespace) (printf "%s.%s" $service .Values.cluster.domain) }}
{{- $control := printf "%s-control.%s.svc" $full .Release.Namespace }}
{{- $first := without (list .Values.public.host) "" }}
{{- $all := concat $first $own .Values.tls.names }}
{{- if .Values.control.service.enabled }}{{ $all = append $all $control }}{{ end }}
{{- join "," (uniq $all) }}
{{- end }}

{{- define "kubewitness.advertise" -}}
{{- if .Values.public.host }}{{ .Values.public.host }}:{{ .Values.public.port }}
{{- else }}{{ include "kubewitness.serviceName" . }}:{{ .Values.service.port }}{{ end }}
{{- end }}

{{/* What cannot be, said before anything is made. */}}
{{- define "kubewitness.check" -}}
{{- with .Values }}
{{- if and (gt (int .replicas) 1) (not .database.existingSecret) }}
{{- fail "replicas: more than one share a PostgreSQL; set database.existingSecret (see the README of the chart)." }}
{{- end }}
{{- if and .database.existingSecret .database.migration.enabled (not .database.migration.existingSecret) }}
{{- fail "database.migration.existingSecret: name the Secret with an administrator's URL, or set database.migration.enabled to false and run `kubewitness db upgrade` yourself." }}
{{- end }}
{{- if and .ingress.enabled (not .public.host) }}
{{- fail "public.host: an Ingress needs the name that it routes by." }}
{{- end }}
{{- if and .gateway.enabled (not (and .public.host .gateway.parentRefs)) }}
{{- fail "gateway: a TLSRoute needs public.host and gateway.parentRefs." }}
{{- end }}
{{- if and .monitoring.serviceMonitor.enabled .monitoring.podMonitor.enabled }}
{{- fail "monitoring: a ServiceMonitor and a PodMonitor would scrape each pod twice; enable one." }}
{{- end }}
{{- end }}
{{- end }}

{{/* What the proxy and its init container both see. */}}
{{- define "kubewitness.mounts" -}}
- name: data
  mountPath: /var/lib/kubewitness
- name: tmp
  mountPath: /tmp
- name: authority
  mountPath: /etc/kubewitness/authority
  readOnly: true
- name: state
  mountPath: /etc/kubewitness/state
  readOnly: true
{{- if .Values.tls.existingSecret }}
- name: server
  mountPath: /etc/kubewitness/server
  readOnly: true
{{- end }}
{{- if .Values.database.existingSecret }}
- name: database
  mountPath: /etc/kubewitness/database
  readOnly: true
{{- end }}
{{- include "kubewitness.databaseCAMount" . }}
{{- end }}

{{- define "kubewitness.databaseCAMount" -}}
{{- if and .Values.database.existingSecret .Values.database.caSecret }}
- name: database-ca
  mountPath: /etc/kubewitness/database-ca
  readOnly: true
{{- end }}
{{- end }}

{{- define "kubewitness.databaseCAVolume" -}}
{{- if and .Values.database.existingSecret .Values.database.caSecret }}
- name: database-ca
  secret:
    secretName: {{ .Values.database.caSecret }}
    defaultMode: 0440
    items:
      - key: {{ .Values.database.caKey }}
        path: ca.crt
{{- end }}
{{- end }}

{{/* Rules of egress. */}}
{{- define "kubewitness.egressDNS" -}}
- ports:
    - port: 53
      protocol: UDP
    - port: 53
      protocol: TCP
  {{- with .Values.networkPolicy.egress.dns }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{- define "kubewitness.egressAPI" -}}
{{- if .Values.networkPolicy.egress.apiServer.ports }}
- ports:
    {{- range .Values.networkPolicy.egress.apiServer.ports }}
    - port: {{ . }}
      protocol: TCP
    {{- end }}
  {{- with .Values.networkPolicy.egress.apiServer.peers }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "kubewitness.egressDatabase" -}}
{{- if .Values.database.existingSecret }}
- ports:
    - port: {{ .Values.database.port }}
      protocol: TCP
  {{- with .Values.networkPolicy.egress.database }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- end }}
