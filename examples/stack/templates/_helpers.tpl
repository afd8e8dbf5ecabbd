{{- define "stack.labels" -}}
app.kubernetes.io/part-of: acequia-stack
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{ include "stack.selector" . }}
{{- end }}

{{- define "stack.selector" -}}
app.kubernetes.io/name: {{ .name }}
{{- end }}

{{/* A change of its files or of the image's content rolls a server. */}}
{{- define "stack.annotations" -}}
acequia.dev/image-content: {{ .root.Values.images.content | quote }}
acequia.dev/config: {{ include "stack.files" . | sha256sum | trunc 16 | quote }}
{{- end }}

{{/* What every pod has in common; restricted pod security holds for all of them. */}}
{{- define "stack.pod" -}}
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .uid }}
  runAsGroup: {{ .uid }}
  fsGroup: {{ .uid }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "stack.container" -}}
imagePullPolicy: {{ .Values.images.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{/* Files of the folder config, and further lines at the end of the first. */}}
{{- define "stack.files" -}}
{{- range $index, $file := .files }}
{{ $file }}: |
{{ $.root.Files.Get (print "config/" $file) | trim | indent 2 }}
{{- if and (eq $index 0) $.more }}
{{ $.more | trim | indent 2 }}
{{- end }}
{{- end }}
{{- end }}

{{- define "stack.configMap" -}}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .name }}-config
  labels: {{- include "stack.labels" . | nindent 4 }}
data: {{- include "stack.files" . | nindent 2 }}
{{- end }}

{{- define "stack.service" -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ .name }}
  labels: {{- include "stack.labels" . | nindent 4 }}
spec:
  selector: {{- include "stack.selector" . | nindent 4 }}
  ports: [{name: {{ .name }}, port: {{ .port }}, targetPort: {{ .name }}}]
{{- end }}

{{/* The volume `data`, where it goes with the pod; and the claim for it, where it stays. */}}
{{- define "stack.dataVolume" -}}
{{- if not .root.Values.persistence }}
- name: data
  emptyDir: {sizeLimit: {{ .storage }}}
{{- end }}
{{- end }}

{{- define "stack.dataClaim" -}}
{{- if .root.Values.persistence }}
volumeClaimTemplates:
  - apiVersion: v1
    kind: PersistentVolumeClaim
    metadata:
      name: data
      labels: {{- include "stack.selector" . | nindent 8 }}
        app.kubernetes.io/part-of: acequia-stack
    spec:
      accessModes: [ReadWriteOnce]
      resources: {requests: {storage: {{ .storage }}}}
{{- end }}
{{- end }}
