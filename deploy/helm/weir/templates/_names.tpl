{{- /* Names, labels and references that several objects have in common. */ -}}

{{- define "weir.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 48 | trimSuffix "-" -}}
{{- end -}}

{{- /* At most 48 characters: names made of it have up to 15 more, and Kubernetes takes 63. */ -}}
{{- define "weir.fullname" -}}
{{- $name := include "weir.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 48 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 48 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 48 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- /* What selectors ask for. It can never change: a StatefulSet's selector is immutable. */ -}}
{{- define "weir.selector" -}}
app.kubernetes.io/name: {{ include "weir.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "weir.labels" -}}
{{ include "weir.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: weir
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "weir.image" -}}
{{- $image := .root.Values.image -}}
{{- $name := printf "%s:%s" .name (default .root.Chart.AppVersion $image.tag) -}}
{{- if $image.registry -}}
{{- printf "%s/%s" (trimSuffix "/" $image.registry) $name -}}
{{- else -}}
{{- $name -}}
{{- end -}}
{{- end -}}

{{- define "weir.secret" -}}
{{- default (printf "%s-tokens" (include "weir.fullname" .)) .Values.auth.existingSecret -}}
{{- end -}}

{{- define "weir.serviceAccount" -}}
{{- default (include "weir.fullname" .) .Values.server.serviceAccount.name -}}
{{- end -}}

{{- define "weir.serverUrl" -}}
{{- if .Values.agent.serverUrl -}}
{{- .Values.agent.serverUrl -}}
{{- else -}}
{{- printf "http://%s.%s.svc:%v" (include "weir.fullname" .) .Release.Namespace .Values.server.service.port -}}
{{- end -}}
{{- end -}}

{{- /* What would come up and not work is refused here, before anything is made. */ -}}
{{- define "weir.check" -}}
{{- if and .Values.agent.enabled (not .Values.server.enabled) -}}
{{- if not .Values.agent.serverUrl -}}
{{- fail "agent.serverUrl is needed with server.enabled=false: where agents are to send flows, e.g. https://weir.example.net" -}}
{{- end -}}
{{- if not .Values.auth.existingSecret -}}
{{- fail "auth.existingSecret is needed with server.enabled=false: a Secret whose key agent-token has a token that the server admits" -}}
{{- end -}}
{{- end -}}
{{- end -}}
