// The way into the table of findings: a data collection rule with an endpoint of its own, open to the job alone.
@description('Makes names unique.')
@minLength(13)
@maxLength(13)
param token string

@description('Region of the workspace: the rule has to lie in it.')
param location string

@description('Tags of every resource.')
param tags { *: string }

@description('Object id of the job\'s identity.')
param principalId string

@description('Resource id of the Sentinel workspace; the table has to be there already.')
param workspaceId string

var stream = 'Custom-RareAuditFindings_CL'
var metricsPublisher = '3913510d-42f4-4e42-8a64-420c390055eb' // Monitoring Metrics Publisher

resource rule 'Microsoft.Insights/dataCollectionRules@2023-03-11' = {
  name: 'dcr-${token}' // names of this kind hold 30 characters at most
  location: location
  tags: tags
  kind: 'Direct'
  properties: {
    description: 'Findings of Rare Audit'
    streamDeclarations: {
      '${stream}': {
        columns: loadJsonContent('../findings-columns.json')
      }
    }
    destinations: {
      logAnalytics: [
        {
          name: 'sentinel'
          workspaceResourceId: workspaceId
        }
      ]
    }
    dataFlows: [
      {
        streams: [stream]
        destinations: ['sentinel']
        transformKql: 'source'
        outputStream: stream
      }
    ]
  }
}

resource publisher 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(rule.id, token, metricsPublisher)
  scope: rule
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', metricsPublisher)
    principalId: principalId
    principalType: 'ServicePrincipal'
  }
}

@description('Where findings are sent.')
output endpoint string = rule.properties.endpoints.logsIngestion

@description('What the rule is named by when they are.')
output immutableId string = rule.properties.immutableId
