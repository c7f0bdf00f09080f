{{/* The groups of one rule file, with what prometheusRule changes of them, as JSON. */}}
{{- define "kube-throttle-exporter.ruleGroups" -}}
{{- $values := .root.Values.prometheusRule }}
{{- $text := .root.Files.Get .path }}
{{- /* A threshold stands at the end of a line and has its name after it: > 0.25 # highRatio. Quotes around it stay. */}}
{{- range $name, $value := $values.thresholds }}
{{- $text = regexReplaceAll (printf `(?m)("?)\S*?("?) # %s$` $name) $text (printf "${1}%s${2} # %s" ($value | toString | replace "$" "$$") $name) }}
{{- end }}
{{- if $values.runbookUrl }}
{{- $text = regexReplaceAll `(?m)(runbook_url: )\S+/` $text (printf "${1}%s/" (trimSuffix "/" $values.runbookUrl | replace "$" "$$")) }}
{{- end }}
{{- $file := fromYaml $text }}
{{- if not $file.groups }}
{{- fail (printf "\n\n%s holds no rule groups: %v" .path $file) }}
{{- end }}
{{- $groups := list }}
{{- range $group := $file.groups }}
{{- $rules := list }}
{{- range $rule := $group.rules }}
{{- if $rule.alert }}
{{- $_ := set $rule "labels" (mergeOverwrite (default dict $rule.labels) (deepCopy $values.alertLabels)) }}
{{- $dashboard := default "" (default dict $rule.annotations).dashboard_url }}
{{- if and $values.grafanaUrl (hasPrefix "/" $dashboard) }}
{{- $_ := set $rule.annotations "dashboard_url" (printf "%s%s" (trimSuffix "/" $values.grafanaUrl) $dashboard) }}
{{- end }}
{{- end }}
{{- if not (and $rule.alert (has $rule.alert $values.disabledAlerts)) }}
{{- $rules = append $rules $rule }}
{{- end }}
{{- end }}
{{- if $rules }}
{{- $groups = append $groups (set $group "rules" $rules) }}
{{- end }}
{{- end }}
{{- $groups | toJson }}
{{- end }}
