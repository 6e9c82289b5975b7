metadata description = 'One workspace for logs and metrics, and Application Insights that takes telemetry from identities only.'

@description('Name of the Log Analytics workspace.')
param workspaceName string

@description('Name of the Application Insights component.')
param componentName string

@description('Azure region.')
param location string

@description('Tags of every resource.')
param tags object

@description('How long logs are kept, in days.')
param retentionDays int

@description('The most that is taken in per day, in GB. -1: no limit. What exceeds it is lost until the next day.')
param dailyCapGb int

@description('Id of a workspace that is there already; empty: it is made here.')
param existingWorkspaceId string

@description('Telemetry is taken in over the private network only. Who reads logs still comes from anywhere, with a role.')
param isolated bool

resource workspace 'Microsoft.OperationalInsights/workspaces@2025-07-01' = if (empty(existingWorkspaceId)) {
  name: workspaceName
  location: location
  tags: tags
  properties: {
    sku: {
      name: 'PerGB2018'
    }
    retentionInDays: retentionDays
    workspaceCapping: {
      dailyQuotaGb: dailyCapGb
    }
    features: {
      disableLocalAuth: true
      enableLogAccessUsingOnlyResourcePermissions: true
    }
    publicNetworkAccessForIngestion: isolated ? 'Disabled' : 'Enabled'
    publicNetworkAccessForQuery: 'Enabled'
  }
}

var workspaceId = empty(existingWorkspaceId) ? workspace.id : existingWorkspaceId

resource component 'Microsoft.Insights/components@2020-02-02' = {
  name: componentName
  location: location
  tags: tags
  kind: 'web'
  properties: {
    Application_Type: 'web'
    WorkspaceResourceId: workspaceId
    DisableLocalAuth: true
    IngestionMode: 'LogAnalytics'
    publicNetworkAccessForIngestion: isolated ? 'Disabled' : 'Enabled'
    publicNetworkAccessForQuery: 'Enabled'
  }
}

resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = if (empty(existingWorkspaceId)) {
  name: 'to-workspace'
  scope: workspace
  properties: {
    workspaceId: workspace.id
    logs: [
      {
        category: 'Audit'
        enabled: true
      }
    ]
    metrics: [
      {
        category: 'AllMetrics'
        enabled: true
      }
    ]
  }
}

resource privateScope 'Microsoft.Insights/privateLinkScopes@2021-09-01' = if (isolated) {
  name: 'ampls-${componentName}'
  location: 'global'
  tags: tags
  properties: {
    accessModeSettings: {
      ingestionAccessMode: 'PrivateOnly'
      queryAccessMode: 'Open'
    }
  }
}

resource scopedWorkspace 'Microsoft.Insights/privateLinkScopes/scopedResources@2021-09-01' = if (isolated) {
  parent: privateScope
  name: 'workspace'
  properties: {
    linkedResourceId: workspaceId
  }
}

resource scopedComponent 'Microsoft.Insights/privateLinkScopes/scopedResources@2021-09-01' = if (isolated) {
  parent: privateScope
  name: 'component'
  properties: {
    linkedResourceId: component.id
  }
  // The scope takes one change at a time.
  dependsOn: [
    scopedWorkspace
  ]
}

output privateScopeId string = isolated ? privateScope.id : ''
output workspaceId string = workspaceId
output componentId string = component.id
output componentName string = component.name
output connectionString string = component.properties.ConnectionString
