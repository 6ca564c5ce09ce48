{{/*
Writes the values as the sidecar's TOML file. The values have the names of the settings;
values.schema.json refuses what the sidecar would refuse.
*/}}

{{/* The settings with the defaults of a pod: kubelet and Prometheus connect to its IP. */}}
{{- define "sidecar.settings" -}}
{{- $pod := dict "admin" (dict "listen" "0.0.0.0:8701") "webhook_listener" (dict "listen" "0.0.0.0:8702") -}}
{{- mergeOverwrite $pod (deepCopy .Values.settings) | toJson -}}
{{- end -}}

{{- define "sidecar.toml" -}}
{{- $settings := include "sidecar.settings" . | fromJson -}}
{{- if not $settings.webhooks -}}
{{- $settings = omit $settings "webhook_listener" -}}
{{- end -}}
{{- include "sidecar.toml.table" (dict "path" "" "table" $settings) -}}
{{- end -}}

{{/* A table: its heading (unless it holds tables only), its values, its inner tables. */}}
{{- define "sidecar.toml.table" -}}
{{- $path := .path -}}
{{- $table := .table -}}
{{- $plain := list -}}
{{- $tables := list -}}
{{- range $key := keys $table | sortAlpha -}}
{{- $value := get $table $key -}}
{{- if kindIs "map" $value }}{{ $tables = append $tables $key }}
{{- else if not (kindIs "invalid" $value) }}{{ $plain = append $plain $key }}{{ end -}}
{{- end -}}
{{- if and $path (or $plain (not $tables)) }}

[{{ $path }}]
{{- end -}}
{{- range $key := $plain }}
{{ include "sidecar.toml.key" $key }} = {{ include "sidecar.toml.value" (get $table $key) }}
{{- end -}}
{{- range $key := $tables -}}
{{- $inner := include "sidecar.toml.key" $key -}}
{{- if $path }}{{ $inner = printf "%s.%s" $path $inner }}{{ end -}}
{{- include "sidecar.toml.table" (dict "path" $inner "table" (get $table $key)) -}}
{{- end -}}
{{- end -}}

{{- define "sidecar.toml.key" -}}
{{- if regexMatch "^[A-Za-z0-9_-]+$" . }}{{ . }}{{ else }}{{ toJson . }}{{ end -}}
{{- end -}}

{{/* JSON strings and numbers are TOML strings and numbers; only maps differ. */}}
{{- define "sidecar.toml.value" -}}
{{- $all := . -}}
{{- if kindIs "slice" . -}}
[{{ range $index, $one := . }}{{ if $index }}, {{ end }}{{ include "sidecar.toml.value" $one }}{{ end }}]
{{- else if kindIs "map" . -}}
{ {{ range $index, $key := keys . | sortAlpha }}{{ if $index }}, {{ end }}{{ include "sidecar.toml.key" $key }} = {{ include "sidecar.toml.value" (get $all $key) }}{{ end }} }
{{- else -}}
{{- toJson . -}}
{{- end -}}
{{- end -}}

{{/* The port of an address; empty for a Unix socket. */}}
{{- define "sidecar.port" -}}
{{- if not (hasPrefix "unix:" .) }}{{ regexFind "[0-9]+$" . }}{{ end -}}
{{- end -}}

{{/* The Unix sockets among the listeners, as text; empty without one. */}}
{{- define "sidecar.sockets" -}}
{{- range $name, $upstream := .Values.settings.upstreams -}}
{{- if hasPrefix "unix:" (default "" $upstream.listen) }}{{ $upstream.listen }} {{ end -}}
{{- end -}}
{{- end -}}
