{{/* The pod of a command that runs once: a rotation or `helm test`. */}}
{{- define "sidecar.oncePod" -}}
restartPolicy: Never
automountServiceAccountToken: false
serviceAccountName: {{ .account }}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  seccompProfile:
    type: RuntimeDefault
containers:
  - name: sidecar
    args:
      {{- toYaml .args | nindent 6 }}
    {{- include "sidecar.containerBase" .root | nindent 4 }}
volumes:
  {{- include "sidecar.volumes" .root | nindent 2 }}
{{- end -}}
