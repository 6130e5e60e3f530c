// What tells somebody when the job fails or stops. The queries are in ../alerts; each yields rows only when all is not well.
@description('Makes names unique.')
@minLength(13)
@maxLength(13)
param token string

@description('Region.')
param location string

@description('Tags of every resource.')
param tags { *: string }

@description('Resource id of the Application Insights that the job writes to.')
param applicationInsightsId string

@description('Resource id of the action group to notify; empty for none.')
param actionGroupId string

@description('Where the runbook is; each alert is a section of it.')
param runbook string

var rules = [
  {
    name: 'no-successful-run'
    title: 'no run has ended well for 26 hours'
    severity: 1
    frequency: 'PT1H'
    window: 'P1D'
    range: 'P2D' // the query looks back 26 hours and more; two days is the most there may be
    resolves: true
    query: loadTextContent('../alerts/no-successful-run.kql')
  }
  {
    name: 'failed-run'
    title: 'a run failed, or was given up'
    severity: 2
    frequency: 'PT15M'
    window: 'PT1H' // a line may come late; one failure is told once, as long as it is in sight
    range: 'PT1H'
    resolves: true
    query: loadTextContent('../alerts/failed-run.kql')
  }
  {
    name: 'degraded-baseline'
    title: 'too few days of data to say what is rare'
    severity: 3
    frequency: 'PT1H'
    window: 'P1D'
    range: 'P1D'
    resolves: true
    query: loadTextContent('../alerts/degraded-baseline.kql')
  }
  {
    name: 'undelivered-incidents'
    title: 'incidents or rows could not be delivered and stay queued'
    severity: 2
    frequency: 'PT1H'
    window: 'P1D'
    range: 'P1D'
    resolves: true
    query: loadTextContent('../alerts/undelivered-incidents.kql')
  }
  {
    name: 'incomplete-run'
    title: 'something was refused for what it holds, or events could not be read'
    severity: 2
    frequency: 'PT1H'
    window: 'P1D'
    range: 'P1D'
    resolves: true
    query: loadTextContent('../alerts/incomplete-run.kql')
  }
]

resource alerts 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = [
  for rule in rules: {
    name: 'rare-audit-${rule.name}-${token}'
    location: location
    tags: tags
    kind: 'LogAlert'
    properties: {
      displayName: 'Rare Audit: ${rule.title}'
      description: 'What to do: ${runbook}#${rule.name}'
      severity: rule.severity
      enabled: true
      scopes: [applicationInsightsId]
      evaluationFrequency: rule.frequency
      windowSize: rule.window
      overrideQueryTimeRange: rule.range
      autoMitigate: rule.resolves
      criteria: {
        allOf: [
          {
            query: rule.query
            timeAggregation: 'Count'
            operator: 'GreaterThan'
            threshold: 0
            failingPeriods: {
              numberOfEvaluationPeriods: 1
              minFailingPeriodsToAlert: 1
            }
          }
        ]
      }
      actions: {
        actionGroups: empty(actionGroupId) ? [] : [actionGroupId]
      }
    }
  }
]
