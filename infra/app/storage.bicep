// The storage account of the host and of all that the job keeps. It has keys, as all have, and takes none.
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

var packages = 'app-package'
// https://learn.microsoft.com/azure/role-based-access-control/built-in-roles/storage; each is for the account alone.
var roles = [
  'b7e6dc6d-f1e8-4753-8033-0f276bb0955b' // Storage Blob Data Owner: the host's leases and keys, the deployed package
  '974c5e8b-45b9-4653-ba55-5f855dd0fb88' // Storage Queue Data Contributor: runs that wait
  '0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3' // Storage Table Data Contributor: findings, runs, deliveries
]

resource account 'Microsoft.Storage/storageAccounts@2024-01-01' = {
  name: 'strare${token}'
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: {
    name: 'Standard_LRS'
  }
  properties: {
    accessTier: 'Hot'
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    allowSharedKeyAccess: false
    defaultToOAuthAuthentication: true
    minimumTlsVersion: 'TLS1_2'
    publicNetworkAccess: 'Enabled'
    supportsHttpsTrafficOnly: true
    networkAcls: {
      bypass: 'AzureServices'
      defaultAction: 'Allow' // no network lies between: who gets in is a matter of identity alone
    }
  }
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2024-01-01' = {
  parent: account
  name: 'default'
}

resource container 'Microsoft.Storage/storageAccounts/blobServices/containers@2024-01-01' = {
  parent: blobs
  name: packages
  properties: {
    publicAccess: 'None'
  }
}

resource assignments 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for role in roles: {
    name: guid(account.id, token, role)
    scope: account
    properties: {
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', role)
      principalId: principalId
      principalType: 'ServicePrincipal'
    }
  }
]

@description('Where blobs are.')
output blobEndpoint string = account.properties.primaryEndpoints.blob

@description('Where queues are.')
output queueEndpoint string = account.properties.primaryEndpoints.queue

@description('Where tables are.')
output tableEndpoint string = account.properties.primaryEndpoints.table

@description('Where the deployed package goes.')
output packageContainer string = '${account.properties.primaryEndpoints.blob}${container.name}'
