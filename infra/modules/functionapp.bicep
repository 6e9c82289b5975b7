metadata description = 'One app on Flex Consumption: its own plan, its own package container, its own size.'

@description('Name of the app.')
@maxLength(32)
param name string

@description('Name of the plan; Flex Consumption has one app a plan.')
param planName string

@description('Azure region.')
param location string

@description('Tags of every resource.')
param tags object

@description('What azd calls the service that is deployed here.')
param serviceName string

@description('Id of the app\'s identity.')
param identityId string

@description('Client id of the app\'s identity.')
param clientId string

@description('URI of the container that holds the app\'s package.')
param packageContainerUri string

@description('Memory of an instance, in MB.')
@allowed([
  512
  2048
  4096
])
param memoryMb int

@description('The most instances of each function group.')
@minValue(1)
@maxValue(1000)
param maximumInstances int

@description('Instances that are always there: a list of name (a function group) and instanceCount.')
param alwaysReady array

@description('Requests that one instance answers side by side.')
@minValue(1)
@maxValue(1000)
param httpConcurrency int

@description('Spread the instances over zones: the platform keeps two of every function group.')
param zoneRedundant bool

@description('Replace instances one by one, where the region can.')
param rollingUpdates bool

@description('Version of Python.')
param pythonVersion string

@description('Every function of the package, with the app that runs it.')
param functions array

@description('Key of this app in the table of functions.')
param app string

@description('App settings that all apps share, name to value.')
param settings object

@description('App settings of this app alone, name to value.')
param ownSettings object

@description('Connections that are reached with the app\'s identity.')
param connections array

@description('Connection string of Application Insights; it names the component and holds no key that opens it.')
param appInsightsConnectionString string

@description('Id of the subnet for outgoing connections; empty: none.')
param subnetId string

@description('The app itself is reached over private endpoints only.')
param isolated bool

@description('Id of the workspace that takes logs and metrics.')
param workspaceId string

// A package has every function; an app runs those that the table gives to it. Events of Event Grid come to queues here,
// so what would take them itself rests: every function that doesn't is a group with instances of its own.
var switches = [for one in functions: {
  name: 'AzureWebJobs.${one.name}.Disabled'
  value: one.app == app && one.trigger != 'eventgrid' ? 'false' : 'true'
}]

var identities = [for one in connections: {
  name: '${one}__clientId'
  value: clientId
}]

var credentials = [for one in connections: {
  name: '${one}__credential'
  value: 'managedidentity'
}]

var telemetry = [
  {
    name: 'APPLICATIONINSIGHTS_CONNECTION_STRING'
    value: appInsightsConnectionString
  }
  {
    name: 'APPLICATIONINSIGHTS_AUTHENTICATION_STRING'
    value: 'ClientId=${clientId};Authorization=AAD'
  }
]

var all = union(settings, ownSettings)

var plain = [for one in items(all): {
  name: one.key
  value: one.value
}]

resource plan 'Microsoft.Web/serverfarms@2025-03-01' = {
  // checkov:skip=CKV_AZURE_225: over zones when `zones` says so; it keeps two instances of each function group
  name: planName
  location: location
  tags: tags
  kind: 'functionapp'
  sku: {
    tier: 'FlexConsumption'
    name: 'FC1'
  }
  properties: {
    reserved: true
    zoneRedundant: zoneRedundant
  }
}

resource site 'Microsoft.Web/sites@2025-03-01' = {
  // checkov:skip=CKV_AZURE_222: private when `isolated` says so, which a test asserts for each environment
  // checkov:skip=CKV_AZURE_17: callers bring tokens or API keys; workers have no callers
  // checkov:skip=CKV_AZURE_78: Flex Consumption has no FTP and refuses the property (error 51021)
  // checkov:skip=CKV_AZURE_212: Flex Consumption scales by alwaysReady and maximumInstanceCount, not by workers
  // checkov:skip=CKV_AZURE_213: Flex Consumption has no health check path; the smoke test and an alert look at /health/ready
  name: name
  location: location
  tags: union(tags, { 'azd-service-name': serviceName })
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
    clientAffinityEnabled: false
    publicNetworkAccess: isolated ? 'Disabled' : 'Enabled'
    virtualNetworkSubnetId: empty(subnetId) ? null : subnetId
    siteConfig: {
      minTlsVersion: '1.2'
      scmMinTlsVersion: '1.2'
      http20Enabled: true
      appSettings: concat(telemetry, credentials, identities, plain, switches)
    }
    functionAppConfig: {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: packageContainerUri
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identityId
          }
        }
      }
      runtime: {
        name: 'python'
        version: pythonVersion
      }
      scaleAndConcurrency: {
        instanceMemoryMB: memoryMb
        maximumInstanceCount: maximumInstances
        alwaysReady: alwaysReady
        triggers: {
          http: {
            perInstanceConcurrency: httpConcurrency
          }
        }
      }
      // Instance by instance, requests and batches under way are finished; at once, they are broken off and come again.
      #disable-next-line BCP037
      siteUpdateStrategy: {
        type: rollingUpdates ? 'RollingUpdate' : 'Recreate'
      }
    }
  }
}

resource noFtp 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2025-03-01' = {
  parent: site
  name: 'ftp'
  properties: {
    allow: false
  }
}

resource noBasic 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2025-03-01' = {
  parent: site
  name: 'scm'
  properties: {
    allow: false
  }
}

resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: site
  properties: {
    workspaceId: workspaceId
    logs: [
      {
        category: 'FunctionAppLogs'
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

resource planDiagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: plan
  properties: {
    workspaceId: workspaceId
    metrics: [
      {
        category: 'AllMetrics'
        enabled: true
      }
    ]
  }
}

output id string = site.id
output name string = site.name
output uri string = 'https://${site.properties.defaultHostName}'
