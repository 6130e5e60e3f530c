// Application Insights, which takes telemetry from identities alone, on a workspace of its own or the one given.
@description('Makes names unique.')
@minLength(13)
@maxLength(13)
param token string

@description('Region.')
param location string

@description('Tags of every resource.')
param tags { *: string }

@description('Object id of the job\'s identity.')
param principalId string

@description('Resource id of the Log Analytics workspace to use; empty to make one.')
param telemetryWorkspaceId string

var metricsPublisher = '3913510d-42f4-4e42-8a64-420c390055eb' // Monitoring Metrics Publisher

resource logs 'Microsoft.OperationalInsights/workspaces@2023-09-01' = if (empty(telemetryWorkspaceId)) {
  name: 'log-rare-audit-${token}'
  location: location
  tags: tags
  properties: {
    retentionInDays: 30
    sku: {
      name: 'PerGB2018'
    }
    features: {
      disableLocalAuth: true
    }
  }
}

resource insights 'Microsoft.Insights/components@2020-02-02' = {
  name: 'appi-rare-audit-${token}'
  location: location
  tags: tags
  kind: 'web'
  properties: {
    Application_Type: 'web'
    DisableLocalAuth: true
    WorkspaceResourceId: empty(telemetryWorkspaceId) ? logs!.id : telemetryWorkspaceId
  }
}

resource publisher 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(insights.id, token, metricsPublisher)
  scope: insights
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', metricsPublisher)
    principalId: principalId
    principalType: 'ServicePrincipal'
  }
}

@description('Resource id of Application Insights.')
output applicationInsightsId string = insights.id

@description('Where telemetry goes; no secret, since only identities are let in.')
output connectionString string = insights.properties.ConnectionString
