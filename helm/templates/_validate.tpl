{{/*
Rules across values, which a schema cannot express. Each one ends the rendering with a
sentence that says what to do.
*/}}
{{- define "sidecar.validate" -}}
{{- $settings := include "sidecar.settings" . | fromJson -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" (include "sidecar.fullname" .)) -}}
{{- fail (printf "\n\n%s cannot be the name of a Service: set fullnameOverride to small letters, digits and hyphens, with a letter first, for example crm-sidecar\n" (include "sidecar.fullname" .)) -}}
{{- end -}}
{{- if not $settings.job -}}
{{- fail "\n\nsettings.job is missing: say which job this key is for, for example\n  settings:\n    job: {name: production-crm-sync, environment: production}\n" -}}
{{- end -}}
{{- if not (or $settings.upstreams $settings.webhooks) -}}
{{- fail "\n\nsettings.upstreams is empty: name the API that your application calls, for example\n  settings:\n    upstreams:\n      flownally:\n        base_url: https://api.flownally.com/v1\n        credential: {secret_id: prod/flownally/crm-sync}\n" -}}
{{- end -}}
{{- range $name, $upstream := $settings.upstreams -}}
{{- include "sidecar.validate.secret" (dict "at" (printf "settings.upstreams.%s.credential" $name) "secret" $upstream.credential) -}}
{{- if and (hasPrefix "unix:" (default "" $upstream.listen)) (not $upstream.allow_uids) -}}
{{- fail (printf "\n\nsettings.upstreams.%s listens on a Unix socket, but its allow_uids is empty: name the user of your application, for example [1000]\n" $name) -}}
{{- end -}}
{{- end -}}
{{- range $name, $webhook := $settings.webhooks -}}
{{- include "sidecar.validate.secret" (dict "at" (printf "settings.webhooks.%s" $name) "secret" $webhook) -}}
{{- end -}}
{{- include "sidecar.validate.reachable" (dict "at" "settings.admin.listen" "listen" $settings.admin.listen "who" "kubelet and Prometheus come" "use" "0.0.0.0:8701") -}}
{{- if $settings.webhooks -}}
{{- include "sidecar.validate.reachable" (dict "at" "settings.webhook_listener.listen" "listen" $settings.webhook_listener.listen "who" "the Service comes" "use" "0.0.0.0:8702") -}}
{{- end -}}
{{- include "sidecar.validate.ports" . -}}
{{- range $socket := include "sidecar.sockets" . | splitList " " -}}
{{- if and $socket (not (regexMatch "^unix:/run/sidecar/[^/]+$" $socket)) -}}
{{- fail (printf "\n\n%s: in a pod a Unix socket must lie in /run/sidecar, the one folder that the containers share\n" $socket) -}}
{{- end -}}
{{- end -}}
{{- if and $settings.webhooks (not (or .Values.webhookService.enabled .Values.webhookService.existing)) -}}
{{- fail "\n\nsettings.webhooks has an endpoint, but no Service leads to it: set webhookService.enabled=true, or webhookService.existing=true when you have one of your own\n" -}}
{{- end -}}
{{- if and .Values.webhookService.enabled (not $settings.webhooks) -}}
{{- fail "\n\nwebhookService.enabled=true, but settings.webhooks has no endpoint: name one, or set webhookService.enabled=false\n" -}}
{{- end -}}
{{- if and .Values.rotation.enabled (not $settings.rotation) -}}
{{- fail "\n\nrotation.enabled=true, but settings.rotation is missing: it says whose key is rotated and with which credential\n" -}}
{{- end -}}
{{- if and .Values.rotation.enabled (not $settings.job.rotate_every_days) -}}
{{- fail "\n\nrotation.enabled=true, but settings.job.rotate_every_days is missing: it says how old a key may become, for example 90\n" -}}
{{- end -}}
{{- if and .Values.rotation.enabled (not .Values.rotation.serviceAccountName) -}}
{{- fail "\n\nrotation.enabled=true, but rotation.serviceAccountName is empty: name an account whose role may write the secret; not that of your pods, which only read it\n" -}}
{{- end -}}
{{- if .Values.rotation.enabled -}}
{{- include "sidecar.validate.deadline" . -}}
{{- end -}}
{{- if and .Values.networkPolicy.enabled (not .Values.networkPolicy.monitoringFrom) -}}
{{- fail "\n\nnetworkPolicy.monitoringFrom is empty, which would open the admin port to every client: say where your Prometheus is, or leave the value out for every namespace of the cluster\n" -}}
{{- end -}}
{{- if and (not (kindIs "invalid" .Values.app.uid)) (eq (int64 .Values.app.uid) (int64 .Values.container.runAsUser)) -}}
{{- fail (printf "\n\napp.uid and container.runAsUser are both %d: give the sidecar a user of its own, or the application may read the sidecar's memory\n" (int64 .Values.app.uid)) -}}
{{- end -}}
{{- if has "sidecar" .Values.app.containers -}}
{{- fail "\n\napp.containers names the sidecar: it is the one container that must get AWS credentials; list those of your application only\n" -}}
{{- end -}}
{{- end -}}

{{- define "sidecar.validate.secret" -}}
{{- $secret := default dict .secret -}}
{{- $named := default "" $secret.secret_id -}}
{{- $file := default "" $secret.file -}}
{{- if and (not $named) (not $file) -}}
{{- fail (printf "\n\n%s says nowhere to find the secret: set secret_id (a name or ARN in AWS Secrets Manager) or file (a path)\n" .at) -}}
{{- end -}}
{{- if and $named $file -}}
{{- fail (printf "\n\n%s has both secret_id and file: keep the one that is meant\n" .at) -}}
{{- end -}}
{{- end -}}

{{/* A listener for clients outside the pod: on the pod's address, at a known port. */}}
{{- define "sidecar.validate.reachable" -}}
{{- $wrong := "" -}}
{{- if hasPrefix "unix:" .listen }}{{ $wrong = "is a Unix socket" }}
{{- else if regexMatch "^(127\\.|localhost:|\\[[0:]*1\\])" .listen }}{{ $wrong = "is a loopback address" }}
{{- else if not (regexMatch ":[1-9][0-9]*$" .listen) }}{{ $wrong = "has no port" }}
{{- end -}}
{{- if $wrong -}}
{{- fail (printf "\n\n%s %s: in a pod %s by the pod IP, so leave it out or use %s\n" .at $wrong .who .use) -}}
{{- end -}}
{{- end -}}

{{/* A run needs more time than the grace that it waits before it revokes the old key. */}}
{{- define "sidecar.validate.deadline" -}}
{{- $settings := include "sidecar.settings" . | fromJson -}}
{{- $upstreams := default dict $settings.upstreams -}}
{{- /* The only upstream, unless one is named. */ -}}
{{- $name := default (join "" (keys $upstreams)) $settings.rotation.upstream -}}
{{- $credential := default dict (default dict (get $upstreams $name)).credential -}}
{{- $grace := $settings.rotation.grace_seconds -}}
{{- if kindIs "invalid" $grace -}}
{{- $grace = mulf 2 (default 300 $credential.refresh_seconds) -}}
{{- end -}}
{{- if le (float64 .Values.rotation.deadlineSeconds) (float64 $grace) -}}
{{- fail (printf "\n\nrotation.deadlineSeconds is %v, but the old key is revoked after a grace of %v seconds (settings.rotation.grace_seconds, or else twice the refresh_seconds of the upstream): give it more than that, or every run is ended in its grace\n" .Values.rotation.deadlineSeconds $grace) -}}
{{- end -}}
{{- end -}}

{{/* The containers of a pod share one network, so no port may be used twice. */}}
{{- define "sidecar.validate.ports" -}}
{{- $settings := include "sidecar.settings" . | fromJson -}}
{{- $taken := dict -}}
{{- range $port := .Values.app.ports -}}
{{- $_ := set $taken (toString (int64 $port)) "app.ports" -}}
{{- end -}}
{{- $ours := dict "settings.admin.listen" $settings.admin.listen -}}
{{- if $settings.webhooks -}}
{{- $_ := set $ours "settings.webhook_listener.listen" $settings.webhook_listener.listen -}}
{{- end -}}
{{- range $name, $upstream := $settings.upstreams -}}
{{- $_ := set $ours (printf "settings.upstreams.%s.listen" $name) (default "127.0.0.1:8700" $upstream.listen) -}}
{{- end -}}
{{- range $at := keys $ours | sortAlpha -}}
{{- $port := include "sidecar.port" (get $ours $at) -}}
{{- if $port -}}
{{- if hasKey $taken $port -}}
{{- fail (printf "\n\n%s and %s both want port %s: containers of a pod share one network, give one of them another port\n" $at (get $taken $port) $port) -}}
{{- end -}}
{{- $_ := set $taken $port $at -}}
{{- end -}}
{{- end -}}
{{- end -}}
