// The job in a resource group of its own. Nothing here writes into the resource group of the Sentinel workspace: that is
// sentinel.bicep's, since `azd down` deletes every resource group that this deployment wrote into.
targetScope = 'subscription'

@minLength(1)
@maxLength(64)
@description('Name of the azd environment; names of resources are made from it.')
param environmentName string

@minLength(1)
@description('Region of all resources but the data collection rule.')
@metadata({
  azd: {
    type: 'location'
  }
})
param location string

@description('Resource group to make; by default rg-rare-audit- and the environment\'s name.')
@maxLength(90)
param resourceGroupName string = ''

@description('Resource id of the Sentinel workspace, in any resource group or subscription of the tenant.')
@minLength(1)
param sentinelWorkspaceId string

@description('The same workspace\'s GUID, which its overview page shows as Workspace ID.')
@minLength(36)
@maxLength(36)
param sentinelWorkspaceGuid string

@description('Region of the same workspace, in which a data collection rule for it has to lie.')
param sentinelWorkspaceLocation string = location

@description('Resource id of the Log Analytics workspace for the job\'s own telemetry; by default one is made.')
param telemetryWorkspaceId string = ''

@description('When the job runs, as NCRONTAB, UTC.')
@minLength(9)
param schedule string = '0 30 1 * * *'

@description('Where findings go. The table is RareAuditFindings_CL; sentinel.bicep makes it and has to be first.')
@allowed([
  'incidents'
  'table'
  'incidents,table'
])
param sinks string = 'incidents'

@description('Whether the job raises incidents, or only keeps what would be some.')
@allowed([
  'raise'
  'observe'
])
param incidents string = 'raise'

@description('How many incidents a day raises at most.')
@minValue(1)
@maxValue(1000)
param maxIncidents int = 50

@description('Whether findings become bookmarks on their incident.')
param bookmarks bool = true

@description('With fewer days of data before it, a day\'s baseline is degraded.')
@minValue(0)
@maxValue(366)
param minDays int = 7

@description('How many missed days are caught up with at most.')
@minValue(1)
@maxValue(31)
param catchUpDays int = 14

@description('How many days before yesterday are looked at again for late events.')
@minValue(0)
@maxValue(30)
param lateDays int = 2

@description('How long findings, runs and deliveries are kept.')
@minValue(31)
@maxValue(3650)
param retentionDays int = 180

@description('Whether old and new values are kept as they are, and not as hashes.')
param storeValues bool = true

@description('Path of a rule file inside the deployed package; by default the published rule.')
param rulePath string = ''

@description('Path of an exclusions file inside the deployed package; by default the five published false positives.')
param exclusionsPath string = ''

@description('Where Log Analytics answers; empty in the public cloud.')
param logsEndpoint string = ''

@description('Whether alerts watch over the job.')
param alerts bool = true

@description('Resource id of the action group that the alerts notify; without one they only show in Azure Monitor.')
param actionGroupId string = ''

@description('Where the alerts say that their runbook is; a URL of your copy of it serves best.')
@minLength(1)
param runbook string = 'docs/operations.md'

@description('Whether the workbook is made.')
param workbook bool = true

var findingsTable = contains(sinks, 'table')
var token = uniqueString(subscription().id, environmentName, location)
var tags = {
  'azd-env-name': environmentName
}

resource group 'Microsoft.Resources/resourceGroups@2024-03-01' = {
  name: empty(resourceGroupName) ? 'rg-rare-audit-${environmentName}' : resourceGroupName
  location: location
  tags: tags
}

module identity 'app/identity.bicep' = {
  scope: group
  params: {
    token: token
    location: location
    tags: tags
  }
}

module storage 'app/storage.bicep' = {
  scope: group
  params: {
    token: token
    location: location
    tags: tags
    principalId: identity.outputs.principalId
  }
}

