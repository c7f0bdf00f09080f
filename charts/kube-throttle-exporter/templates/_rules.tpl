{{/* The groups of one rule file, with what prometheusRule changes of them, as JSON. */}}
{{- define "kube-throttle-exporter.ruleGroups" -}}
{{- $values := .root.Values.prometheusRule }}
{{- $excluded := $values.excludedNamespaces }}
{{- range $values.namespaces }}
{{- $excluded = append $excluded .pattern }}
{{- end }}
{{- $marks := deepCopy $values.thresholds }}
{{- if $excluded }}
{{- $_ := set $marks "excludedNamespaces" (join "|" $excluded) }}
{{- end }}
{{- $groups := include "kube-throttle-exporter.markedGroups" (dict "root" .root "path" .path "marks" $marks) | fromJsonArray }}
{{- /* Alerts about the namespaces of a pattern once more, with its thresholds; the first pattern that matches counts. */}}
{{- $before := $values.excludedNamespaces }}
{{- range $index, $one := $values.namespaces }}
{{- $marks := mergeOverwrite (deepCopy $values.thresholds) (default dict $one.thresholds) (dict "onlyNamespaces" $one.pattern) }}
{{- if $before }}
{{- $_ := set $marks "excludedNamespaces" (join "|" $before) }}
{{- end }}
{{- range $group := include "kube-throttle-exporter.markedGroups" (dict "root" $.root "path" $.path "marks" $marks "only" "onlyNamespaces") | fromJsonArray }}
{{- $groups = append $groups (set $group "name" (printf "%s.%d" $group.name $index)) }}
{{- end }}
{{- $before = append $before $one.pattern }}
{{- end }}
{{- $groups | toJson }}
{{- end }}

{{/* The same with the given values at their marks; with "only", of those alerts whose expression has that mark. */}}
{{- define "kube-throttle-exporter.markedGroups" -}}
{{- $values := .root.Values.prometheusRule }}
{{- $only := default "" .only }}
{{- $text := .root.Files.Get .path }}
{{- /* A threshold stands at the end of a line and has its name after it: > 0.1 # highShare. Quotes around it stay, and
       a backslash of a regular expression is escaped for PromQL's string. */}}
{{- range $name, $value := .marks }}
{{- $text = regexReplaceAll (printf `(?m)("?)\S*?("?) # %s$` $name) $text (printf "${1}%s${2} # %s" ($value | toString | replace "\\" "\\\\" | replace "$" "$$") $name) }}
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
{{- $kept := or (not $only) (and $rule.alert (contains (printf "# %s" $only) $rule.expr)) }}
{{- if and $kept (not (and $rule.alert (has $rule.alert $values.disabledAlerts))) }}
{{- $rules = append $rules $rule }}
{{- end }}
{{- end }}
{{- if $rules }}
{{- $groups = append $groups (set $group "rules" $rules) }}
{{- end }}
{{- end }}
{{- $groups | toJson }}
{{- end }}
