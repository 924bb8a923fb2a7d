#!/usr/bin/env bash
# Updates an existing stack with what `sam build` has made. CloudFormation undoes the update if one of the stack's
# RollbackAlarms goes off during it or within 5 minutes after it. This script undoes it if the service does
# not answer as it should. Parameters keep their values, and new ones get their defaults.
#
# AWS_REGION      where the stack is
# STACK           its name, if it is not statshub
# ARCHITECTURE    what the functions are built for, if it is not arm64
# STATSHUB_TOKEN  a token with the scopes read+write; without it only queries are tried
# IGNORE_ALARMS   true: alarms undo nothing, the service's answers still do
set -euo pipefail
cd "$(dirname "$0")/../.."

stack=${STACK:-statshub}
minutes=5
folder=target/deploy
mkdir -p "$folder"

# A value of the stack's description, by a query on it.
stack_value() {
  aws cloudformation describe-stacks --stack-name "$stack" --output text --query "Stacks[0].$1"
}
output() {
  stack_value "Outputs[?OutputKey=='$1'].OutputValue"
}

# status METHOD PATH [BODY]: the status of the answer to a request.
status() {
  local arguments=(--silent --show-error --max-time 30 --request "$1" --output "$folder/answer" --write-out '%{http_code}')
  [ $# -lt 3 ] || arguments+=(--data "$3")
  # The token comes from a file descriptor: every process can see the arguments.
  curl "${arguments[@]}" --header @<([ -z "${token:-}" ] || echo "Authorization: Bearer $token") "$url$2" || echo 000
}

# Returned by a smoke test that was not answered: the service, or the API in front of it, is too busy. A flood must
# not undo an update, which may be the one that shuts it out.
busy=2

expect() {
  local wanted=$1 got
  shift
  got=$(status "$@")
  case $got in
    "$wanted") return ;;
    429 | 503)
      echo "$1 $2 was answered by $got: the service is busy" >&2
      return $busy
      ;;
  esac
  echo "$1 $2 was answered by $got, not $wanted: $(head -c 500 "$folder/answer" 2>/dev/null)" >&2
  return 1
}

# An update without dimensions changes nothing that a query shows.
smoke_test() {
  local token=${STATSHUB_TOKEN:-}
  expect 200 GET /stats/deploy_smoke_test || return
  if [ -n "$token" ]; then
    expect 200 POST /stats/deploy-smoke-test "{\"counters\": {\"time\": $(date +%s)}}" || return
    # Whoever has no token stays outside.
    token='' expect 401 POST /stats/deploy-smoke-test '{}' || return
  fi
}

# try_smoke_test: prints how it went, `passed`, `failed` or `busy`.
try_smoke_test() {
  local result=0
  smoke_test || result=$?
  case $result in
    0) echo passed ;;
    "$busy") echo busy ;;
    *) echo failed ;;
  esac
}

url=$(output Url)
architecture=$(stack_value "Parameters[?ParameterKey=='Architecture'].ParameterValue")
if [ "$architecture" != "${ARCHITECTURE:-arm64}" ]; then
  echo "the functions of $stack run on $architecture, and these are built for ${ARCHITECTURE:-arm64}" >&2
  exit 1
fi

bucket=$(aws cloudformation describe-stacks --stack-name aws-sam-cli-managed-default --output text \
  --query "Stacks[0].Outputs[?OutputKey=='SourceBucket'].OutputValue")
aws cloudformation package --template-file .aws-sam/build/template.yaml --s3-bucket "$bucket" \
  --s3-prefix "$stack" --output-template-file "$folder/template.yaml"
# The template is larger than a request may be, so it lies beside the functions.
key=$stack/$(sha256sum "$folder/template.yaml" | cut -c1-32).yaml
aws s3 cp --only-show-errors "$folder/template.yaml" "s3://$bucket/$key"
template_url=https://$bucket.s3.${AWS_REGION:?}.amazonaws.com/$key

aws cloudformation get-template-summary --template-url "$template_url" --output json \
  | jq '[.Parameters[].ParameterKey]' > "$folder/wanted.json"
aws cloudformation describe-stacks --stack-name "$stack" --output json \
  | jq --slurpfile wanted "$folder/wanted.json" '
      [.Stacks[0].Parameters[] | select(.ParameterKey | IN($wanted[0][]))
        | {ParameterKey, UsePreviousValue: true}]' > "$folder/parameters.json"

alarms=$(output RollbackAlarms)
[ "${IGNORE_ALARMS:-}" != true ] || alarms=
jq --null-input --arg alarms "$alarms" --argjson minutes "$minutes" '{
  MonitoringTimeInMinutes: $minutes,
  RollbackTriggers: [$alarms | split(",")[] | select(startswith("arn:")) | {Arn: ., Type: "AWS::CloudWatch::Alarm"}]
}' > "$folder/rollback.json"

name=deploy-$(date +%Y%m%d%H%M%S)
aws cloudformation create-change-set --stack-name "$stack" --change-set-name "$name" --output text --query Id \
  --template-url "$template_url" --parameters "file://$folder/parameters.json" \
  --capabilities CAPABILITY_IAM CAPABILITY_AUTO_EXPAND --rollback-configuration "file://$folder/rollback.json"
if ! aws cloudformation wait change-set-create-complete --stack-name "$stack" --change-set-name "$name"; then
  reason=$(aws cloudformation describe-change-set --stack-name "$stack" --change-set-name "$name" \
    --output text --query StatusReason)
  echo "$reason"
  aws cloudformation delete-change-set --stack-name "$stack" --change-set-name "$name"
  case $reason in
    *"didn't contain changes"* | *"No updates are to be performed"*) exit 0 ;;
    *) exit 1 ;;
  esac
fi
aws cloudformation execute-change-set --stack-name "$stack" --change-set-name "$name"

failures=0
state=UPDATE_IN_PROGRESS
while [ "$state" = UPDATE_IN_PROGRESS ]; do
  sleep 15
  case $(try_smoke_test) in
    passed) failures=0 ;;
    failed) failures=$((failures + 1)) ;;
  esac
  # One failure may be the network's.
  if [ "$failures" -eq 2 ]; then
    echo "the service does not answer as it should: the update is undone" >&2
    # It may have ended in this moment.
    aws cloudformation cancel-update-stack --stack-name "$stack" || true
  fi
  state=$(stack_value StackStatus)
done

case $state in
  UPDATE_COMPLETE | UPDATE_COMPLETE_CLEANUP_IN_PROGRESS) ;;
  *)
    echo "$stack: $state" >&2
    aws cloudformation wait stack-rollback-complete --stack-name "$stack" || true
    exit 1
    ;;
esac
result=$(try_smoke_test)
if [ "$result" = failed ]; then
  sleep 5
  result=$(try_smoke_test)
fi
case $result in
  passed) echo "$stack is deployed" ;;
  busy) echo "$stack is deployed, and too busy to be tried: see docs/deploying.md, Shutting a token out" ;;
  failed)
    echo "the update has ended, and the service does not answer as it should: deploy the version before" >&2
    exit 1
    ;;
esac
