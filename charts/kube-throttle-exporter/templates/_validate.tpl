{{/* What a schema cannot say: values that contradict each other end the rendering with the reason. */}}
{{- define "kube-throttle-exporter.validate" -}}
{{- if and .Values.serviceMonitor.enabled .Values.podMonitor.enabled }}
{{- fail "\n\nserviceMonitor.enabled and podMonitor.enabled are both true: each exporter would be scraped twice. Choose one." }}
{{- end }}
{{- if and .Values.serviceMonitor.enabled (not .Values.service.enabled) }}
{{- fail "\n\nserviceMonitor.enabled needs service.enabled: a ServiceMonitor finds its targets through the Service." }}
{{- end }}
{{- if and .Values.webConfig.content .Values.webConfig.existingSecret }}
{{- fail "\n\nwebConfig.content and webConfig.existingSecret are both set: the exporter reads one web config file. Choose one." }}
{{- end }}
{{- if and (include "kube-throttle-exporter.webConfigured" .) .Values.config.web.config.file }}
{{- fail "\n\nconfig.web.config.file is set, and webConfig sets it too. Leave one of them empty." }}
{{- end }}
{{- if and .Values.rbac.legacyNodesProxy (not .Values.rbac.create) }}
{{- fail "\n\nrbac.legacyNodesProxy has no effect with rbac.create: false." }}
{{- end }}
{{- if and (include "kube-throttle-exporter.webConfigured" .) .Values.webConfig.tlsSecret (eq .Values.webConfig.tlsSecret (include "kube-throttle-exporter.webConfigSecret" .)) }}
{{- fail "\n\nwebConfig.tlsSecret is the Secret that holds the web config file: put the certificate into one of its own." }}
{{- end }}
{{- $exists := or (include "kube-throttle-exporter.needsToken" .) .Values.rbac.extraRules }}
{{- if and .Values.rbac.create $exists (not .Values.serviceAccount.create) (not .Values.serviceAccount.name) }}
{{- fail "\n\nserviceAccount.create is false and serviceAccount.name is empty: rbac.create would bind the account \"default\", and every pod of the namespace that names no account would get the exporter's rights. Name an account, or set rbac.create: false." }}
{{- end }}
{{- include "kube-throttle-exporter.validateWebConfig" . }}
{{- range $name := list "serviceMonitor" "podMonitor" }}
{{- include "kube-throttle-exporter.validateMonitor" (dict "root" $ "name" $name "monitor" (index $.Values $name)) }}
{{- end }}
{{- end }}

{{/* A monitor that cannot get in makes targets that are down for ever. */}}
{{- define "kube-throttle-exporter.validateMonitor" -}}
{{- if .monitor.enabled }}
{{- if and (eq (include "kube-throttle-exporter.scheme" .root) "https") (not .monitor.tlsConfig) }}
{{- fail (printf "\n\n%s.tlsConfig is empty, and the web config turns TLS on: Prometheus scrapes pods by their address, which no certificate names, and every scrape would fail. Set its ca and serverName." .name) }}
{{- end }}
{{- if and .root.Values.webConfig.content.basic_auth_users (not .monitor.basicAuth) }}
{{- fail (printf "\n\n%s.basicAuth is empty, and the web config asks for a password: every scrape would fail." .name) }}
{{- end }}
{{- if and (include "kube-throttle-exporter.probesLockedOut" .root) (not .monitor.basicAuth) (not .monitor.tlsConfig) }}
{{- fail (printf "\n\n%s.basicAuth and %s.tlsConfig are empty, and the web config asks for credentials: every scrape would fail." .name .name) }}
{{- end }}
{{- end }}
{{- end }}

{{/* Whoever asks for TLS or passwords must not get plain HTTP for everybody instead, and be told nothing. */}}
{{- define "kube-throttle-exporter.validateWebConfig" -}}
{{- $web := .Values.webConfig }}
{{- $unseen := include "kube-throttle-exporter.webConfigUnseen" . }}
{{- if and (or $web.tlsSecret $web.tls $web.credentials) (not $web.content) (not $unseen) }}
{{- fail "\n\nwebConfig.tlsSecret, webConfig.tls and webConfig.credentials turn nothing on by themselves: the exporter would serve plain HTTP to everybody. Set webConfig.content or webConfig.existingSecret." }}
{{- end }}
{{- if and $web.tlsSecret .Values.config.web.config.file }}
{{- fail "\n\nwebConfig.tlsSecret has no effect with config.web.config.file: mount the certificate with extraVolumes." }}
{{- end }}
{{- if and $web.content (or $web.tlsSecret $web.tls) (not $web.content.tls_server_config) }}
{{- fail "\n\nwebConfig.tlsSecret or webConfig.tls is set, and webConfig.content has no tls_server_config: the exporter would serve plain HTTP." }}
{{- end }}
{{- if and $web.content $web.credentials (not (include "kube-throttle-exporter.probesLockedOut" .)) }}
{{- fail "\n\nwebConfig.credentials is set, and webConfig.content asks for neither a password nor a client certificate: everybody could read." }}
{{- end }}
{{- end }}
