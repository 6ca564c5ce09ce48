{{/*
Names and labels.
*/}}
{{- define "sidecar.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "sidecar.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains (include "sidecar.name" .) .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "sidecar.name" .) | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "sidecar.labels" -}}
app.kubernetes.io/name: {{ include "sidecar.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/*
Labels of the pod that has the container. The PodMonitor, the NetworkPolicy and the
webhook Service select the pod by them.
*/}}
{{- define "sidecar.podLabels" -}}
credential-sidecar: {{ include "sidecar.fullname" . }}
{{- end -}}

{{- define "sidecar.image" -}}
{{- $at := .Values.image.repository -}}
{{- if not $at -}}
{{- fail "\n\nimage.repository is empty: say where you pushed the image that the Dockerfile builds, for example registry.example.com/sidecar\n" -}}
{{- end -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $at .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $at (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "sidecar.serviceAccountName" -}}
{{- default (include "sidecar.fullname" .) .Values.serviceAccount.name -}}
{{- end -}}

{{/*
The security context of every container of this chart: that of the restricted Pod
Security Standard, with a read-only root file system.
*/}}
{{- define "sidecar.securityContext" -}}
allowPrivilegeEscalation: false
capabilities:
  drop: [ALL]
readOnlyRootFilesystem: true
runAsNonRoot: true
runAsUser: {{ int64 .Values.container.runAsUser }}
runAsGroup: {{ int64 .Values.container.runAsGroup }}
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* Environment, mounts and image of every container of this chart. */}}
{{- define "sidecar.containerBase" -}}
image: {{ include "sidecar.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
env:
  - name: SIDECAR_CONFIG
    value: /etc/sidecar/sidecar.toml
  {{- with .Values.container.env }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
securityContext:
  {{- include "sidecar.securityContext" . | nindent 2 }}
resources:
  {{- toYaml .Values.container.resources | nindent 2 }}
terminationMessagePolicy: FallbackToLogsOnError
volumeMounts:
  - name: sidecar-settings
    mountPath: /etc/sidecar
    readOnly: true
  {{- if include "sidecar.sockets" . }}
  - name: sidecar-run
    mountPath: /run/sidecar
  {{- end }}
  {{- with .Values.container.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}
