{{/* The pod of the Deployment and of the Job: one application, one sidecar. */}}
{{- define "crm-sync.pod" -}}
metadata:
  labels:
    app.kubernetes.io/name: {{ .Chart.Name }}
    app.kubernetes.io/component: {{ .component }}
    {{- include "sidecar.podLabels" .Subcharts.sidecar | nindent 4 }}
  annotations:
    {{- include "sidecar.podAnnotations" .Subcharts.sidecar | nindent 4 }}
spec:
  serviceAccountName: {{ .Chart.Name }}
  automountServiceAccountToken: false
  shareProcessNamespace: false
  terminationGracePeriodSeconds: 60
  {{- if eq .component "job" }}
  restartPolicy: Never
  {{- end }}
  securityContext:
    runAsNonRoot: true
    seccompProfile:
      type: RuntimeDefault
  initContainers:
    {{- include "sidecar.container" .Subcharts.sidecar | nindent 4 }}
  containers:
    - name: app
      image: {{ .Values.image | quote }}
      args: [{{ .component }}]
      env:
        - name: FLOWNALLY_URL
          value: http://127.0.0.1:8700
      {{- if eq .component "service" }}
      ports:
        - name: http
          containerPort: 3000
      {{- end }}
      securityContext:
        allowPrivilegeEscalation: false
        capabilities:
          drop: [ALL]
        readOnlyRootFilesystem: true
        runAsUser: 1000
      {{- with include "sidecar.appVolumeMounts" .Subcharts.sidecar }}
      volumeMounts:
        {{- . | nindent 8 }}
      {{- end }}
  volumes:
    {{- include "sidecar.volumes" .Subcharts.sidecar | nindent 4 }}
{{- end -}}