module monitoring 'app/monitoring.bicep' = {
  scope: group
  params: {
    token: token
    location: location
    tags: tags
    principalId: identity.outputs.principalId
    telemetryWorkspaceId: telemetryWorkspaceId
  }
}

module ingestion 'app/ingestion.bicep' = if (findingsTable) {
  scope: group
  params: {
    token: token
    location: sentinelWorkspaceLocation
    tags: tags
    principalId: identity.outputs.principalId
    workspaceId: sentinelWorkspaceId
  }
}

module job 'app/job.bicep' = {
  scope: group
  params: {
    token: token
    location: location
    tags: tags
    identityId: identity.outputs.id
    identityClientId: identity.outputs.clientId
    storage: {
      blob: storage.outputs.blobEndpoint
      queue: storage.outputs.queueEndpoint
      table: storage.outputs.tableEndpoint
      package: storage.outputs.packageContainer
    }
    connectionString: monitoring.outputs.connectionString
    options: [
      { name: 'LOG_ANALYTICS_WORKSPACE_ID', value: sentinelWorkspaceGuid }
      { name: 'SENTINEL_WORKSPACE_RESOURCE_ID', value: sentinelWorkspaceId }
      { name: 'RARE_AUDIT_SCHEDULE', value: schedule }
      { name: 'RARE_AUDIT_INCIDENTS', value: incidents }
      { name: 'RARE_AUDIT_MAX_INCIDENTS', value: string(maxIncidents) }
      { name: 'RARE_AUDIT_BOOKMARKS', value: bookmarks ? 'true' : 'false' }
      { name: 'RARE_AUDIT_MIN_DAYS', value: string(minDays) }
      { name: 'RARE_AUDIT_CATCH_UP_DAYS', value: string(catchUpDays) }
      { name: 'RARE_AUDIT_LATE_DAYS', value: string(lateDays) }
      { name: 'RARE_AUDIT_RETENTION_DAYS', value: string(retentionDays) }
      { name: 'RARE_AUDIT_STORE_VALUES', value: storeValues ? 'true' : 'false' }
      { name: 'RARE_AUDIT_RULE', value: rulePath }
      { name: 'RARE_AUDIT_EXCLUSIONS', value: exclusionsPath }
      { name: 'RARE_AUDIT_LOGS_ENDPOINT', value: logsEndpoint }
      { name: 'RARE_AUDIT_ARM_ENDPOINT', value: environment().resourceManager }
      { name: 'RARE_AUDIT_SINKS', value: sinks }
      { name: 'RARE_AUDIT_INGESTION_ENDPOINT', value: findingsTable ? ingestion!.outputs.endpoint : '' }
      { name: 'RARE_AUDIT_INGESTION_RULE_ID', value: findingsTable ? ingestion!.outputs.immutableId : '' }
    ]
  }
}

module watch 'app/alerts.bicep' = if (alerts) {
  scope: group
  params: {
    token: token
    location: location
    tags: tags
    applicationInsightsId: monitoring.outputs.applicationInsightsId
    actionGroupId: actionGroupId
    runbook: runbook
  }
}

module overview 'app/workbook.bicep' = if (workbook) {
  scope: group
  params: {
    location: location
    tags: tags
    applicationInsightsId: monitoring.outputs.applicationInsightsId
    workspaceId: sentinelWorkspaceId
    findingsTable: findingsTable
  }
}

@description('Region of the resources, for azd.')
output AZURE_LOCATION string = location

@description('Tenant of the subscription, for azd.')
output AZURE_TENANT_ID string = tenant().tenantId

@description('Resource group of the job.')
output AZURE_RESOURCE_GROUP string = group.name

@description('Name of the function app.')
output RARE_AUDIT_APP string = job.outputs.name

@description('Where the function app answers.')
output RARE_AUDIT_URL string = job.outputs.url

@description('Object id of the job\'s identity, to which sentinel.bicep gives its role.')
output RARE_AUDIT_PRINCIPAL_ID string = identity.outputs.principalId
