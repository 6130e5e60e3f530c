// A role of exactly what the job does with the workspace, and its assignment to the job's identity.
@minLength(1)
@maxLength(64)
@description('Name of the azd environment: a role\'s name is unique in the tenant.')
param environmentName string

@description('Object id of the job\'s identity; empty as long as there is none.')
param principalId string

@description('Whether incidents are raised.')
param incidents bool

@description('Whether bookmarks are written.')
param bookmarks bool

// docs/permissions.md says which action is for what.
var permissions = loadJsonContent('../permissions.json')

resource role 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(resourceGroup().id, 'rare-audit', environmentName)
  properties: {
    roleName: 'Rare Audit job ${environmentName} ${uniqueString(resourceGroup().id)}'
    description: 'What the job Rare Audit does in its Sentinel workspace, and nothing else'
    type: 'CustomRole'
    permissions: [
      {
        actions: concat(
          permissions.query,
          permissions.doctor,
          incidents ? permissions.incidents : [],
          incidents && bookmarks ? permissions.bookmarks : []
        )
        notActions: []
        dataActions: []
        notDataActions: []
      }
    ]
    assignableScopes: [
      resourceGroup().id
    ]
  }
}

resource assignment 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(principalId)) {
  name: guid(resourceGroup().id, 'rare-audit', environmentName, principalId)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', role.name)
    principalId: principalId
    principalType: 'ServicePrincipal'
  }
}
