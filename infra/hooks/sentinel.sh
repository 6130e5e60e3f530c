#!/bin/sh
# Deploys what lies in the resource group of the Sentinel workspace, as a deployment stack of its own, and takes it away.
# azd runs it, with the environment's values: `before` the job is provisioned (the data collection rule needs the table),
# `after` (the role needs the job's identity), and after `down`. Needs the Azure CLI, signed in.
set -eu

: "${AZURE_ENV_NAME:?the name of the azd environment}"
: "${SENTINEL_WORKSPACE_RESOURCE_ID:?azd env set SENTINEL_WORKSPACE_RESOURCE_ID /subscriptions/…/workspaces/<name>}"
id=${SENTINEL_WORKSPACE_RESOURCE_ID#/}
subscription=$(printf %s "$id" | cut -s -d/ -f2)
group=$(printf %s "$id" | cut -s -d/ -f4)
workspace=$(printf %s "$id" | cut -s -d/ -f8)
[ -n "$workspace" ] || { echo "SENTINEL_WORKSPACE_RESOURCE_ID is no workspace's resource id" >&2; exit 1; }
stack="rare-audit-$AZURE_ENV_NAME"
sinks=${RARE_AUDIT_SINKS:-incidents}

keep_table() { # true where there is a table: what was found stays, unless its loss was asked for
    found=$(az monitor log-analytics workspace table list --subscription "$subscription" --resource-group "$group" \
        --workspace-name "$workspace" --query "[?name=='RareAuditFindings_CL'].name" --output tsv)
    if [ -n "$found" ]; then echo "${RARE_AUDIT_KEEP_TABLE:-true}"; else echo false; fi
}
deploy() { # parameters beside those that are always the same
    az stack group create --name "$stack" --subscription "$subscription" --resource-group "$group" \
        --template-file "$(dirname "$0")/../sentinel.bicep" \
        --parameters "environmentName=$AZURE_ENV_NAME" "workspaceName=$workspace" "$@" \
        --action-on-unmanage deleteResources --deny-settings-mode none --yes --output none
}
job() {
    keep=$(keep_table)
    deploy "principalId=${RARE_AUDIT_PRINCIPAL_ID:-}" "incidents=${RARE_AUDIT_INCIDENTS:-raise}" \
        "bookmarks=${RARE_AUDIT_BOOKMARKS:-true}" "sinks=$sinks" "keepTable=$keep"
}
workspace_value() { # what, as the Azure CLI's --query has it
    az monitor log-analytics workspace show --subscription "$subscription" --resource-group "$group" \
        --workspace-name "$workspace" --query "$1" --output tsv
}

case ${1:-} in
before)
    guid=$(workspace_value customerId)
    location=$(workspace_value location)
    azd env set LOG_ANALYTICS_WORKSPACE_ID "$guid"
    azd env set SENTINEL_WORKSPACE_LOCATION "$location"
    case $sinks in
    *table*) job ;;
    esac
    ;;
after)
    job
    ;;
down)
    found=$(az stack group list --subscription "$subscription" --resource-group "$group" \
        --query "[?name=='$stack'].name" --output tsv)
    [ -n "$found" ] || exit 0
    keep=$(keep_table)
    # The assignment first: a role that is in use can't be deleted.
    deploy principalId= "keepTable=$keep"
    deploy access=false "keepTable=$keep"
    if [ "$keep" = true ]; then leave=detachAll; else leave=deleteResources; fi
    az stack group delete --name "$stack" --subscription "$subscription" --resource-group "$group" \
        --action-on-unmanage "$leave" --yes --output none
    ;;
*)
    echo "usage: sentinel.sh before | after | down" >&2
    exit 2
    ;;
esac
