// The job's identity: user-assigned, so that it is there before the app, and its roles with it.
@description('Makes names unique.')
@minLength(13)
@maxLength(13)
param token string

@description('Region.')
param location string

@description('Tags of every resource.')
param tags { *: string }

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31' = {
  name: 'id-rare-audit-${token}'
  location: location
  tags: tags
}

@description('Resource id.')
output id string = identity.id

@description('What the app names the identity by.')
output clientId string = identity.properties.clientId

@description('What roles are given to.')
output principalId string = identity.properties.principalId
