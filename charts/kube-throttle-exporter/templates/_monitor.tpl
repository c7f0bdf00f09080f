{{/* One endpoint of a ServiceMonitor or PodMonitor: what both write alike. */}}
{{- define "kube-throttle-exporter.endpoint" -}}
{{- $monitor := .monitor }}
port: metrics
path: {{ include "kube-throttle-exporter.metricsPath" .root }}
scheme: {{ include "kube-throttle-exporter.scheme" .root }}
# The labels namespace, pod and container on the page are those of the observed container, not of the exporter.
honorLabels: true
{{- with $monitor.interval }}
interval: {{ . }}
{{- end }}
{{- with $monitor.scrapeTimeout }}
scrapeTimeout: {{ . }}
{{- end }}
{{- with $monitor.tlsConfig }}
tlsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $monitor.basicAuth }}
basicAuth:
  {{- toYaml . | nindent 2 }}
{{- end }}
relabelings:
  # Whatever the release, its Service or nameOverride call it; the rules rely on it.
  - action: replace
    targetLabel: job
    replacement: {{ .root.Chart.Name }}
  - action: replace
    sourceLabels: [__meta_kubernetes_pod_node_name]
    targetLabel: node
  # Else rows of pods, which have no such label, would get that of the exporter's own container.
  - action: labeldrop
    regex: container
  {{- with $monitor.relabelings }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with $monitor.metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "kube-throttle-exporter.monitorMetadata" -}}
name: {{ include "kube-throttle-exporter.fullname" .root }}
namespace: {{ default .root.Release.Namespace .monitor.namespace }}
labels:
  {{- $own := include "kube-throttle-exporter.labels" .root | fromYaml }}
  {{- mergeOverwrite $own (deepCopy .monitor.labels) | toYaml | nindent 2 }}
{{- with .monitor.annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
