{{/*
The parts of a pod. A parent chart includes them in its pod template:

  metadata:
    labels:      {{- include "sidecar.podLabels" .Subcharts.sidecar | nindent 8 }}
    annotations: {{- include "sidecar.podAnnotations" .Subcharts.sidecar | nindent 8 }}
  spec:
    initContainers: {{- include "sidecar.container" .Subcharts.sidecar | nindent 8 }}
    volumes:        {{- include "sidecar.volumes" .Subcharts.sidecar | nindent 8 }}
*/}}

{{/*
One native sidecar (an init container that keeps running). The application starts once the
sidecar has a key, Jobs complete, and the sidecar gets SIGTERM after the application has
ended. There is no preStop hook: it would run when the termination of the pod begins, and
the application would lose the sidecar.
*/}}
{{- define "sidecar.container" -}}
{{- include "sidecar.validate" . -}}
{{- $settings := include "sidecar.settings" . | fromJson -}}
- name: sidecar
  restartPolicy: Always
  args: [run]
  {{- include "sidecar.containerBase" . | nindent 2 }}
  ports:
    - name: sidecar-admin
      containerPort: {{ include "sidecar.port" $settings.admin.listen }}
      protocol: TCP
    {{- if $settings.webhooks }}
    - name: sidecar-hooks
      containerPort: {{ include "sidecar.port" $settings.webhook_listener.listen }}
      protocol: TCP
    {{- end }}
  startupProbe:
    httpGet:
      path: /startupz
      port: sidecar-admin
    periodSeconds: 1
    timeoutSeconds: 2
    failureThreshold: {{ int64 .Values.container.startupSeconds }}
  livenessProbe:
    httpGet:
      path: /livez
      port: sidecar-admin
    periodSeconds: 10
    timeoutSeconds: 2
    failureThreshold: 3
  readinessProbe:
    httpGet:
      path: /readyz
      port: sidecar-admin
    periodSeconds: 5
    timeoutSeconds: 2
    failureThreshold: 2
{{- end -}}

{{- define "sidecar.volumes" -}}
- name: sidecar-settings
  configMap:
    name: {{ include "sidecar.fullname" . }}
{{- if include "sidecar.sockets" . }}
- name: sidecar-run
  emptyDir:
    medium: Memory
    sizeLimit: 1Mi
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* For the application's container, if it calls through a Unix socket. */}}
{{- define "sidecar.appVolumeMounts" -}}
{{- if include "sidecar.sockets" . -}}
- name: sidecar-run
  mountPath: /run/sidecar
{{- end -}}
{{- end -}}

{{/*
The checksum restarts the pods when the settings change. EKS gives AWS credentials to every
container of the pod except those in skip-containers, so the application gets none and
cannot read the secret.
*/}}
{{- define "sidecar.podAnnotations" -}}
{{- include "sidecar.validate" . -}}
checksum/sidecar-settings: {{ include "sidecar.toml" . | sha256sum }}
{{- if .Values.podAnnotations.skipContainers }}
{{- if not .Values.app.containers }}
{{- fail "\n\napp.containers is empty: name the containers of your application, so that EKS gives AWS credentials to the sidecar only (or set podAnnotations.skipContainers=false)\n" }}
{{- end }}
eks.amazonaws.com/skip-containers: {{ join "," .Values.app.containers | quote }}
{{- end }}
{{- if .Values.podAnnotations.prometheus }}
prometheus.io/scrape: "true"
prometheus.io/path: /metrics
prometheus.io/port: {{ include "sidecar.port" (include "sidecar.settings" . | fromJson).admin.listen | quote }}
{{- end }}
{{- end -}}
