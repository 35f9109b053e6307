{{/* Names, labels and the pod that every part shares. */}}

{{- define "gitopsd.name" -}}
{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "gitopsd.selector" -}}
app.kubernetes.io/name: gitopsd
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "gitopsd.labels" -}}
{{ include "gitopsd.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "gitopsd.image" -}}
{{- with .Values.image -}}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ end -}}
{{- end -}}
{{- end }}

{{/*
The account that a part runs as. Only what works on releases talks to clusters; servers have an
account without any right, and a migration, which runs before the others are there, has none.
*/}}
{{- define "gitopsd.account" -}}
{{- $name := include "gitopsd.name" .root -}}
{{- if eq .part "migration" }}default{{ else if and (eq .part "server") (ne .root.Values.mode "single") }}{{ $name }}-server{{ else }}{{ $name }}{{ end -}}
{{- end }}

{{/*
Rules for the kinds that releases may hold: dict of group to plurals. Workloads are watched while
their rollout is waited for; nothing else is ever listed.
*/}}
{{- define "gitopsd.rules" -}}
{{- $workloads := list "daemonsets" "deployments" "jobs" "statefulsets" }}
{{- range $group, $kinds := . }}
{{- if $kinds }}
- apiGroups: [{{ if eq $group "core" }}""{{ else }}{{ $group }}{{ end }}]
  resources: [{{ join ", " $kinds }}]
  verbs: [get, create, patch, delete]
{{- $watched := list }}
{{- range $kinds }}{{ if has . $workloads }}{{ $watched = append $watched . }}{{ end }}{{ end }}
{{- if $watched }}
- apiGroups: [{{ $group }}]
  resources: [{{ join ", " $watched }}]
  verbs: [list, watch]
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/*
The pod of one part. Takes a dict: root, part (a word for the label), args (a list), http and data.
*/}}
{{- define "gitopsd.pod" -}}
{{- $root := .root -}}
{{- $values := .root.Values -}}
metadata:
  labels:
    {{- include "gitopsd.selector" $root | nindent 4 }}
    app.kubernetes.io/component: {{ .part }}
  {{- with $values.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ include "gitopsd.account" . }}
  automountServiceAccountToken: {{ eq (include "gitopsd.account" .) (include "gitopsd.name" $root) }}
  enableServiceLinks: false
  terminationGracePeriodSeconds: 40
  {{- with $values.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    fsGroup: 65532
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile: {type: RuntimeDefault}
  containers:
    - name: gitopsd
      image: {{ include "gitopsd.image" $root | quote }}
      imagePullPolicy: {{ $values.image.pullPolicy }}
      args: {{ toJson .args }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: {drop: [ALL]}
      env:
        {{- if ne $values.mode "single" }}
        - name: GITOPSD_DATABASE_URL
          valueFrom:
            secretKeyRef: {name: {{ $values.parts.database.existingSecret }}, key: {{ $values.parts.database.key }}}
        {{- if $values.parts.redis.existingSecret }}
        - name: GITOPSD_REDIS_URL
          valueFrom:
            secretKeyRef: {name: {{ $values.parts.redis.existingSecret }}, key: {{ $values.parts.redis.key }}}
        {{- end }}
        {{- end }}
        {{- if ne .part "migration" }}
        {{- if and .http $values.firstToken.existingSecret }}
        - {name: GITOPSD_FIRST_TOKEN_FILE, value: /etc/gitopsd/first-token/token}
        {{- end }}
        {{- if $values.encryption.existingSecret }}
        - {name: GITOPSD_ENCRYPTION_KEY_FILE, value: /etc/gitopsd/encryption/key}
        {{- end }}
        {{- end }}
        {{- range $name, $value := $values.settings }}
        - {name: GITOPSD_{{ $name }}, value: {{ $value | quote }}}
        {{- end }}
      {{- if ne .part "migration" }}
      ports:
        {{- if .http }}
        - {name: http, containerPort: 8080}
        {{- end }}
        - {name: metrics, containerPort: 9090}
      {{- if .http }}
      # Migrating and taking over what was left may take a while at the first start.
      startupProbe:
        httpGet: {path: /health/live, port: http}
        periodSeconds: 2
        failureThreshold: 60
      livenessProbe:
        httpGet: {path: /health/live, port: http}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      readinessProbe:
        httpGet: {path: /health/ready, port: http}
        periodSeconds: 5
        timeoutSeconds: 5
      {{- else }}
      startupProbe:
        httpGet: {path: /health/live, port: metrics}
        periodSeconds: 2
        failureThreshold: 60
      livenessProbe:
        httpGet: {path: /health/live, port: metrics}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      {{- end }}
      {{- end }}
      resources:
        {{- toYaml .resources | nindent 8 }}
      volumeMounts:
        - {name: data, mountPath: /data}
        - {name: tmp, mountPath: /tmp}
        {{- if ne .part "migration" }}
        - {name: config, mountPath: /etc/gitopsd/config, readOnly: true}
        {{- if and .http $values.firstToken.existingSecret }}
        - {name: first-token, mountPath: /etc/gitopsd/first-token, readOnly: true}
        {{- end }}
        {{- if $values.encryption.existingSecret }}
        - {name: encryption, mountPath: /etc/gitopsd/encryption, readOnly: true}
        {{- end }}
        {{- range $number, $secret := $values.secrets }}
        - {name: secret-{{ $number }}, mountPath: /etc/gitopsd/secrets/{{ $secret }}, readOnly: true}
        {{- end }}
        {{- end }}
  volumes:
    - name: data
      {{- if .claim }}
      persistentVolumeClaim: {claimName: {{ .claim }}}
      {{- else }}
      emptyDir: {sizeLimit: 5Gi}
      {{- end }}
    - name: tmp
      emptyDir: {sizeLimit: 1Gi}
    {{- if ne .part "migration" }}
    - name: config
      projected:
        sources:
          - configMap: {name: {{ include "gitopsd.name" $root }}-config}
          {{- range $values.configuration.existingConfigMaps }}
          - configMap: {name: {{ . }}}
          {{- end }}
    {{- if and .http $values.firstToken.existingSecret }}
    - name: first-token
      secret:
        secretName: {{ $values.firstToken.existingSecret }}
        items: [{key: {{ $values.firstToken.key }}, path: token}]
        defaultMode: 0440
    {{- end }}
    {{- if $values.encryption.existingSecret }}
    - name: encryption
      secret:
        secretName: {{ $values.encryption.existingSecret }}
        items: [{key: {{ $values.encryption.key }}, path: key}]
        defaultMode: 0440
    {{- end }}
    {{- range $number, $secret := $values.secrets }}
    - name: secret-{{ $number }}
      secret: {secretName: {{ $secret }}, defaultMode: 0440}
    {{- end }}
    {{- end }}
  {{- if ne .part "migration" }}
  {{- with $values.topologySpread }}
  topologySpreadConstraints:
    {{- range . }}
    - {{ mustMergeOverwrite (dict "labelSelector" (dict "matchLabels" (dict "app.kubernetes.io/name" "gitopsd" "app.kubernetes.io/instance" $root.Release.Name "app.kubernetes.io/component" $.part))) . | toJson }}
    {{- end }}
  {{- end }}
  {{- end }}
  {{- with $values.nodeSelector }}
  nodeSelector: {{ toJson . }}
  {{- end }}
  {{- with $values.tolerations }}
  tolerations: {{ toJson . }}
  {{- end }}
  {{- with $values.affinity }}
  affinity: {{ toJson . }}
  {{- end }}
{{- end }}
