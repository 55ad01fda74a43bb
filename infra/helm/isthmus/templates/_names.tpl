{{/* A set’s name has 52 characters at most, since its pods are labelled with it and a hash: longer ones are told apart by one. */}}
{{- define "isthmus.name" -}}
{{- if gt (len .Release.Name) 36 -}}
{{ .Release.Name | trunc 29 | trimSuffix "-" }}-{{ .Release.Name | sha256sum | trunc 6 }}
{{- else -}}
{{ .Release.Name }}
{{- end -}}
{{- end -}}

{{/* Names of rights are the whole cluster's, or another namespace's: (list . "gateway"). No two releases have the same one. */}}
{{- define "isthmus.rights" -}}
isthmus:{{ (index . 0).Release.Namespace }}:{{ include "isthmus.name" (index . 0) }}:{{ index . 1 }}
{{- end -}}

{{- define "isthmus.labels" -}}
app.kubernetes.io/name: isthmus
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{/* Labels that select: (list . "gateway") */}}
{{- define "isthmus.selector" -}}
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- define "isthmus.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}

{{- define "isthmus.podSecurity" -}}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: { type: RuntimeDefault }
{{- with .Values.image.pullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "isthmus.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: { drop: [ALL] }
{{- end -}}

{{/* /healthz says the process lives, /readyz that it may get work; a start may wait for what it joins. */}}
{{- define "isthmus.probes" -}}
{{- $port := . | default "health" -}}
startupProbe:
  httpGet: { path: /healthz, port: {{ $port }} }
  periodSeconds: 2
  failureThreshold: 150
livenessProbe:
  httpGet: { path: /healthz, port: {{ $port }} }
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: { path: /readyz, port: {{ $port }} }
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 2
{{- end -}}

{{/* As in the units of these programs: their main threads make little garbage once they have started, and threads that carry traffic have room of their own. */}}
{{- define "isthmus.smallMainThread" -}}
- { name: NODE_OPTIONS, value: --max-semi-space-size=2 }
{{- end -}}

{{- define "isthmus.audience" -}}
isthmus://{{ .Values.cluster }}
{{- end -}}

{{- define "isthmus.trustRootAddress" -}}
{{- if .Values.trustRoot.enabled -}}
{{ include "isthmus.name" . }}-trust-root.{{ .Release.Namespace }}.svc:7000
{{- else -}}
{{ required "trustRoot.address is needed where trustRoot.enabled is not" .Values.trustRoot.address }}
{{- end -}}
{{- end -}}

{{- define "isthmus.controlPlaneAddress" -}}
{{ include "isthmus.name" . }}-control-plane.{{ .Release.Namespace }}.svc:7100
{{- end -}}

{{- define "isthmus.adminApiAddress" -}}
{{ include "isthmus.name" . }}-admin-api.{{ .Release.Namespace }}.svc:7200
{{- end -}}

{{/* How gateways and agents prove who they are: a token of the API server for this cluster's audience alone. */}}
{{- define "isthmus.attestation" -}}
attestation:
  cluster: {{ .Values.cluster }}
  federation: {{ .Values.federation }}
  rootSha256: {{ required "rootSha256 is needed: the log line ready of the trust root has it" (.Values.rootSha256 | join "," ) | splitList "," | toJson }}
  jwtFile: /var/run/secrets/isthmus/token
{{- end -}}

{{- define "isthmus.tokenVolume" -}}
- name: token
  projected:
    sources:
      - serviceAccountToken: { path: token, audience: {{ include "isthmus.audience" . | quote }}, expirationSeconds: 600 }
{{- end -}}
