{{/* Name of the chart; the value of app.kubernetes.io/name, so it is part of the selector. */}}
{{- define "kube-throttle-exporter.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* Name of every object: the release's, with the chart's unless it is in there already. */}}
{{- define "kube-throttle-exporter.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{/* Two releases may share a cluster: what belongs to no namespace carries the release's. */}}
{{- define "kube-throttle-exporter.clusterName" -}}
{{- printf "%s:%s" .Release.Namespace (include "kube-throttle-exporter.fullname" .) }}
{{- end }}

{{- define "kube-throttle-exporter.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "kube-throttle-exporter.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* A DaemonSet's selector cannot be changed: these two and no more, ever. A test compares them with a kept copy. */}}
{{- define "kube-throttle-exporter.selectorLabels" -}}
app.kubernetes.io/name: {{ include "kube-throttle-exporter.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Of the pod of helm test. Not the selector's labels: the Service would count it as an exporter. */}}
{{- define "kube-throttle-exporter.testLabels" -}}
app.kubernetes.io/name: {{ include "kube-throttle-exporter.name" . | trunc 58 | trimSuffix "-" }}-test
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "kube-throttle-exporter.labels" -}}
{{- $own := dict
  "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-")
  "app.kubernetes.io/version" (.Chart.AppVersion | toString)
  "app.kubernetes.io/component" "exporter"
  "app.kubernetes.io/part-of" .Chart.Name
  "app.kubernetes.io/managed-by" .Release.Service }}
{{- $selector := include "kube-throttle-exporter.selectorLabels" . | fromYaml }}
{{- mergeOverwrite (deepCopy .Values.commonLabels) $own $selector | toYaml }}
{{- end }}

{{- define "kube-throttle-exporter.image" -}}
{{- with .Values.image }}
{{- $name := .repository }}
{{- if .registry }}{{ $name = printf "%s/%s" (trimSuffix "/" .registry) .repository }}{{ end }}
{{- $tag := default $.Chart.AppVersion .tag }}
{{- if .digest }}{{ printf "%s:%s@%s" $name $tag .digest }}{{ else }}{{ printf "%s:%s" $name $tag }}{{ end }}
{{- end }}
{{- end }}
