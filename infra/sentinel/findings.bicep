// The table of findings, and the analytics rule that makes alerts and incidents of them.
@description('Name of the workspace, which lies in this resource group.')
@minLength(4)
@maxLength(63)
param workspaceName string

@description('Whether the rule is there, or the table alone.')
param analyticsRule bool

var tableName = 'RareAuditFindings_CL'

resource workspace 'Microsoft.OperationalInsights/workspaces@2023-09-01' existing = {
  name: workspaceName
}

resource table 'Microsoft.OperationalInsights/workspaces/tables@2023-09-01' = {
  parent: workspace
  name: tableName
  properties: {
    plan: 'Analytics' // rules can't query any other
    schema: {
      name: tableName
      columns: loadJsonContent('../findings-columns.json')
    }
  }
}

resource rule 'Microsoft.SecurityInsights/alertRules@2024-09-01' = if (analyticsRule) {
  name: guid(workspace.id, 'rare-audit-findings-to-incidents')
  scope: workspace
  kind: 'Scheduled'
  properties: {
    displayName: 'Rare Audit findings'
    description: 'What an app did in Microsoft Entra for the first time in two weeks, as found by Rare Audit.'
    enabled: true
    severity: 'Medium'
    query: loadTextContent('../rules/findings-to-incidents.kql')
    queryFrequency: 'PT1H' // the query tells an hour's rows, the last whole one
    queryPeriod: 'P14D' // in which it knows a row that is there twice
    triggerOperator: 'GreaterThan'
    triggerThreshold: 0
    suppressionEnabled: false
    suppressionDuration: 'PT5H'
    eventGroupingSettings: {
      aggregationKind: 'AlertPerResult'
    }
    entityMappings: [
      {
        entityType: 'Account'
        fieldMappings: [
          { identifier: 'FullName', columnName: 'TargetUserPrincipalName' }
          { identifier: 'AadUserId', columnName: 'TargetUserId' }
        ]
      }
      {
        entityType: 'CloudApplication'
        fieldMappings: [
          { identifier: 'Name', columnName: 'AppName' }
        ]
      }
      {
        entityType: 'Host'
        fieldMappings: [
          { identifier: 'HostName', columnName: 'HostName' }
        ]
      }
      {
        entityType: 'IP'
        fieldMappings: [
          { identifier: 'Address', columnName: 'IPAddress' }
        ]
      }
    ]
    customDetails: {
      App: 'AppName'
      Day: 'Day'
      FindingId: 'FindingId'
      Operation: 'OperationName'
      Target: 'TargetResourceName'
      Events: 'Events'
      Change: 'Change'
      Baseline: 'Coverage'
      Incident: 'IncidentId'
      Run: 'RunId'
    }
    alertDetailsOverride: {
      alertDisplayNameFormat: '{{Title}}'
      alertDescriptionFormat: '{{AppName}} did {{OperationName}} on {{Day}}, which it had not done in the two weeks before.'
      alertSeverityColumnName: 'Severity'
      alertTacticsColumnName: 'Tactics'
      alertDynamicProperties: [
        { alertProperty: 'Techniques', value: 'Techniques' }
      ]
    }
    incidentConfiguration: {
      createIncident: true
      groupingConfiguration: {
        enabled: true
        reopenClosedIncident: false
        lookbackDuration: 'P3D' // late events add to a day for as long as days are looked at again
        matchingMethod: 'Selected'
        groupByEntities: []
        groupByAlertDetails: []
        groupByCustomDetails: ['Incident'] // one for an app and a day, as the job has it
      }
    }
  }
  dependsOn: [
    table // the query is checked when the rule is made
  ]
}
