// One page on findings, incidents and the job's health.
@description('Region.')
param location string

@description('Tags of every resource.')
param tags { *: string }

@description('Resource id of the Application Insights that the job writes to.')
param applicationInsightsId string

@description('Resource id of the Sentinel workspace.')
param workspaceId string

@description('Whether findings are in a table of the workspace; without it that part of the page is hidden.')
param findingsTable bool

var page = loadTextContent('../workbook.json')
var withInsights = replace(page, '{{applicationInsightsId}}', applicationInsightsId)
var withWorkspace = replace(withInsights, '{{workspaceId}}', workspaceId)

resource workbook 'Microsoft.Insights/workbooks@2023-06-01' = {
  name: guid(resourceGroup().id, 'rare-audit-workbook')
  location: location
  tags: tags
  kind: 'shared'
  properties: {
    displayName: 'Rare Audit'
    category: 'workbook'
    version: 'Notebook/1.0'
    sourceId: applicationInsightsId
    serializedData: replace(withWorkspace, '{{findingsTable}}', findingsTable ? 'true' : 'false')
  }
}
