{{/* A probe with the given timing. Where the web config asks for credentials the kubelet has none: then a connection must do. */}}
{{- define "kube-throttle-exporter.probe" -}}
{{- $how := dict }}
{{- if include "kube-throttle-exporter.probesLockedOut" .root }}
{{- $how = dict "tcpSocket" (dict "port" "metrics") }}
{{- else }}
{{- $how = dict "httpGet" (dict "path" .path "port" "metrics" "scheme" (include "kube-throttle-exporter.scheme" .root | upper)) }}
{{- end }}
{{- mergeOverwrite (deepCopy .timing) $how | toYaml }}
{{- end }}
