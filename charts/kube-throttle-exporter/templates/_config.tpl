{{/*
From values to what the exporter is started with. Everything under "config" is an option of the exporter, under the
option's own name: config.sample.interval is --sample.interval. So there is nothing here to extend when one is added.
*/}}

{{/* The options that are set, as a JSON list of arguments. */}}
{{- define "kube-throttle-exporter.options" -}}
{{- $found := dict "arguments" list }}
{{- include "kube-throttle-exporter.collectOptions" (dict "prefix" "--" "values" .Values.config "found" $found) }}
{{- if include "kube-throttle-exporter.webConfigured" . }}
{{- $_ := set $found "arguments" (append $found.arguments (printf "--web.config.file=%s" (include "kube-throttle-exporter.webConfigPath" .))) }}
{{- end }}
{{- concat $found.arguments .Values.extraArgs | toJson }}
{{- end }}

{{- define "kube-throttle-exporter.collectOptions" -}}
{{- range $name := keys .values | sortAlpha }}
{{- $value := index $.values $name }}
{{- $option := printf "%s%s" $.prefix $name }}
{{- if kindIs "map" $value }}
{{- include "kube-throttle-exporter.collectOptions" (dict "prefix" (printf "%s." $option) "values" $value "found" $.found) }}
{{- else if not (kindIs "invalid" $value) }}
{{- if kindIs "slice" $value }}{{ $value = join "," $value }}{{ end }}
{{- $_ := set $.found "arguments" (append $.found.arguments (printf "%s=%v" $option $value)) }}
{{- end }}
{{- end }}
{{- end }}

{{/*
The options of paths and of the web server once more, as environment variables: what is started by `kubectl exec`, such
as explain, gets none of the arguments, and has to find the same tree and the running exporter. Arguments win over
variables, so that serve sees no difference.
*/}}
{{- define "kube-throttle-exporter.sharedOptions" -}}
{{- $found := list }}
{{- range include "kube-throttle-exporter.options" . | fromJsonArray }}
{{- $name := regexFind `^--(path|web)\.[^=]+` . }}
{{- if $name }}
{{- $variable := regexReplaceAll `[.-]` (trimPrefix "--" $name) "_" | upper | printf "THROTTLE_EXPORTER_%s" }}
{{- $found = append $found (dict "name" $variable "value" (trimPrefix (printf "%s=" $name) .)) }}
{{- end }}
{{- end }}
{{- $found | toJson }}
{{- end }}

{{/* Pod sources as a list; unset, the exporter's own default. */}}
{{- define "kube-throttle-exporter.podSources" -}}
{{- $sources := .Values.config.pods.sources }}
{{- if kindIs "invalid" $sources }}{{ $sources = list "kubelet" "apiserver" "logs" }}{{ end }}
{{- if kindIs "string" $sources }}{{ $sources = splitList "," $sources }}{{ end }}
{{- $sources | toJson }}
{{- end }}

{{/* Whether the pod source named by "source" is on: text, or nothing. */}}
{{- define "kube-throttle-exporter.hasPodSource" -}}
{{- if has .source (include "kube-throttle-exporter.podSources" .root | fromJsonArray) }}on{{ end }}
{{- end }}

{{/* Whether the process talks to Kubernetes at all, which is what it needs a token for. */}}
{{- define "kube-throttle-exporter.needsToken" -}}
{{- include "kube-throttle-exporter.hasPodSource" (dict "root" . "source" "kubelet") }}
{{- include "kube-throttle-exporter.hasPodSource" (dict "root" . "source" "apiserver") }}
{{- end }}

{{/* Where the node's cgroup tree and logs appear inside the container. */}}
{{- define "kube-throttle-exporter.cgroupPath" -}}
{{- default "/sys/fs/cgroup" .Values.config.path.cgroup }}
{{- end }}
{{- define "kube-throttle-exporter.logsPath" -}}
{{- default "/var/log" .Values.config.path.logs }}
{{- end }}

{{/* The port of --web.listen-address, whose own default is :9843. */}}
{{- define "kube-throttle-exporter.port" -}}
{{- regexFind "[0-9]+$" (default ":9843" (index .Values.config.web "listen-address")) }}
{{- end }}
{{- define "kube-throttle-exporter.metricsPath" -}}
{{- default "/metrics" (index .Values.config.web "telemetry-path") }}
{{- end }}

{{- define "kube-throttle-exporter.webConfigured" -}}
{{- if or .Values.webConfig.content .Values.webConfig.existingSecret }}on{{ end }}
{{- end }}
{{- define "kube-throttle-exporter.webConfigPath" -}}
/etc/kube-throttle-exporter/web/{{ .Values.webConfig.key }}
{{- end }}
{{- define "kube-throttle-exporter.webConfigSecret" -}}
{{- default (printf "%s-web-config" (include "kube-throttle-exporter.fullname" . | trunc 52 | trimSuffix "-")) .Values.webConfig.existingSecret }}
{{- end }}

{{/* Whether the web config is a file that the chart does not see: webConfig.tls and webConfig.credentials tell of it. */}}
{{- define "kube-throttle-exporter.webConfigUnseen" -}}
{{- if or .Values.webConfig.existingSecret .Values.config.web.config.file }}on{{ end }}
{{- end }}

{{/* http or https: read from the file where the chart has it, told by webConfig.tls where it has not. */}}
{{- define "kube-throttle-exporter.scheme" -}}
{{- if or .Values.webConfig.content.tls_server_config (and (include "kube-throttle-exporter.webConfigUnseen" .) .Values.webConfig.tls) }}https{{ else }}http{{ end }}
{{- end }}

{{/* Whether the file that the chart has asks for a client certificate: text, or nothing. */}}
{{- define "kube-throttle-exporter.clientCertificates" -}}
{{- $tls := default dict .Values.webConfig.content.tls_server_config }}
{{- if has (default "NoClientCert" $tls.client_auth_type) (list "RequireAnyClientCert" "RequireAndVerifyClientCert") }}on{{ end }}
{{- end }}

{{/* Whether a kubelet's HTTP probe is turned away: it has neither a password nor a certificate. */}}
{{- define "kube-throttle-exporter.probesLockedOut" -}}
{{- $told := and (include "kube-throttle-exporter.webConfigUnseen" .) .Values.webConfig.credentials }}
{{- if or (include "kube-throttle-exporter.clientCertificates" .) .Values.webConfig.content.basic_auth_users $told }}on{{ end }}
{{- end }}
