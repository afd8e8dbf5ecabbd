{{/* The name of everything that is there once. */}}
{{- define "acequia.name" -}}
{{- if contains "acequia" .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-acequia" .Release.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{/* The name of everything that is there once in a cluster. */}}
{{- define "acequia.clusterWideName" -}}
{{ printf "%s-%s" .Release.Namespace (include "acequia.name" .) | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "acequia.selector" -}}
app.kubernetes.io/name: acequia
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "acequia.labels" -}}
{{ include "acequia.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "acequia.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (include "acequia.name" .) }}
{{- end }}

{{- define "acequia.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* Names of the Secrets that the operator itself reads, as files. */}}
{{- define "acequia.secrets" -}}
{{- $names := list }}
{{- range .Values.kafka }}
{{- with .tls }}{{ with .caSecret }}{{ $names = append $names .name }}{{ end }}{{ end }}
{{- with .sasl }}{{ $names = append $names .credentialsSecret }}{{ end }}
{{- end }}
{{- range .Values.connect }}{{ with .credentialsSecret }}{{ $names = append $names . }}{{ end }}{{ end }}
{{- $names | uniq | join "," }}
{{- end }}

{{/* Also where the values are those of a chart that didn't know it yet (helm upgrade --reuse-values). */}}
{{- define "acequia.networkPolicies" -}}
{{ ne (toString .Values.networkPolicies) "false" }}
{{- end }}

{{- define "acequia.podSecurity" -}}
runAsNonRoot: true
{{- with .Values.runAsUser }}
runAsUser: {{ . }}
runAsGroup: {{ . }}
fsGroup: {{ . }}
{{- end }}
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "acequia.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* A host without a dot is another Service in each namespace: its owner would get the credentials. */}}
{{- define "acequia.checkCredentials" -}}
{{- if eq .Values.scope "Cluster" }}
{{- range $index, $entry := .Values.kafka }}{{ if $entry.sasl }}{{ range splitList "," $entry.bootstrapServers }}
{{- if not (contains "." .) }}{{ fail (printf "kafka[%d].bootstrapServers: `%s` has credentials and, with scope Cluster, is another Service in each namespace, whose owner would get them: write its whole name, <service>.<namespace>.svc" $index (trim .)) }}{{ end }}
{{- end }}{{ end }}{{ end }}
{{- range $index, $entry := .Values.connect }}{{ if $entry.credentialsSecret }}
{{- if not (contains "." (urlParse $entry.url).host) }}{{ fail (printf "connect[%d].url: `%s` has credentials and, with scope Cluster, is another Service in each namespace, whose owner would get them: write its whole name, <service>.<namespace>.svc" $index $entry.url) }}{{ end }}
{{- end }}{{ end }}
{{- end }}
{{- end }}

{{/* The cluster's name is in every identity: under another one all Pipelines would begin anew beside what they had. */}}
{{- define "acequia.checkClusterName" -}}
{{- with lookup "v1" "ConfigMap" .Release.Namespace (include "acequia.name" .) }}
{{- $before := (get (.data | default dict) "operator.yaml" | default "" | fromYaml).cluster }}
{{- if and $before (ne $before $.Values.clusterName) }}{{ fail (printf "clusterName: `%s` was `%s`, which all Pipelines, their consumer groups and slots are known by: leave it, or delete the Pipelines, uninstall the release and install it anew" $.Values.clusterName $before) }}{{ end }}
{{- end }}
{{- end }}

{{/* What the operator may do, where its Pipelines are. No Secrets, no wildcards. */}}
{{- define "acequia.rules" -}}
- apiGroups: [acequia.dev]
  resources: [pipelines]
  verbs: [get, list, watch, patch]
- apiGroups: [acequia.dev]
  resources: [pipelines/status]
  verbs: [patch]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [namespaces]
  {{- if eq .Values.scope "Cluster" }}
  verbs: [list, watch]
  {{- else }}
  resourceNames: [{{ .Release.Namespace }}]
  verbs: [get]
  {{- end }}
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, create, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- end }}
