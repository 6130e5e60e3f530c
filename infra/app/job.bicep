// The function app, on the Flex Consumption plan; every connection by the identity, no secret in any setting.
@description('Makes names unique.')
@minLength(13)
@maxLength(13)
param token string

@description('Region.')
param location string

@description('Tags of every resource.')
param tags { *: string }

@description('Resource id of the job\'s identity.')
param identityId string

@description('Client id of the job\'s identity.')
param identityClientId string

@description('URLs of the storage account\'s services, and of the container for the package.')
param storage {
  @description('Where blobs are.')
  blob: string
  @description('Where queues are.')
  queue: string
  @description('Where tables are.')
  table: string
  @description('Where the package goes.')
  package: string
}

@description('Connection string of Application Insights.')
param connectionString string

@description('Settings of the job itself.')
param options {
  @description('Environment variable.')
  name: string
  @description('What it says; empty is as good as unset.')
  value: string
}[]

var platform = [
  { name: 'AzureWebJobsStorage__blobServiceUri', value: storage.blob }
  { name: 'AzureWebJobsStorage__queueServiceUri', value: storage.queue }
  { name: 'AzureWebJobsStorage__tableServiceUri', value: storage.table }
  { name: 'AzureWebJobsStorage__credential', value: 'managedidentity' }
  { name: 'AzureWebJobsStorage__clientId', value: identityClientId }
  { name: 'AZURE_CLIENT_ID', value: identityClientId }
  { name: 'APPLICATIONINSIGHTS_CONNECTION_STRING', value: connectionString }
  { name: 'APPLICATIONINSIGHTS_AUTHENTICATION_STRING', value: 'ClientId=${identityClientId};Authorization=AAD' }
  { name: 'PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY', value: 'true' }
]

resource plan 'Microsoft.Web/serverfarms@2024-04-01' = {
  name: 'plan-rare-audit-${token}'
  location: location
  tags: tags
  kind: 'functionapp'
  sku: {
    name: 'FC1'
    tier: 'FlexConsumption'
  }
  properties: {
    reserved: true
  }
}

resource app 'Microsoft.Web/sites@2024-04-01' = {
  name: 'func-rare-audit-${token}'
  location: location
  tags: union(tags, { 'azd-service-name': 'job' })
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    functionAppConfig: {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: storage.package
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identityId
          }
        }
      }
      runtime: {
        name: 'python'
        version: '3.13'
      }
      scaleAndConcurrency: {
        instanceMemoryMB: 2048
        maximumInstanceCount: 40 // the fewest that every region takes; one works at a time, by its lease
      }
    }
    siteConfig: {
      minTlsVersion: '1.2'
      appSettings: concat(platform, options)
    }
  }
}

// Deployment is by identity; these two would take a password. Their names have to stand here, not in a loop.
resource ftp 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-04-01' = {
  parent: app
  name: 'ftp'
  properties: {
    allow: false
  }
}

resource scm 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-04-01' = {
  parent: app
  name: 'scm'
  properties: {
    allow: false
  }
}

@description('Name of the function app.')
output name string = app.name

@description('Where it answers.')
output url string = 'https://${app.properties.defaultHostName}'
