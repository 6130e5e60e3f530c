// What lies in the resource group of the Sentinel workspace: the job's role, and on request the table of findings with the
// analytics rule that turns them into incidents. Deployed there as a deployment stack of its own, so that taking it away
// takes away this and nothing else.
targetScope = 'resourceGroup'

@minLength(1)
@maxLength(64)
@description('Name of the azd environment; names are made from it.')
param environmentName string

@description('Name of the workspace, which lies in this resource group.')
@minLength(4)
@maxLength(63)
param workspaceName string

@description('Whether the job has a role here.')
param access bool = true

@description('Object id of the job\'s identity, to which the role is given; empty as long as there is none.')
param principalId string = ''

@description('Where findings go.')
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

@description('Whether findings become bookmarks on their incident.')
param bookmarks bool = true

@description('Whether the table stays when findings no longer go into it.')
param keepTable bool = false

var findingsTable = contains(sinks, 'table')

module role 'sentinel/role.bicep' = if (access) {
  params: {
    environmentName: environmentName
    principalId: principalId
    incidents: contains(sinks, 'incidents') && incidents == 'raise'
    bookmarks: bookmarks
  }
}

module findings 'sentinel/findings.bicep' = if (findingsTable || keepTable) {
  params: {
    workspaceName: workspaceName
    analyticsRule: findingsTable
  }
}
